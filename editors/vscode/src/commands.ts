// The commands that only flip something: mode, language, snooze, the runtime's memory.

import { commands, l10n, type QuickPickItem, window } from 'vscode';
import { quiet, setLanguage, setMode, snoozeMinutes } from './config';
import { enabledFor, type Mode } from './gate';
import { textOf } from './log';
import { STOP_RUNTIME, type StopResult } from './protocol';
import type { Server } from './server';
import type { Suggest } from './suggest';

const MINUTE_MS = 60_000;
let modeBefore: Mode = 'automatic';

/** Off, or back to the mode it was in. */
export async function toggle(): Promise<void> {
  const { mode } = quiet();
  if (mode === 'off') {
    await setMode(modeBefore);
  } else {
    modeBefore = mode;
    await setMode('off');
  }
}

export async function pickMode(): Promise<void> {
  const now = quiet().mode;
  const entries: (QuickPickItem & { readonly mode: Mode })[] = [
    { mode: 'automatic', label: l10n.t('Automatic'), detail: l10n.t('Suggest while I type.') },
    {
      mode: 'manual',
      label: l10n.t('Manual'),
      detail: l10n.t('Send nothing to the model until I ask.'),
    },
    { mode: 'off', label: l10n.t('Off'), detail: l10n.t('Answer nothing.') },
  ];
  const picked = await window.showQuickPick(
    entries.map((each) => (each.mode === now ? { ...each, description: l10n.t('now') } : each)),
    { title: l10n.t('dgemma: Set Mode') },
  );
  if (picked !== undefined) {
    await setMode(picked.mode);
  }
}

/** Turn the language of the active editor on or off. */
export async function toggleLanguage(): Promise<void> {
  const document = window.activeTextEditor?.document;
  if (document !== undefined) {
    const id = document.languageId;
    await setLanguage(id, !enabledFor(id, quiet(document.uri).languages), document.uri);
  }
}

/** Put suggestions to sleep for some minutes, or wake them; for this workspace, also reloaded. */
export async function snooze(suggest: Suggest): Promise<void> {
  const times = [...new Set([snoozeMinutes(), 5, 15, 30, 60])].filter((each) => each > 0);
  const asleep = Date.now() < suggest.snoozedUntil;
  const entries: (QuickPickItem & { readonly minutes: number })[] = [
    ...(asleep ? [{ label: l10n.t('Suggest again now'), minutes: 0 }] : []),
    ...times.map((minutes) => ({ label: l10n.t('{0} minutes', minutes), minutes })),
  ];
  const picked = await window.showQuickPick(entries, { title: l10n.t('dgemma: Snooze') });
  if (picked !== undefined) {
    await suggest.snooze(picked.minutes > 0 ? Date.now() + picked.minutes * MINUTE_MS : 0);
  }
}

/** Ask for a suggestion now, also where none is made by itself. */
export async function trigger(): Promise<void> {
  if (quiet().mode === 'off') {
    window.setStatusBarMessage(l10n.t('dgemma is off'), 3000);
    return;
  }
  await commands.executeCommand('editor.action.inlineSuggest.trigger');
}

/** End the runtime process, which gives its memory back; the next request starts another. */
export async function freeMemory(server: Server): Promise<void> {
  try {
    const result = await server.ask<StopResult>(STOP_RUNTIME, {});
    const told = result.stopped
      ? l10n.t('The model process has ended and its memory is free.')
      : (result.message ?? l10n.t('No model process was running.'));
    void window.showInformationMessage(`dgemma: ${told}`);
  } catch (error) {
    void window.showErrorMessage(`dgemma: ${textOf(error)}`);
  }
}
