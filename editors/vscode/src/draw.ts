// How a proposed change looks inside the editor: old lines struck through, new ones beside them.

import {
  type DecorationOptions,
  MarkdownString,
  OverviewRulerLane,
  Range,
  type TextDocument,
  type TextEditor,
  ThemeColor,
  window,
} from 'vscode';
import { columns, linesOf, rowsOf } from './hunks';
import { type Piece, rangeOf } from './pieces';
import { printable } from './text';

/** Columns between the longest line and the new ones. */
const GAP = 3;

/** The decorations of a proposal. */
export class Drawing {
  private readonly removed = window.createTextEditorDecorationType({
    backgroundColor: new ThemeColor('dgemma.removedBackground'),
    border: '1px solid',
    borderColor: new ThemeColor('dgemma.changeBorder'),
    textDecoration: 'line-through',
    overviewRulerColor: new ThemeColor('editorOverviewRuler.deletedForeground'),
    overviewRulerLane: OverviewRulerLane.Full,
  });
  private readonly added = window.createTextEditorDecorationType({});

  dispose(): void {
    this.removed.dispose();
    this.added.dispose();
  }

  /** Draw the pieces in all editors of a document, and nothing in the others. */
  draw(document: TextDocument | undefined, pieces: readonly Piece[]): void {
    for (const editor of window.visibleTextEditors) {
      const here = editor.document === document ? pieces : [];
      editor.setDecorations(this.removed, removals(editor.document, here));
      editor.setDecorations(this.added, additions(editor, here));
    }
  }
}

function isShown(piece: Piece): boolean {
  return piece.decision === 'open' && !piece.busy;
}

/** The old lines that go: their text without the blanks around it. */
function removals(document: TextDocument, pieces: readonly Piece[]): DecorationOptions[] {
  return pieces.filter(isShown).flatMap((piece) => {
    const hoverMessage = hover(piece);
    const { start, end } = rangeOf(document, piece);
    const last = end.character > 0 ? end.line + 1 : end.line;
    return Array.from({ length: Math.max(0, last - start.line) }, (_, row) => {
      const line = document.lineAt(start.line + row);
      const from = line.range.start.translate(0, line.firstNonWhitespaceCharacterIndex);
      return { range: new Range(from, line.range.end), hoverMessage };
    });
  });
}

/** The new lines: a column of their own, to the right of all lines that they stand beside. */
function additions(editor: TextEditor, all: readonly Piece[]): DecorationOptions[] {
  const { document } = editor;
  const option = editor.options.tabSize;
  const tabSize = typeof option === 'number' ? option : 4;
  const pieces = all.filter(isShown);
  const hunks = pieces.map((piece) => {
    const { start, end } = rangeOf(document, piece);
    const addedLines = linesOf(piece.newText).map((line) => line.replace(/[\r\n]+$/, ''));
    return { oldStart: start.line, oldEnd: end.line, addedLines };
  });
  const rows = rowsOf(hunks, 0, document.lineCount);
  const widthOf = (line: number) => columns(document.lineAt(line).text, tabSize);
  const column = Math.max(...rows.map((row) => widthOf(row.line))) + GAP;
  const width = Math.max(...rows.map((row) => columns(row.text, tabSize)));
  return rows.flatMap((row) => {
    const piece = pieces[row.hunk];
    if (piece === undefined) {
      return [];
    }
    const end = document.lineAt(row.line).range.end;
    return [
      {
        range: new Range(end, end),
        hoverMessage: hover(piece),
        renderOptions: {
          after: {
            contentText: `+ ${printable(row.text, tabSize, width)} `,
            margin: `0 0 0 ${column - widthOf(row.line)}ch`,
            color: new ThemeColor('dgemma.addedForeground'),
            backgroundColor: new ThemeColor('dgemma.addedBackground'),
            border: '1px solid',
            borderColor: new ThemeColor('dgemma.changeBorder'),
          },
        },
      },
    ];
  });
}

/** A piece as a diff. */
export function hover(piece: Pick<Piece, 'oldText' | 'newText'>): MarkdownString {
  const signed = (sign: string, text: string) =>
    linesOf(text).map((line) => sign + line.replace(/[\r\n]+$/, ''));
  const lines = [...signed('-', piece.oldText), ...signed('+', piece.newText)];
  return new MarkdownString().appendCodeblock(lines.join('\n'), 'diff');
}
