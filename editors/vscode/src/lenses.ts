// The links above each piece of a proposed change.

import { CodeLens, l10n, Range, type TextDocument } from 'vscode';
import type { Piece } from './pieces';

/**
 * The links of a proposal. Those for all of it stand above its first piece.
 *
 * @param redoable Whether the server can make a piece, or all of it, again.
 */
export function lensesOf(
  document: TextDocument,
  pieces: readonly Piece[],
  redoable: boolean,
): CodeLens[] {
  const shown = pieces.flatMap((piece, index) =>
    piece.decision === 'accepted' ? [] : [{ piece, index }],
  );
  return shown.flatMap(({ piece, index }, at) => {
    const { line } = document.positionAt(piece.start);
    const place = new Range(line, 0, line, 0);
    const lens = (title: string, command: string, tooltip: string, ...rest: unknown[]) =>
      new CodeLens(place, { title, command, tooltip, arguments: rest });
    return [...own(piece, index, redoable, lens), ...(at === 0 ? forAll(redoable, lens) : [])];
  });
}

type Lens = (title: string, command: string, tooltip: string, ...rest: unknown[]) => CodeLens;

function own(piece: Piece, index: number, redoable: boolean, lens: Lens): CodeLens[] {
  if (piece.busy) {
    return [lens(l10n.t('$(loading~spin) Redoing this change'), '', '')];
  }
  if (piece.decision === 'rejected') {
    return [
      lens(
        l10n.t('$(close) Rejected: take back'),
        'dgemma.review.reopen',
        l10n.t('Decide about this change again'),
        index,
      ),
    ];
  }
  return [
    lens(
      l10n.t('$(check) Accept'),
      'dgemma.review.accept',
      l10n.t('Accept this change; undo takes it back'),
      index,
    ),
    lens(
      l10n.t('$(close) Reject'),
      'dgemma.review.reject',
      l10n.t('Leave these lines as they are'),
      index,
    ),
    ...(redoable && piece.id !== undefined
      ? [
          lens(
            l10n.t('$(refresh) Redo'),
            'dgemma.review.redo',
            l10n.t('Have the model write this change again, with everything else kept'),
            index,
          ),
        ]
      : []),
  ];
}

function forAll(redoable: boolean, lens: Lens): CodeLens[] {
  return [
    lens(l10n.t('Accept All'), 'dgemma.review.acceptAll', l10n.t('Accept all changes in one step')),
    lens(l10n.t('Reject All'), 'dgemma.review.rejectAll', l10n.t('Put the proposal away')),
    ...(redoable
      ? [
          lens(
            l10n.t('Again…'),
            'dgemma.review.again',
            l10n.t('Another try, bolder, closer to the old text, or by other words'),
          ),
        ]
      : []),
    lens(
      l10n.t('Side by Side'),
      'dgemma.review.sideBySide',
      l10n.t('Show the old and the new text in a diff editor'),
    ),
  ];
}
