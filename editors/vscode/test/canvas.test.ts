import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linesOfSpan, MOST_STRETCHES, Rate } from '../src/canvas';
import type { DraftToken } from '../src/protocol';

test('neighbours that look alike are one stretch; noise is blocks and never its text', () => {
  const tokens: DraftToken[] = [
    ['def', 'settled'],
    [' f', 'settled'],
    ['secret', 'noise'],
    ['\n', 'noise'],
    ['x', 'guess'],
  ];
  assert.deepEqual(linesOfSpan(tokens), [
    [
      { look: 'settled', text: 'def f' },
      { look: 'noise', text: '░░░░' },
      { look: 'guess', text: 'x' },
    ],
  ]);
});

test('noise is as wide as a line at most', () => {
  const tokens = Array.from({ length: 60 }, (): DraftToken => ['', 'noise']);
  const widths = linesOfSpan(tokens).map((line) => line[0]?.text.length);
  assert.deepEqual(widths, [32, 32, 32, 24]);
});

test('line breaks of any kind begin a line, also an empty one', () => {
  const lines = linesOfSpan([
    ['a\r\n\n', 'settled'],
    ['b', 'guess'],
  ]);
  assert.deepEqual(lines, [[{ look: 'settled', text: 'a' }], [], [{ look: 'guess', text: 'b' }]]);
});

test('a line of many stretches keeps its text and a bounded number of stretches', () => {
  const tokens = Array.from(
    { length: 60 },
    (_, at): DraftToken => [String(at % 10), at % 2 ? 'guess' : 'settled'],
  );
  const [line] = linesOfSpan(tokens);
  assert.equal(line?.length, MOST_STRETCHES);
  assert.equal(line?.map((each) => each.text).join(''), tokens.map(([text]) => text).join(''));
});

test('calls are bounded, and the last one comes through', async () => {
  const seen: number[] = [];
  const done = new Promise<void>((resolve) => {
    const rate = new Rate<number>(30, (value) => {
      seen.push(value);
      if (value === 99) {
        resolve();
      }
    });
    for (let value = 0; value < 100; value++) {
      rate.call(value);
    }
  });
  await done;
  assert.deepEqual(seen, [0, 99]);
});

test('nothing is drawn after the end', async () => {
  const seen: number[] = [];
  const rate = new Rate<number>(5, (value) => seen.push(value));
  rate.call(1);
  rate.call(2);
  rate.stop();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.deepEqual(seen, [1]);
});
