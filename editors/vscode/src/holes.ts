// "Fill All Holes": marked holes in sight, the selected ones, or several cursors, filled together
// and put in one by one or all at once. Whoever writes into a hole has it to themselves again.

import {
  CodeLens,
  commands,
  type DecorationOptions,
  Disposable,
  EventEmitter,
  l10n,
  languages,
  Range,
  Selection,
  type TextDocument,
  type TextDocumentChangeEvent,
  type TextEditor,
  TextEditorRevealType,
  ThemeColor,
  WorkspaceEdit,
  window,
  workspace,
} from 'vscode';
import { asking, nothing } from './asking';
import { hover } from './draw';
import { toRange } from './edits';
import { follow } from './follow';
import { withBreaks } from './hunks';
import { eolOf, type Piece, rangeOf, textAt } from './pieces';
import { EVERY_MS, type Previews } from './preview';
import { FILL_HOLES, type FillHolesResult, HOLES, type HolesResult } from './protocol';
import type { Server } from './server';
import { Since } from './since';
import { onOneLine, printable } from './text';

const CONTEXT = 'dgemma.filling';

export class Holes {
  private document: TextDocument | undefined;
  private pieces: readonly Piece[] = [];
  private readonly lensesChanged = new EventEmitter<void>();
  private readonly old = window.createTextEditorDecorationType({
    textDecoration: 'line-through',
    opacity: '0.6',
    border: '1px solid',
    borderColor: new ThemeColor('dgemma.changeBorder'),
  });
  private readonly text = window.createTextEditorDecorationType({});
  private readonly all: Disposable;

  constructor(
    private readonly server: Server,
    private readonly previews: Previews,
    private readonly onAccepted: (document: TextDocument, pieces: readonly Piece[]) => void,
  ) {
    this.all = Disposable.from(
      this.old,
      this.text,
      this.lensesChanged,
      languages.registerCodeLensProvider(
        { pattern: '**' },
        {
          onDidChangeCodeLenses: this.lensesChanged.event,
          provideCodeLenses: (document) => (document === this.document ? this.lenses() : []),
        },
      ),
      workspace.onDidChangeTextDocument((event) => this.moved(event)),
      workspace.onDidCloseTextDocument((document) => {
        if (document === this.document) {
          this.close();
        }
      }),
      window.onDidChangeVisibleTextEditors(() => this.draw()),
      window.onDidChangeActiveTextEditor(() => this.tellContext()),
    );
  }

  dispose(): void {
    this.close();
    this.all.dispose();
  }

  /** The command. */
  async fill(): Promise<void> {
    const editor = window.activeTextEditor;
    if (editor === undefined) {
      return;
    }
    this.close();
    const { document } = editor;
    const since = new Since(document);
    try {
      const result = await this.ask(editor);
      if (result !== undefined) {
        this.open(document, since, result);
      }
    } finally {
      since.dispose();
    }
  }

  private async ask(editor: TextEditor): Promise<FillHolesResult | undefined> {
    const { document, selections } = editor;
    const textDocument = { uri: this.server.uriOf(document), version: document.version };
    const several = selections.length > 1 ? [...selections].sort(inOrder) : undefined;
    const where = editor.selection.isEmpty ? inSight(editor) : editor.selection;
    return await asking(l10n.t('dgemma: filling the holes'), async (token) => {
      let ranges: readonly Range[] = several ?? [];
      if (several === undefined) {
        const params = { textDocument, range: toRange(where) };
        const found = await this.server.askAbout<HolesResult>(document, HOLES, params, token);
        if (found.holes.length === 0) {
          nothing({ message: found.message ?? l10n.t('There are no marked holes in sight.') });
          return undefined;
        }
        ranges = found.holes.map(
          ({ range: { start, end } }) =>
            new Range(start.line, start.character, end.line, end.character),
        );
      }
      const asked =
        several === undefined ? { range: toRange(where) } : { holes: several.map(toRange) };
      return await this.previews.during({ document, ranges, where: 'inline' }, (previewToken) =>
        this.server.askAbout<FillHolesResult>(
          document,
          FILL_HOLES,
          { textDocument, ...asked, previewToken, previewEveryMs: EVERY_MS },
          token,
        ),
      );
    });
  }

