// Whether a request may go to the server at all, and why not. Knows no editor.

import { matches } from './globs';

export type Mode = 'automatic' | 'manual' | 'off';

/** Why nothing is asked, in the order in which it is looked at. */
export type Silence =
  | 'off'
  | 'ignored'
  | 'language'
  | 'file'
  | 'several-cursors'
  | 'snoozed'
  | 'manual';

/** What a decision needs to know; `snoozedUntil` and `now` are milliseconds of one clock. */
export interface Asking {
  readonly mode: Mode;
  readonly languages: Readonly<Record<string, boolean>>;
  readonly disabledFiles: readonly string[];
  readonly ignore: readonly string[];
  readonly snoozedUntil: number;
  readonly now: number;
  readonly language: string;
  readonly path: string;
  readonly invoked: boolean;
  readonly cursors: number;
}

/** Return why nothing is asked, or undefined when it is. A request by hand overrides less. */
export function silence(asking: Asking): Silence | undefined {
  if (asking.mode === 'off') {
    return 'off';
  }
  if (matches(asking.path, asking.ignore)) {
    return 'ignored';
  }
  if (!enabledFor(asking.language, asking.languages)) {
    return 'language';
  }
  if (matches(asking.path, asking.disabledFiles)) {
    return 'file';
  }
  if (asking.invoked) {
    return undefined;
  }
  if (asking.cursors > 1) {
    return 'several-cursors';
  }
  if (asking.now < asking.snoozedUntil) {
    return 'snoozed';
  }
  return asking.mode === 'manual' ? 'manual' : undefined;
}

/** Whether a language is on: by its own entry, else by the one of `*`, else yes. */
export function enabledFor(language: string, languages: Readonly<Record<string, boolean>>) {
  const own = Object.hasOwn(languages, language) ? languages[language] : undefined;
  return own ?? languages['*'] ?? true;
}
