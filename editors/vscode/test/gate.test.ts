import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Asking, enabledFor, silence } from '../src/gate';

const fine: Asking = {
  mode: 'automatic',
  languages: { '*': true },
  disabledFiles: [],
  ignore: ['**/.env'],
  snoozedUntil: 0,
  now: 1000,
  language: 'python',
  path: '/project/a.py',
  invoked: false,
  cursors: 1,
};

test('a plain request is made', () => {
  assert.equal(silence(fine), undefined);
});

test('each reason for silence, and which of them a request by hand overrides', () => {
  const cases: [Partial<Asking>, string, string | undefined][] = [
    [{ mode: 'off' }, 'off', 'off'],
    [{ path: '/project/.env' }, 'ignored', 'ignored'],
    [{ languages: { python: false } }, 'language', 'language'],
    [{ languages: { '*': false } }, 'language', 'language'],
    [{ disabledFiles: ['*.py'] }, 'file', 'file'],
    [{ snoozedUntil: 2000 }, 'snoozed', undefined],
    [{ mode: 'manual' }, 'manual', undefined],
    [{ cursors: 2 }, 'several-cursors', undefined],
  ];
  for (const [change, automatic, invoked] of cases) {
    assert.equal(silence({ ...fine, ...change }), automatic, JSON.stringify(change));
    assert.equal(silence({ ...fine, ...change, invoked: true }), invoked, JSON.stringify(change));
  }
});

test('a snooze ends by itself', () => {
  assert.equal(silence({ ...fine, snoozedUntil: 1000 }), undefined);
});

test('an entry of its own beats the star, and names of objects are no entries', () => {
  assert.ok(enabledFor('python', { '*': false, python: true }));
  assert.ok(!enabledFor('toString', { '*': false }));
  assert.ok(enabledFor('toString', {}));
});
