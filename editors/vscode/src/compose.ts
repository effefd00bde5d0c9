// The texts of earlier cells as one text, and places moved by its lines. Knows no editor.

/** Characters of earlier cells that are sent along at most; the nearest ones are kept whole. */
const MOST_CHARACTERS = 30_000;

/** Earlier cells, each with its line ends, or nothing. What is no Python in them is a comment. */
export function composed(cells: readonly string[], language: string): string {
  const kept: string[] = [];
  let room = MOST_CHARACTERS;
  for (const cell of [...cells].reverse()) {
    const text = cell.replace(/\r\n|\r/g, '\n');
    room -= text.length;
    if (room < 0) {
      break;
    }
    if (text.trim() !== '') {
      kept.unshift(`${language === 'python' ? withoutMagic(text) : text}\n`);
    }
  }
  return kept.join('');
}

/** Lines that are for the notebook and not for Python, as comments. */
function withoutMagic(text: string): string {
  return /^\s*%%/.test(text) ? text.replace(/^/gm, '# ') : text.replace(/^(\s*)(?=[%!])/gm, '$1# ');
}

interface Spot {
  readonly line: number;
  readonly character: number;
}

/**
 * A value with the lines of all places in it moved.
 *
 * @throws When a place would be before the first line: in another cell.
 */
export function moveLines<Value>(value: Value, by: number): Value {
  if (by === 0) {
    return value;
  }
  if (Array.isArray(value)) {
    return value.map((each) => moveLines(each, by)) as Value;
  }
  if (typeof value !== 'object' || value === null) {
    return value;
  }
  if (isSpot(value)) {
    if (value.line + by < 0) {
      throw new Error('The change would be in another cell.');
    }
    return { ...value, line: value.line + by };
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, moveLines(member, by)]),
  ) as Value;
}

function isSpot(value: object): value is Spot {
  return (
    'line' in value &&
    'character' in value &&
    typeof value.line === 'number' &&
    typeof value.character === 'number'
  );
}
