// From the server's answer to something a person can decide on; for rewrites and mends alike.

import {
  type TextEdit as CodeEdit,
  Range as CodeRange,
  l10n,
  ProgressLocation,
  type TextDocument,
  type TextEditor,
  window,
} from 'vscode';
import type { Range, TextEdit } from 'vscode-languageclient/node';
import type { Reviews } from './diff';
import { log, textOf } from './log';
import type { EditResult } from './protocol';
import type { Server } from './server';

/** Ask for an edit of a document, with progress and a way to stop, and show what comes back. */
export async function propose(
  server: Server,
  reviews: Reviews,
  editor: TextEditor,
  title: string,
  method: string,
  more: { readonly range: Range } & Record<string, unknown>,
): Promise<void> {
  const { document } = editor;
  const version = document.version;
  const params = { textDocument: { uri: server.uriOf(document), version }, ...more };
  let result: EditResult | undefined;
  try {
    result = await window.withProgress(
      { location: ProgressLocation.Notification, title, cancellable: true },
      async (_, token) => {
        const answer = server.ask<EditResult>(method, params, token);
        return await Promise.race([
          answer,
          new Promise<undefined>((resolve) =>
            token.onCancellationRequested(() => {
              answer.catch(() => undefined); // told below only when nobody stopped it
              resolve(undefined);
            }),
          ),
        ]);
      },
    );
  } catch (error) {
    log().error(`${method}: ${textOf(error)}`);
    void window.showErrorMessage(`dgemma: ${textOf(error)}`);
    return;
  }
  if (result === undefined) {
    return; // stopped by the person
  }
  const change = result.edit?.documentChanges[0];
  const sent = change?.edits as TextEdit[] | undefined;
  const edits = (await server.converter?.asTextEdits(sent)) ?? [];
  if (edits.length === 0) {
    const why = result.message ?? result.reason ?? l10n.t('The model found nothing better.');
    void window.showInformationMessage(`dgemma: ${why}`);
    return;
  }
  if (document.version !== (change?.textDocument.version ?? version)) {
    void window.showInformationMessage(
      l10n.t('The document has changed meanwhile; nothing was proposed.'),
    );
    return;
  }
  reviews.open({ document, version: document.version, ...joined(document, edits) });
}

/** Several edits of a document as one, with the text between them kept. */
function joined(document: TextDocument, edits: readonly CodeEdit[]) {
  const sorted = [...edits].sort((one, other) => one.range.start.compareTo(other.range.start));
  const range = sorted.reduce((all, edit) => all.union(edit.range), (sorted[0] as CodeEdit).range);
  let newText = '';
  let at = range.start;
  for (const edit of sorted) {
    newText += document.getText(new CodeRange(at, edit.range.start)) + edit.newText;
    at = edit.range.end;
  }
  return { range, newText };
}

/** The range of the selection as the server means it: the lines it touches. */
export function selectedRange(editor: TextEditor): Range {
  const { start, end } = editor.selection;
  return {
    start: { line: start.line, character: start.character },
    end: { line: end.line, character: end.character },
  };
}
