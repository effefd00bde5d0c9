import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filled, isOffered, placesOf, REMEMBERED, remembered } from '../src/instructions';

const kind = (instruction: string) => ({ kind: 'x', instruction, success: 1, languages: [] });

test('places are named once, and filled in everywhere', () => {
  assert.deepEqual(placesOf('rename {a} to {b}, not {a}'), ['a', 'b']);
  assert.deepEqual(placesOf('add types'), []);
  const values = new Map([['a', '$& {b}']]);
  assert.equal(filled('rename {a} to {b}', values), 'rename $& {b} to {b}');
});

test('what is typed is one of them when all its places are filled in', () => {
  const kinds = [kind('rename {a} to {b}'), kind('add (all) types')];
  assert.ok(isOffered('Rename  x to yy', kinds));
  assert.ok(isOffered(' add (all) types ', kinds));
  assert.ok(!isOffered('rename x', kinds));
  assert.ok(!isOffered('rename  to y', kinds));
  assert.ok(!isOffered('add all types', kinds));
  assert.ok(!isOffered('', kinds));
  assert.ok(isOffered('swap x and x', [kind('swap {a} and {a}')]));
  assert.ok(!isOffered('swap x and y', [kind('swap {a} and {a}')]));
});

test('the newest is remembered first, each once, not for ever', () => {
  assert.deepEqual(remembered(['a', 'b'], 'b'), ['b', 'a']);
  const many = Array.from({ length: 50 }, (_, n) => String(n));
  assert.equal(remembered(many, 'x').length, REMEMBERED);
});
