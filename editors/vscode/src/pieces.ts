// A proposed change in pieces: what each replaces, and where that is while the document moves.

import { Range, type TextDocument, type TextDocumentContentChangeEvent } from 'vscode';
import { followLines, type Place } from './follow';
import { hunksOf, withBreaks } from './hunks';
import type { HunkResult, TokenResult } from './protocol';

/** One piece; its places are offsets in the document as it is now. */
export interface Piece extends Place {
  /** The server's number of it, which a redo needs. */
  readonly id: number | undefined;
  readonly oldText: string;
  readonly newText: string;
  readonly tokens: readonly TokenResult[];
  readonly decision: 'open' | 'rejected' | 'accepted';
  /** It is being denoised again. */
  readonly busy: boolean;
}

/** The text that stands in a place of a document. */
export function textAt(document: TextDocument, place: Place): string {
  return document.getText(rangeOf(document, place));
}

export function rangeOf(document: TextDocument, place: Place): Range {
  return new Range(document.positionAt(place.start), document.positionAt(place.end));
}

/** The pieces of the server's hunks, or undefined when one does not fit the document. */
export function piecesOf(
  document: TextDocument,
  hunks: readonly HunkResult[],
): Piece[] | undefined {
  const pieces: Piece[] = [];
  for (const hunk of hunks) {
    const { start, end } = hunk.range;
    const range = new Range(start.line, start.character, end.line, end.character);
    const now = document.getText(range);
    if (withBreaks(now, '\n') !== withBreaks(hunk.oldText, '\n')) {
      return undefined;
    }
    pieces.push({
      id: hunk.id,
      start: document.offsetAt(range.start),
      end: document.offsetAt(range.end),
      oldText: now,
      newText: withBreaks(hunk.newText, eolOf(document)),
      tokens: hunk.tokens ?? [],
      decision: 'open',
      busy: false,
    });
  }
  return pieces.sort((one, other) => one.start - other.start);
}

/** The pieces in which a text differs from the lines that a range touches. */
export function piecesOfText(document: TextDocument, range: Range, newText: string): Piece[] {
  const lines = wholeLines(document, range);
  const oldText = document.getText(lines);
  const whole = withBreaks(
    document.getText(new Range(lines.start, range.start)) +
      newText +
      document.getText(new Range(range.end, lines.end)),
    eolOf(document),
  );
  const base = document.offsetAt(lines.start);
  return hunksOf(oldText, whole).map((hunk) => ({
    id: undefined,
    start: base + hunk.from,
    end: base + hunk.to,
    oldText: oldText.slice(hunk.from, hunk.to),
    newText: hunk.added,
    tokens: [],
    decision: 'open',
    busy: false,
  }));
}

export function eolOf(document: TextDocument): string {
  return document.eol === 1 ? '\n' : '\r\n';
}

/** The lines that a range touches, up to the start of the next one or the end of the document. */
export function wholeLines(document: TextDocument, range: Range): Range {
  const partly = range.end.character > 0 || range.isEmpty;
  const end = partly ? range.end.with(range.end.line + 1, 0) : range.end;
  return document.validateRange(new Range(range.start.with(undefined, 0), end));
}

/** Everything from the first piece to the last one. */
export function regionOf(pieces: readonly Piece[]): Place {
  return {
    start: Math.min(...pieces.map((piece) => piece.start)),
    end: Math.max(...pieces.map((piece) => piece.end)),
  };
}

/**
 * The pieces after the document has changed, or undefined when somebody wrote into one of them.
 * What an undo or a redo puts back is open or accepted again.
 */
export function followed(
  document: TextDocument,
  pieces: readonly Piece[],
  changes: readonly TextDocumentContentChangeEvent[],
  inHistory: boolean,
): Piece[] | undefined {
  const now: Piece[] = [];
  for (const piece of pieces) {
    const moved = followLines(piece, changes);
    if (moved !== undefined) {
      now.push(moved);
      continue;
    }
    const flipped = inHistory ? flip(document, piece, changes) : undefined;
    if (flipped !== undefined) {
      now.push(flipped);
    } else if (piece.decision !== 'accepted') {
      return undefined;
    } // what is in the document already is the person's own
  }
  return now;
}

/** A piece that was undone or done again as a whole. */
function flip(
  document: TextDocument,
  piece: Piece,
  changes: readonly TextDocumentContentChangeEvent[],
): Piece | undefined {
  const [was, becomes] =
    piece.decision === 'accepted' ? [piece.newText, piece.oldText] : [piece.oldText, piece.newText];
  const start =
    piece.start +
    changes
      .filter((each) => each.rangeOffset + each.rangeLength < piece.start)
      .reduce((sum, each) => sum + each.text.length - each.rangeLength, 0);
  const end = start + becomes.length;
  if (piece.end - piece.start !== was.length || textAt(document, { start, end }) !== becomes) {
    return undefined;
  }
  return { ...piece, start, end, decision: piece.decision === 'accepted' ? 'open' : 'accepted' };
}

/** Whether two pieces are one, which may have moved meanwhile. */
export function same(one: Piece, other: Piece): boolean {
  return one.id === undefined
    ? one.newText === other.newText && one.oldText === other.oldText && one.start === other.start
    : one.id === other.id;
}

/** The server's numbers of pieces. */
export function idsOf(pieces: readonly Piece[]): number[] {
  return pieces.flatMap((piece) => piece.id ?? []);
}
