// Asking the server for something that takes a while: with progress, a way to stop, and a message
// when it goes wrong.

import { type CancellationToken, l10n, type Progress, ProgressLocation, window } from 'vscode';
import { log, textOf } from './log';

/** Where a share of the work that is done, and words about it, are shown. */
export type Bar = Progress<{ message?: string; increment?: number }>;

/** What came back; undefined when the person stopped it or it failed, which is told. */
export async function asking<Result>(
  title: string,
  work: (token: CancellationToken, progress: Bar) => Promise<Result>,
): Promise<Result | undefined> {
  try {
    return await window.withProgress(
      { location: ProgressLocation.Notification, title, cancellable: true },
      async (progress, token) => {
        const answer = work(token, progress);
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
    log().error(`${title}: ${textOf(error)}`);
    void window.showErrorMessage(`dgemma: ${textOf(error)}`);
    return undefined;
  }
}

/** Say why there is nothing to be shown. */
export function nothing(result: {
  readonly message?: string | null;
  readonly reason?: string | null;
}): void {
  const why = result.message ?? result.reason ?? l10n.t('The model found nothing better.');
  void window.showInformationMessage(`dgemma: ${why}`);
}