  private open(document: TextDocument, since: Since, result: FillHolesResult): void {
    const filled = result.holes.filter((hole) => hole.text !== null);
    const pieces = filled.flatMap((hole, id): Piece[] => {
      const place = since.now(hole.range);
      const newText = withBreaks(hole.text ?? '', eolOf(document));
      const fits =
        place !== undefined &&
        withBreaks(textAt(document, place), '\n') === withBreaks(hole.oldText, '\n');
      const more = {
        id,
        newText,
        tokens: hole.tokens ?? [],
        decision: 'open',
        busy: false,
      } as const;
      return fits ? [{ ...place, oldText: textAt(document, place), ...more }] : [];
    });
    if (filled.length === 0) {
      nothing(result);
      return;
    }
    if (pieces.length < result.holes.length) {
      const why = result.message ?? result.holes.find((hole) => hole.text === null)?.reason;
      const told = l10n.t('{0} of {1} holes are filled', pieces.length, result.holes.length);
      void window.showInformationMessage(`dgemma: ${told}${why ? `: ${why}` : ''}`);
    }
    this.document = document;
    this.pieces = pieces;
    this.refresh();
    this.goTo(pieces[0]);
  }

  /** Put in the text of a hole: the given one, else that at the cursor, else the next. */
  async accept(id?: number): Promise<void> {
    const piece = this.chosen(id);
    if (piece !== undefined) {
      await this.put([piece]);
      this.goTo(this.after(piece.start));
    }
  }

  /** Put in all that are left, in one step. */
  async acceptAll(): Promise<void> {
    await this.put(this.pieces);
  }

  /** Leave a hole as it is. */
  skip(id?: number): void {
    const piece = this.chosen(id);
    if (piece !== undefined) {
      this.pieces = this.pieces.filter((each) => each !== piece);
      this.refresh();
      this.goTo(this.after(piece.start));
    }
  }

  /** Put the cursor on the next hole, or the one before. */
  go(by: 1 | -1): void {
    const editor = this.editors()[0];
    if (editor !== undefined) {
      const here = editor.document.offsetAt(editor.selection.active);
      const before = this.pieces.filter((piece) => piece.end < here).at(-1);
      this.goTo(by > 0 ? this.after(here + 1) : (before ?? this.pieces.at(-1)));
    }
  }

  close(): void {
    this.pieces = [];
    this.refresh();
    this.document = undefined;
  }

  private async put(pieces: readonly Piece[]): Promise<void> {
    const { document } = this;
    if (document === undefined || pieces.length === 0) {
      return;
    }
    const edit = new WorkspaceEdit();
    for (const piece of pieces) {
      edit.replace(document.uri, rangeOf(document, piece), piece.newText);
    }
    const rest = this.pieces.filter((piece) => !pieces.includes(piece));
    this.pieces = rest; // what is put in is not touched by its own edit
    if (!(await workspace.applyEdit(edit))) {
      this.pieces = [...rest, ...pieces].sort((one, other) => one.start - other.start);
      void window.showWarningMessage(l10n.t('The document has changed; nothing was applied.'));
    } else {
      let delta = 0;
      const put = pieces.map((piece): Piece => {
        const start = piece.start + delta;
        delta += piece.newText.length - (piece.end - piece.start);
        return { ...piece, start, end: start + piece.newText.length, decision: 'accepted' };
      });
      this.onAccepted(document, put);
    }
    this.refresh();
  }

