// The whole proposal in VS Code's own diff editor.

import {
  commands,
  Disposable,
  EventEmitter,
  l10n,
  type TextDocument,
  Uri,
  workspace,
} from 'vscode';
import type { Piece } from './pieces';

const SCHEME = 'dgemma-proposal';

const changed = new EventEmitter<Uri>();

interface Open {
  readonly document: TextDocument;
  readonly pieces: readonly Piece[];
}

/** Register where the proposed text is read from. */
export function registerSides(review: () => Open | undefined): Disposable {
  return Disposable.from(
    changed,
    workspace.registerTextDocumentContentProvider(SCHEME, {
      onDidChange: changed.event,
      provideTextDocumentContent: () => proposed(review()),
    }),
  );
}

export async function showSides(document: TextDocument): Promise<void> {
  const uri = Uri.from({ scheme: SCHEME, path: document.uri.path });
  changed.fire(uri);
  await commands.executeCommand('vscode.diff', document.uri, uri, l10n.t('What dgemma proposes'));
}

/** The document with every open piece in its place. */
function proposed(review: Open | undefined): string {
  let [out, at] = ['', 0];
  const text = review?.document.getText() ?? '';
  for (const piece of review?.pieces ?? []) {
    if (piece.decision === 'open') {
      out += text.slice(at, piece.start) + piece.newText;
      at = piece.end;
    }
  }
  return out + text.slice(at);
}
