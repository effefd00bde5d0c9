// Places that stay where they are while a document changes around them. Offsets are UTF-16 units;
// knows no editor.

/** One change of a document, as the editor tells it. */
export interface Change {
  readonly rangeOffset: number;
  readonly rangeLength: number;
  readonly text: string;
}

export interface Place {
  readonly start: number;
  /** Behind the last unit. */
  readonly end: number;
}

/**
 * Where a place is after changes, made one after another; undefined when one of them touched it.
 * What is typed right before or behind it touches it.
 */
export function follow<P extends Place>(place: P, changes: readonly Change[]): P | undefined {
  return moved(place, changes, (at, change) => {
    if (change.rangeOffset + change.rangeLength < at.start) {
      return 'before';
    }
    return change.rangeOffset > at.end ? 'behind' : 'touched';
  });
}

/** The same, but what is typed right before or behind the place does not touch it. */
export function followLoosely<P extends Place>(
  place: P,
  changes: readonly Change[],
): P | undefined {
  return moved(place, changes, (at, change) => {
    if (change.rangeOffset + change.rangeLength <= at.start) {
      return 'before';
    }
    return change.rangeOffset >= at.end ? 'behind' : 'touched';
  });
}

/**
 * The same as the first for whole lines with their line breaks. Whole lines put in right before them move them
 * and do not touch them; what happens to the line behind them does neither.
 */
export function followLines<P extends Place>(place: P, changes: readonly Change[]): P | undefined {
  return moved(place, changes, (at, change) => {
    const last = change.rangeOffset + change.rangeLength;
    if (last < at.start || (last === at.start && /(^|[\r\n])$/.test(change.text))) {
      return 'before';
    }
    if (last === at.start && at.start === at.end) {
      return 'behind'; // lines to be put in stay before the line that is typed into
    }
    return change.rangeOffset >= at.end ? 'behind' : 'touched';
  });
}

function moved<P extends Place>(
  place: P,
  changes: readonly Change[],
  where: (at: Place, change: Change) => 'before' | 'behind' | 'touched',
): P | undefined {
  let [start, end] = [place.start, place.end];
  for (const change of changes) {
    const side = where({ start, end }, change);
    if (side === 'touched') {
      return undefined;
    }
    if (side === 'before') {
      const by = change.text.length - change.rangeLength;
      start += by;
      end += by;
    }
  }
  return { ...place, start, end };
}

/**
 * Where lines are after a change: the ones before it stay, the ones behind it move, the first of
 * those it joins stays and the others are gone. Lines are counted from 0.
 *
 * @param startLine First line of what was replaced; `startCharacter` is the place in it.
 * @param endLine Last line of what was replaced.
 */
export function followedLines(
  lines: readonly number[],
  startLine: number,
  startCharacter: number,
  endLine: number,
  text: string,
): number[] {
  const breaks = text.split(/\r\n|\r|\n/).length - 1;
  const delta = breaks - (endLine - startLine);
  const pushes = startCharacter === 0 && startLine === endLine && /[\r\n]$/.test(text);
  const kept = lines.flatMap((line) => {
    if (line < startLine || (line === startLine && !pushes)) {
      return [line];
    }
    return line > endLine || pushes ? [line + delta] : [];
  });
  return [...new Set(kept)];
}

/** Where a region is after changes, those inside it included: it grows and shrinks with them. */
export function stretched(place: Place, changes: readonly Change[]): Place {
  let { start, end } = place;
  for (const change of changes) {
    const last = change.rangeOffset + change.rangeLength;
    const by = change.text.length - change.rangeLength;
    if (last < start || (last === start && start < end)) {
      start += by;
      end += by;
    } else if (change.rangeOffset <= end) {
      end = Math.max(start, end + by);
    }
  }
  return { start, end };
}
