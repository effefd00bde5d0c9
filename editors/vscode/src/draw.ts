// How a proposed change looks inside the editor: old lines struck through, new ones beside them.

import {
  type DecorationOptions,
  MarkdownString,
  Range,
  type TextDocument,
  type TextEditor,
  ThemeColor,
} from 'vscode';
import { columns, type Hunk, rowsOf } from './hunks';

/** Columns between the longest line and the new ones. */
const GAP = 3;

export type Decision = 'open' | 'accepted' | 'rejected';

/** A proposal that is being decided. */
export interface Review {
  readonly document: TextDocument;
  readonly oldText: string;
  readonly hunks: readonly Hunk[];
  readonly decisions: Decision[];
  /** First line of the old text in the document, and how many lines it has. */
  first: number;
  readonly lineCount: number;
}

/** The old lines that go: their text without the blanks around it. */
export function removals(review: Review): DecorationOptions[] {
  return review.hunks.flatMap((hunk, index) => {
    if (review.decisions[index] === 'rejected') {
      return [];
    }
    const hoverMessage = hover(review, hunk);
    return Array.from({ length: hunk.oldEnd - hunk.oldStart }, (_, row) => {
      const line = review.document.lineAt(review.first + hunk.oldStart + row);
      const start = line.range.start.translate(0, line.firstNonWhitespaceCharacterIndex);
      return { range: new Range(start, line.range.end), hoverMessage };
    });
  });
}

/** The new lines: a column of their own, to the right of all lines that they stand beside. */
export function additions(review: Review, editor: TextEditor): DecorationOptions[] {
  const { document } = review;
  const option = editor.options.tabSize;
  const tabSize = typeof option === 'number' ? option : 4;
  const rows = rowsOf(review.hunks, review.first, document.lineCount);
  const widthOf = (line: number) => columns(document.lineAt(line).text, tabSize);
  const column = Math.max(...rows.map((row) => widthOf(row.line))) + GAP;
  const width = Math.max(...rows.map((row) => columns(row.text, tabSize)));
  return rows.flatMap((row) => {
    const hunk = review.hunks[row.hunk];
    if (hunk === undefined || review.decisions[row.hunk] === 'rejected') {
      return [];
    }
    const end = document.lineAt(row.line).range.end;
    return [
      {
        range: new Range(end, end),
        hoverMessage: hover(review, hunk),
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

/** A line whose blanks stay as they are in a decoration, filled up to a number of columns. */
function printable(text: string, tabSize: number, width: number): string {
  const fill = ' '.repeat(Math.max(0, width - columns(text, tabSize)));
  return (expand(text, tabSize) + fill).replaceAll(' ', '\u00a0');
}

function expand(text: string, tabSize: number): string {
  let out = '';
  for (const char of text) {
    out += char === '\t' ? ' '.repeat(tabSize - (columns(out, tabSize) % tabSize)) : char;
  }
  return out;
}

function hover(review: Review, hunk: Hunk): MarkdownString {
  const old = review.oldText.slice(hunk.from, hunk.to).match(/[^\r\n]+|^(?=\r?\n)/gm) ?? [];
  const lines = [...old.map((line) => `-${line}`), ...hunk.addedLines.map((line) => `+${line}`)];
  return new MarkdownString().appendCodeblock(lines.join('\n'), 'diff');
}
