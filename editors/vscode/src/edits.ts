// From the server's answer to pieces that a person can decide on; for rewrites and mends alike.

import {
  type TextEdit as CodeEdit,
  Range as CodeRange,
  l10n,
  type TextDocument,
  window,
} from 'vscode';
import type { Range, TextEdit } from 'vscode-languageclient/node';
import { nothing } from './asking';
import { type Piece, piecesOf, piecesOfText } from './pieces';
import type { EditResult } from './protocol';
import type { Server } from './server';

/** The pieces of an answer, or undefined when there are none, which is told. */
export async function piecesFrom(
  server: Server,
  document: TextDocument,
  asked: number,
  result: EditResult,
): Promise<Piece[] | undefined> {
  const change = result.edit?.documentChanges[0];
  const edits =
    (await server.converter?.asTextEdits(change?.edits as TextEdit[] | undefined)) ?? [];
  const hunks = result.hunks ?? [];
  if (edits.length === 0 && hunks.length === 0) {
    nothing(result);
    return undefined;
  }
  const pieces =
    document.version !== (change?.textDocument.version ?? asked)
      ? undefined
      : hunks.length > 0
        ? piecesOf(document, hunks)
        : joined(document, edits);
  if (pieces === undefined) {
    void window.showInformationMessage(
      l10n.t('The document has changed meanwhile; nothing was proposed.'),
    );
  }
  return pieces;
}

/** Several edits of a document as one text, in pieces. */
function joined(document: TextDocument, edits: readonly CodeEdit[]): Piece[] {
  const sorted = [...edits].sort((one, other) => one.range.start.compareTo(other.range.start));
  const range = sorted.reduce((all, edit) => all.union(edit.range), (sorted[0] as CodeEdit).range);
  let newText = '';
  let at = range.start;
  for (const edit of sorted) {
    newText += document.getText(new CodeRange(at, edit.range.start)) + edit.newText;
    at = edit.range.end;
  }
  return piecesOfText(document, range, newText);
}

/** A range as it travels. */
export function toRange(range: CodeRange): Range {
  const { start, end } = range;
  return {
    start: { line: start.line, character: start.character },
    end: { line: end.line, character: end.character },
  };
}
