// What is proposed for a document, and how the server hears of what a person decides.

import type { Range, TextDocument } from 'vscode';
import type { Piece } from './pieces';

/** How the server is told of decisions, and asked for a piece anew. */
export interface Resolver {
  decided(action: 'accept' | 'reject', ids: readonly number[]): Promise<void>;
  /** The open pieces afterwards; undefined when there is nothing new, which it tells itself. */
  redo(piece: Piece, range: Range): Promise<readonly Piece[] | undefined>;
  /** Ask for all of it again: another way, bolder, closer, or by other words. */
  again(): Promise<void>;
}

export interface Proposal {
  readonly document: TextDocument;
  readonly version: number;
  readonly pieces: readonly Piece[];
  /** The lines that were asked about; those of the pieces when nothing is said. */
  readonly range?: Range;
  readonly resolver?: Resolver | undefined;
  /** Called with what was put in, and where it is now. */
  readonly onAccepted?: (pieces: readonly Piece[]) => void;
}

/** Tell the server of decisions; the document is decided by what is seen, whatever it answers. */
export async function tell(
  resolver: Resolver | undefined,
  action: 'accept' | 'reject',
  ids: readonly number[],
): Promise<void> {
  if (resolver !== undefined && ids.length > 0) {
    await resolver.decided(action, ids);
  }
}
