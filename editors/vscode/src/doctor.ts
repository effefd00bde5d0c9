// "Doctor Report": what `dgemma doctor` says of the installation that runs here.

import { l10n, ProgressLocation, Uri, window, workspace } from 'vscode';
import { sibling } from './find';
import { log, textOf } from './log';
import { run } from './run';
import type { Server } from './server';

const SCHEME = 'dgemma-report';
let report = '';

/** Register where reports are read from. */
export function registerReports() {
  return workspace.registerTextDocumentContentProvider(SCHEME, {
    provideTextDocumentContent: () => report,
  });
}

/** The command. */
export async function doctor(server: Server): Promise<void> {
  const command = sibling(server.command ?? [], 'doctor');
  if (command === undefined) {
    void window.showInformationMessage(
      server.command === undefined
        ? l10n.t('No dgemma was found. Run "dgemma: Set Up" first.')
        : l10n.t(
            'Run "dgemma doctor" in a terminal: the command of dgemma.server.command is not known here.',
          ),
    );
    return;
  }
  const abort = new AbortController();
  try {
    report = await window.withProgress(
      {
        location: ProgressLocation.Notification,
        title: l10n.t('dgemma doctor'),
        cancellable: true,
      },
      async (_, token) => {
        token.onCancellationRequested(() => abort.abort());
        const ended = await run(command, { signal: abort.signal });
        return `${command.join(' ')}\n\n${ended.output}`;
      },
    );
  } catch (error) {
    if (!abort.signal.aborted) {
      log().error(`doctor: ${textOf(error)}`);
      void window.showErrorMessage(`dgemma: ${textOf(error)}`);
    }
    return;
  }
  const name = `dgemma-doctor-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.txt`;
  const document = await workspace.openTextDocument(Uri.from({ scheme: SCHEME, path: `/${name}` }));
  await window.showTextDocument(document, { preview: true });
}
