// "Statistics": what was shown, taken and kept, as the server counts it on this machine alone.

import { l10n, type QuickPickItem, QuickPickItemKind, Uri, window } from 'vscode';
import { textOf } from './log';
import { type Counts, ERASE_STATISTICS, STATISTICS, type StatisticsResult } from './protocol';
import type { Server } from './server';

type Entry = QuickPickItem & { readonly does?: 'erase' | 'open' };

/** The command. */
export async function showStatistics(server: Server): Promise<void> {
  try {
    const found = await server.ask<StatisticsResult>(STATISTICS, {});
    const picked = await window.showQuickPick(entriesOf(found), {
      title:
        found.since === null
          ? l10n.t('dgemma: Statistics')
          : l10n.t('dgemma: Statistics since {0}', found.since),
      placeHolder: l10n.t('Counted on this machine and sent nowhere'),
    });
    if (picked?.does === 'open') {
      await window.showTextDocument(Uri.file(found.path));
    } else if (picked?.does === 'erase') {
      await erase(server);
    }
  } catch (error) {
    void window.showErrorMessage(`dgemma: ${textOf(error)}`);
  }
}

async function erase(server: Server): Promise<void> {
  const yes = l10n.t('Erase');
  const answer = await window.showWarningMessage(
    l10n.t('Erase the statistics?'),
    { modal: true },
    yes,
  );
  if (answer === yes) {
    await server.ask(ERASE_STATISTICS, {});
    void window.showInformationMessage(l10n.t('dgemma: the statistics are erased.'));
  }
}

function entriesOf(found: StatisticsResult): Entry[] {
  return [
    ...lines(found.total),
    ...Object.entries(found.byLanguage).flatMap(([language, counts]): Entry[] => [
      { label: language, kind: QuickPickItemKind.Separator },
      ...lines(counts),
    ]),
    { label: '', kind: QuickPickItemKind.Separator },
    { label: l10n.t('Open the File'), description: found.path, does: 'open' },
    { label: l10n.t('Erase…'), does: 'erase' },
  ];
}

function lines(counts: Counts): Entry[] {
  const share = (part: number) =>
    counts.shown > 0 ? ` (${Math.round((100 * part) / counts.shown)} %)` : '';
  const time = (value: number | null) => (value === null ? '–' : `${Math.round(value)} ms`);
  return [
    { label: l10n.t('Requests'), description: String(counts.requests) },
    { label: l10n.t('Shown'), description: String(counts.shown) },
    {
      label: l10n.t('Accepted'),
      description: `${counts.accepted}${share(counts.accepted)}`,
    },
    { label: l10n.t('Accepted in part'), description: String(counts.partlyAccepted) },
    { label: l10n.t('Rejected'), description: String(counts.rejected) },
    { label: l10n.t('Kept for 30 seconds'), description: String(counts.kept) },
    {
      label: l10n.t('Half of the answers, 95 of 100 within'),
      description: `${time(counts.latencyP50Ms)}, ${time(counts.latencyP95Ms)}`,
    },
  ];
}