  private moved(event: TextDocumentChangeEvent): void {
    if (event.document === this.document && event.contentChanges.length > 0) {
      this.pieces = this.pieces.flatMap((piece) => follow(piece, event.contentChanges) ?? []);
      this.refresh();
    }
  }

  private chosen(id?: number): Piece | undefined {
    const editor = window.activeTextEditor;
    const here = editor?.document === this.document ? editor?.selection.active : undefined;
    const offset = here === undefined ? 0 : (this.document?.offsetAt(here) ?? 0);
    return id === undefined
      ? (this.pieces.find((piece) => piece.start <= offset && offset <= piece.end) ??
          this.after(offset))
      : this.pieces.find((piece) => piece.id === id);
  }

  private after(offset: number): Piece | undefined {
    return this.pieces.find((piece) => piece.start >= offset) ?? this.pieces[0];
  }

  private goTo(piece: Piece | undefined): void {
    const editor = this.editors()[0];
    if (piece !== undefined && editor !== undefined) {
      const place = editor.document.positionAt(piece.start);
      editor.selection = new Selection(place, place);
      editor.revealRange(new Range(place, place), TextEditorRevealType.InCenterIfOutsideViewport);
    }
  }

  private editors(): TextEditor[] {
    return window.visibleTextEditors.filter((editor) => editor.document === this.document);
  }

  private refresh(): void {
    this.lensesChanged.fire();
    this.tellContext();
    this.draw();
  }

  private tellContext(): void {
    const here = this.pieces.length > 0 && window.activeTextEditor?.document === this.document;
    void commands.executeCommand('setContext', CONTEXT, here);
  }

  private lenses(): CodeLens[] {
    const { document, pieces } = this;
    return pieces.flatMap((piece, at) => {
      const line = document?.positionAt(piece.start).line ?? 0;
      const lens = (title: string, command: string, ...rest: unknown[]) =>
        new CodeLens(new Range(line, 0, line, 0), { title, command, arguments: rest });
      const where = `${at + 1}/${pieces.length}`;
      return [
        lens(l10n.t('$(check) Fill {0}', where), 'dgemma.holes.accept', piece.id),
        lens(l10n.t('$(close) Skip {0}', where), 'dgemma.holes.skip', piece.id),
        ...(at === 0
          ? [
              lens(l10n.t('Fill All'), 'dgemma.holes.acceptAll'),
              lens(l10n.t('Next Hole'), 'dgemma.holes.next'),
            ]
          : []),
      ];
    });
  }

  private draw(): void {
    for (const editor of window.visibleTextEditors) {
      const { document } = editor;
      const pieces = document === this.document ? this.pieces : [];
      editor.setDecorations(
        this.old,
        pieces
          .filter((piece) => piece.oldText !== '')
          .map((piece) => ({ range: rangeOf(document, piece), hoverMessage: hover(piece) })),
      );
      editor.setDecorations(
        this.text,
        pieces.map((piece) => ghost(document, piece)),
      );
    }
  }
}

/** The text of a hole, right behind what it stands in for. */
function ghost(document: TextDocument, piece: Piece): DecorationOptions {
  const place = document.positionAt(piece.end);
  return {
    range: new Range(place, place),
    hoverMessage: hover(piece),
    renderOptions: {
      after: {
        contentText: printable(onOneLine(piece.newText), 4),
        color: new ThemeColor('dgemma.guessForeground'),
        fontStyle: 'italic',
        border: '1px solid',
        borderColor: new ThemeColor('dgemma.changeBorder'),
      },
    },
  };
}

function inOrder(one: Range, other: Range): number {
  return one.start.compareTo(other.start);
}

/** What is to be seen of a document, from the first line of it to the last. */
function inSight(editor: TextEditor): Range {
  const [first, ...rest] = editor.visibleRanges;
  const all = rest.reduce((sum, each) => sum.union(each), first ?? new Range(0, 0, 0, 0));
  return editor.document.lineAt(all.end.line).range.union(all);
}
