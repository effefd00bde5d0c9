// Places in texts: the server counts characters, VS Code UTF-16 units. Knows no editor.

/**
 * Where each character of a text begins, as a function: characters to UTF-16 units. A line break
 * is one character, however it is written; beyond the end there is the end.
 */
export function unitsAt(text: string): (characters: number) => number {
  const starts: number[] = [];
  for (const found of text.matchAll(/\r\n|[\s\S]/gu)) {
    starts.push(found.index);
  }
  return (characters) => starts[characters] ?? text.length;
}

/** How many characters a text has. */
export function charactersOf(text: string): number {
  let count = 0;
  for (const _ of text) {
    count++;
  }
  return count;
}
