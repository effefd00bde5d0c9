// Text as decorations can show it: one line, blanks that stay, a known width. Knows no editor.

import { columns } from './hunks';

/** What stands for a line break where there is only one line. */
export const RETURN = ' ⏎ ';

/** A text whose blanks stay as they are, filled up to a number of columns. */
export function printable(text: string, tabSize: number, width = 0): string {
  const fill = ' '.repeat(Math.max(0, width - columns(text, tabSize)));
  return (expand(text, tabSize) + fill).replaceAll(' ', '\u00a0');
}

/** A text on one line. */
export function onOneLine(text: string): string {
  return text
    .split(/\r\n|\r|\n/)
    .map((line, at) => (at === 0 ? line : line.trimStart()))
    .join(RETURN);
}

function expand(text: string, tabSize: number): string {
  let out = '';
  for (const char of text) {
    out += char === '\t' ? ' '.repeat(tabSize - (columns(out, tabSize) % tabSize)) : char;
  }
  return out;
}
