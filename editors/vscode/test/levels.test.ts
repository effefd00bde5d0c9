import assert from 'node:assert/strict';
import { test } from 'node:test';
import { levelOf, weakTokens } from '../src/levels';
import { bolder, closer } from '../src/noise';
import { charactersOf, unitsAt } from '../src/units';

test('three levels below a bound, and none above it', () => {
  assert.deepEqual(
    [0.95, 0.6, 0.59, 0.4, 0.39, 0.2, 0.19, 0].map((each) => levelOf(each, 0.6)),
    [undefined, undefined, 1, 1, 2, 2, 3, 3],
  );
});

test('places are UTF-16 units of the text in the document', () => {
  const text = '🦜 = x\r\n  y';
  const tokens = [
    { start: 0, end: 1, probability: 0.1 },
    { start: 1, end: 3, probability: 0.9 },
    { start: 3, end: 6, probability: 0.5 }, // " x" and the line break
    { start: 6, end: 9, probability: 0.3 },
  ];
  const found = weakTokens(text, tokens, 0.6).map(({ start, end, level }) => [
    text.slice(start, end),
    level,
  ]);
  assert.deepEqual(found, [
    ['🦜', 3],
    ['x', 1],
    ['y', 2],
  ]);
});

test('blanks alone are never underlined', () => {
  assert.deepEqual(weakTokens('a  b', [{ start: 1, end: 3, probability: 0 }], 1), []);
});

test('characters and units', () => {
  const units = unitsAt('a🦜\r\nb');
  assert.deepEqual([0, 1, 2, 3, 4, 9].map(units), [0, 1, 3, 5, 6, 6]);
  assert.equal(charactersOf('a🦜b'), 3);
});

test("bolder and closer are each other's way back, and end", () => {
  assert.equal(closer(1), 0.5);
  assert.equal(bolder(0.5), 1);
  assert.equal(bolder(1), undefined);
  assert.equal(closer(0.125), undefined);
  assert.equal(closer(0.3), 0.25);
});
