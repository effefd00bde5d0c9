// The difference of two texts as hunks of whole lines, and where each is drawn. Offsets are
// UTF-16 units in the old text; knows no editor.

/** One changed stretch: the lines `oldStart` up to `oldEnd` of the old text become `added`. */
export interface Hunk {
  /** Lines from the beginning of the old text; `oldEnd` is behind the last. */
  readonly oldStart: number;
  readonly oldEnd: number;
  /** Offsets in the old text. */
  readonly from: number;
  readonly to: number;
  /** What stands there afterwards, line breaks included. */
  readonly added: string;
  /** The same as lines, for people. */
  readonly addedLines: readonly string[];
}

/** Beyond this many pairs of lines everything between the first and last change is one hunk. */
const MOST_PAIRS = 1_000_000;

/** The lines of a text, each with its line break. */
export function linesOf(text: string): string[] {
  return text.match(/[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$/g) ?? [];
}

/** A text with all its line breaks made the given one. */
export function withBreaks(text: string, eol: string): string {
  return text.replace(/\r\n|\r|\n/g, eol);
}

/** The hunks that turn the old text into the new one, first to last. */
export function hunksOf(oldText: string, newText: string): Hunk[] {
  const old = linesOf(oldText);
  const now = linesOf(newText);
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) {
    head++;
  }
  let tail = 0;
  while (
    tail < old.length - head &&
    tail < now.length - head &&
    old[old.length - 1 - tail] === now[now.length - 1 - tail]
  ) {
    tail++;
  }
  const kept = common(old.slice(head, old.length - tail), now.slice(head, now.length - tail));
  const anchors = [
    ...kept.map(([o, n]): [number, number] => [o + head, n + head]),
    [old.length - tail, now.length - tail] as [number, number],
  ];
  const starts = [0];
  for (const line of old) {
    starts.push((starts.at(-1) ?? 0) + line.length);
  }
  const found: Hunk[] = [];
  let [atOld, atNew] = [head, head];
  for (const [nextOld, nextNew] of anchors) {
    if (nextOld > atOld || nextNew > atNew) {
      const added = now.slice(atNew, nextNew);
      found.push({
        oldStart: atOld,
        oldEnd: nextOld,
        from: starts[atOld] ?? oldText.length,
        to: starts[nextOld] ?? oldText.length,
        added: added.join(''),
        addedLines: added.map((line) => line.replace(/[\r\n]+$/, '')),
      });
    }
    [atOld, atNew] = [nextOld + 1, nextNew + 1];
  }
  return found;
}

/** The pairs of equal lines of a longest common subsequence, in order. */
function common(old: readonly string[], now: readonly string[]): [number, number][] {
  if (old.length * now.length > MOST_PAIRS) {
    return [];
  }
  const width = now.length + 1;
  const length = new Uint32Array((old.length + 1) * width);
  const at = (o: number, n: number) => length[o * width + n] ?? 0;
  for (let o = old.length - 1; o >= 0; o--) {
    for (let n = now.length - 1; n >= 0; n--) {
      length[o * width + n] =
        old[o] === now[n] ? at(o + 1, n + 1) + 1 : Math.max(at(o + 1, n), at(o, n + 1));
    }
  }
  const pairs: [number, number][] = [];
  let [o, n] = [0, 0];
  while (o < old.length && n < now.length) {
    if (old[o] === now[n]) {
      pairs.push([o++, n++]);
    } else if (at(o + 1, n) >= at(o, n + 1)) {
      o++;
    } else {
      n++;
    }
  }
  return pairs;
}

/** The old text with some of its hunks applied. */
export function apply(oldText: string, hunks: readonly Hunk[]): string {
  let [out, at] = ['', 0];
  for (const hunk of hunks) {
    out += oldText.slice(at, hunk.from) + hunk.added;
    at = hunk.to;
  }
  return out + oldText.slice(at);
}

/** One new line drawn to the right of a line of the document. */
export interface Row {
  readonly line: number;
  readonly hunk: number;
  readonly text: string;
}

/**
 * Where the new lines are drawn: beside the old ones, and beside the lines that follow when there
 * are more. Rows of one hunk never run into those of the next; what finds no line of its own stands
 * on the last one, behind a return sign.
 *
 * @param first Line of the document where the old text begins.
 * @param lineCount Lines of the document.
 */
export function rowsOf(
  hunks: readonly Pick<Hunk, 'oldStart' | 'addedLines'>[],
  first: number,
  lineCount: number,
): Row[] {
  const rows: Row[] = [];
  hunks.forEach((hunk, index) => {
    const start = Math.min(first + hunk.oldStart, lineCount - 1);
    const next = hunks[index + 1];
    const end = next === undefined ? lineCount : Math.min(first + next.oldStart, lineCount);
    const room = Math.max(1, end - start);
    const lines = [...hunk.addedLines];
    if (lines.length > room) {
      lines.push(lines.splice(room - 1).join(' ⏎ '));
    }
    lines.forEach((text, row) => {
      rows.push({ line: start + row, hunk: index, text });
    });
  });
  return rows;
}

/** Columns that a text takes up: tabs to the next stop, wide characters as two. */
export function columns(text: string, tabSize: number): number {
  let at = 0;
  for (const char of text) {
    if (char === '\t') {
      at += tabSize - (at % tabSize);
    } else if (!/\p{Mark}|\u200d|\ufe0f/u.test(char)) {
      at += WIDE.test(char) ? 2 : 1;
    }
  }
  return at;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u;

/** A change of a document, in lines: `delta` is how many more there are afterwards. */
export interface Moved {
  readonly startLine: number;
  readonly endLine: number;
  readonly delta: number;
}

/**
 * How far the lines of a region move when the document changes elsewhere, or undefined when the
 * change touches the region itself.
 */
export function shift(moved: Moved, first: number, last: number): number | undefined {
  if (moved.startLine > last) {
    return 0;
  }
  return moved.endLine < first ? moved.delta : undefined;
}
