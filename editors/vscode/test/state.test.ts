import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StatusResult } from '../src/protocol';
import { type Known, kindOf, newest } from '../src/state';

const status: StatusResult = {
  release: '0',
  mode: 'automatic',
  connected: true,
  runtime: null,
  problem: null,
  declined: {},
  rejected: {},
  silent: {},
  shown: 0,
  accepted: 0,
  lastTotalMs: null,
  rewrites: [],
};
const loading = {
  ...status,
  runtime: {
    state: 'loading' as const,
    progress: 0.5,
    message: '',
    model: 'm',
    device: '',
    deviceReason: '',
    dtype: '',
    residentMb: 0,
  },
};
const known: Known = {
  running: 'running',
  mode: 'automatic',
  snoozedUntil: 0,
  now: 1,
  busy: 0,
  status,
};

test('what keeps suggestions away is shown before what is going on', () => {
  const cases: [Partial<Known>, string][] = [
    [{}, 'idle'],
    [{ mode: 'manual' }, 'manual'],
    [{ busy: 1 }, 'busy'],
    [{ busy: 1, status: loading }, 'loading'],
    [{ running: 'starting', status: undefined }, 'loading'],
    [{ snoozedUntil: 2, busy: 1 }, 'snoozed'],
    [{ mode: 'off', snoozedUntil: 2 }, 'off'],
    [{ mode: 'off', status: { ...status, problem: 'no torch' } }, 'error'],
    [{ running: 'failed', status: undefined }, 'error'],
    [{ running: 'missing', mode: 'off', status: undefined }, 'missing'],
  ];
  for (const [change, kind] of cases) {
    assert.equal(kindOf({ ...known, ...change }), kind, JSON.stringify(change));
  }
});

test('the reason that was counted since', () => {
  assert.equal(newest({}, {}), undefined);
  assert.equal(newest({ a: 1 }, { a: 1 }), undefined);
  assert.equal(newest({ a: 1 }, { a: 2, b: 5 }), 'b');
});
