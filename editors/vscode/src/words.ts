// Reasons in words, for people.

import { l10n } from 'vscode';
import type { Silence } from './gate';

/** Why the extension asked nothing. */
export function ofSilence(reason: Silence): string {
  switch (reason) {
    case 'off':
      return l10n.t('dgemma is off');
    case 'ignored':
      return l10n.t('this file may hold secrets (dgemma.ignore)');
    case 'language':
      return l10n.t('this language is turned off (dgemma.languages)');
    case 'file':
      return l10n.t('this file is turned off (dgemma.disabledFiles)');
    case 'several-cursors':
      return l10n.t('there are several cursors');
    case 'snoozed':
      return l10n.t('suggestions are snoozed');
    case 'manual':
      return l10n.t('only what you ask for is suggested (dgemma.mode)');
  }
}

/** Why the server answered nothing; a reason that is not known here is shown as it is. */
export function ofServer(reason: string): string {
  const words: Record<string, string> = {
    off: l10n.t('dgemma is off'),
    ignored_file: l10n.t('this file may hold secrets (dgemma.ignore)'),
    manual_only: l10n.t('only what you ask for is suggested (dgemma.mode)'),
    inside_word: l10n.t('the cursor is inside a word'),
    selected_completion: l10n.t('the completion list has something selected'),
    all_rejected: l10n.t('what the model wrote was not good enough to show'),
    stale: l10n.t('the answer came after the text had changed'),
    no_runtime: l10n.t('the model process could not be started'),
    superseded: l10n.t('a newer request took its place'),
    cancelled: l10n.t('the request was cancelled'),
    deadline: l10n.t('the model was not done in time (dgemma.deadlineMs)'),
    out_of_memory: l10n.t('the memory of the device is full'),
    model_unavailable: l10n.t('the model could not be loaded'),
  };
  return words[reason] ?? reason.replaceAll('_', ' ');
}
