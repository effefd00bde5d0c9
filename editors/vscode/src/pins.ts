// Lines that a rewrite leaves as they are, byte for byte: toggled by hand, marked in the gutter.

import {
  Disposable,
  type ExtensionContext,
  l10n,
  OverviewRulerLane,
  Position,
  Range,
  type TextDocument,
  type TextDocumentChangeEvent,
  type TextEditor,
  ThemeColor,
  window,
  workspace,
} from 'vscode';
import { followedLines } from './follow';

export class Pins {
  /** Line numbers by document, from 0 and in no order. */
  private readonly lines = new Map<TextDocument, readonly number[]>();
  private readonly mark;
  private readonly all: Disposable;

  constructor(context: ExtensionContext) {
    const icon = (name: string) => context.asAbsolutePath(`media/${name}.svg`);
    this.mark = window.createTextEditorDecorationType({
      isWholeLine: true,
      backgroundColor: new ThemeColor('dgemma.pinnedBackground'),
      border: '0 dashed',
      borderColor: new ThemeColor('dgemma.changeBorder'),
      overviewRulerColor: new ThemeColor('editorOverviewRuler.infoForeground'),
      overviewRulerLane: OverviewRulerLane.Left,
      gutterIconSize: '75%',
      light: { gutterIconPath: icon('pin-light') },
      dark: { gutterIconPath: icon('pin-dark') },
    });
    this.all = Disposable.from(
      this.mark,
      workspace.onDidChangeTextDocument((event) => this.moved(event)),
      workspace.onDidCloseTextDocument((document) => this.lines.delete(document)),
      window.onDidChangeVisibleTextEditors(() => this.draw()),
    );
  }

  dispose(): void {
    this.all.dispose();
  }

  /** Pin the lines of the selections, or unpin them when all are pinned already. */
  toggle(editor: TextEditor): void {
    const { document } = editor;
    const chosen = editor.selections.flatMap(({ start, end }) => {
      const last = end.character === 0 && end.line > start.line ? end.line - 1 : end.line;
      return Array.from({ length: last - start.line + 1 }, (_, row) => start.line + row);
    });
    const now = this.lines.get(document) ?? [];
    const off = chosen.every((line) => now.includes(line));
    const next = off
      ? now.filter((line) => !chosen.includes(line))
      : [...new Set([...now, ...chosen])];
    this.lines.set(document, next);
    this.draw();
    window.setStatusBarMessage(
      off
        ? l10n.t('dgemma: lines that rewrites may change again: {0}', chosen.length)
        : l10n.t('dgemma: lines that rewrites leave as they are: {0}', next.length),
      4000,
    );
  }

  /** Free all lines of a document. */
  clear(document: TextDocument): void {
    this.lines.delete(document);
    this.draw();
  }

  /** The pinned lines of a range, those next to each other as one, with their line breaks. */
  within(document: TextDocument, range: Range): Range[] {
    const last = range.end.character > 0 ? range.end.line : range.end.line - 1;
    const inside = (this.lines.get(document) ?? [])
      .filter((line) => line >= range.start.line && line <= last)
      .sort((one, other) => one - other);
    const groups: [number, number][] = [];
    for (const line of inside) {
      const group = groups.at(-1);
      if (group !== undefined && group[1] === line - 1) {
        group[1] = line;
      } else {
        groups.push([line, line]);
      }
    }
    return groups.map(([from, to]) =>
      document.validateRange(new Range(new Position(from, 0), new Position(to + 1, 0))),
    );
  }

  private moved(event: TextDocumentChangeEvent): void {
    let lines = this.lines.get(event.document);
    if (lines === undefined || lines.length === 0) {
      return;
    }
    for (const { range, text } of event.contentChanges) {
      const { start, end } = range;
      lines = followedLines(lines, start.line, start.character, end.line, text);
    }
    this.lines.set(event.document, lines);
    this.draw();
  }

  private draw(): void {
    for (const editor of window.visibleTextEditors) {
      const lines = this.lines.get(editor.document) ?? [];
      const hoverMessage = l10n.t('dgemma: rewrites leave this line as it is');
      editor.setDecorations(
        this.mark,
        lines
          .filter((line) => line < editor.document.lineCount)
          .map((line) => ({ range: editor.document.lineAt(line).range, hoverMessage })),
      );
    }
  }
}
