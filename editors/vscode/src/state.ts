// What the status item is to show, decided from everything that is known. Knows no editor.

import type { Mode, Silence } from './gate';
import type { StatusResult } from './protocol';
import type { Running } from './server';

export type Kind =
  | 'untrusted'
  | 'missing'
  | 'error'
  | 'off'
  | 'snoozed'
  | 'busy'
  | 'loading'
  | 'manual'
  | 'idle';

export interface Known {
  readonly running: Running;
  readonly mode: Mode;
  readonly snoozedUntil: number;
  readonly now: number;
  readonly busy: number;
  readonly status: StatusResult | undefined;
}

/** The one thing to show: what keeps suggestions away before what is going on. */
export function kindOf(known: Known): Kind {
  if (known.running === 'untrusted') {
    return 'untrusted';
  }
  if (known.running === 'missing') {
    return 'missing';
  }
  if (known.running === 'failed' || (known.status?.problem ?? null) !== null) {
    return 'error';
  }
  if (known.mode === 'off') {
    return 'off';
  }
  if (known.now < known.snoozedUntil) {
    return 'snoozed';
  }
  const state = known.status?.runtime?.state;
  if (known.running === 'starting' || state === 'loading' || state === 'fetching') {
    return 'loading';
  }
  if (known.busy > 0) {
    return 'busy';
  }
  return known.mode === 'manual' ? 'manual' : 'idle';
}

/** The reason that was counted since the last look, the most frequent one first; else none. */
export function newest(
  before: Readonly<Record<string, number>>,
  now: Readonly<Record<string, number>>,
): string | undefined {
  const grown = Object.entries(now)
    .map(([reason, count]): [string, number] => [reason, count - (before[reason] ?? 0)])
    .filter(([, more]) => more > 0)
    .sort((one, other) => other[1] - one[1]);
  return grown[0]?.[0];
}

export type Why = { readonly here: Silence } | { readonly server: string } | undefined;
