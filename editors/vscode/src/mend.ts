// "Mend Region": let the server put broken syntax in order, and show what it would change.

import { l10n, window } from 'vscode';
import type { Reviews } from './diff';
import { propose, selectedRange } from './edits';
import { MEND } from './protocol';
import type { Server } from './server';

/** The command: the selected lines, or the line of the cursor. */
export async function mendRegion(server: Server, reviews: Reviews): Promise<void> {
  const editor = window.activeTextEditor;
  if (editor !== undefined) {
    const range = selectedRange(editor);
    await propose(server, reviews, editor, l10n.t('dgemma: mending'), MEND, { range });
  }
}
