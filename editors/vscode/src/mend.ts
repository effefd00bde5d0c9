// "Mend Region": let the server put broken syntax in order, and show what it would change.

import { l10n, window } from 'vscode';
import { asking } from './asking';
import { piecesFrom, toRange } from './edits';
import { type EditResult, MEND } from './protocol';
import type { Reviews } from './review';
import type { Server } from './server';

/** The command: the selected lines, or the line of the cursor. */
export async function mendRegion(server: Server, reviews: Reviews): Promise<void> {
  const editor = window.activeTextEditor;
  if (editor === undefined) {
    return;
  }
  const { document } = editor;
  const version = document.version;
  const params = {
    textDocument: { uri: server.uriOf(document), version },
    range: toRange(editor.selection),
  };
  const result = await asking(l10n.t('dgemma: mending'), (token) =>
    server.askAbout<EditResult>(document, MEND, params, token),
  );
  const pieces =
    result === undefined ? undefined : await piecesFrom(server, document, version, result);
  if (pieces !== undefined) {
    reviews.open({ document, version: document.version, pieces });
  }
}
