import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, columns, hunksOf, linesOf, rowsOf, shift, withBreaks } from '../src/hunks';

/** Small whole numbers, the same ones every time. */
function* numbers(seed: number): Generator<number> {
  let state = seed;
  for (;;) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state >>> 16;
  }
}

test('lines keep their breaks', () => {
  assert.deepEqual(linesOf(''), []);
  assert.deepEqual(linesOf('a'), ['a']);
  assert.deepEqual(linesOf('a\r\nb\n\nc\r'), ['a\r\n', 'b\n', '\n', 'c\r']);
  assert.equal(withBreaks('a\nb\r\nc', '\r\n'), 'a\r\nb\r\nc');
});

test('two changes apart are two hunks, each on its own', () => {
  const old = 'a\nb\nc\nd\n';
  const hunks = hunksOf(old, 'A\nb\nc\nD\nE\n');
  assert.deepEqual(
    hunks.map((hunk) => [hunk.oldStart, hunk.oldEnd, hunk.addedLines]),
    [
      [0, 1, ['A']],
      [3, 4, ['D', 'E']],
    ],
  );
  assert.equal(apply(old, hunks.slice(0, 1)), 'A\nb\nc\nd\n');
  assert.equal(apply(old, hunks.slice(1)), 'a\nb\nc\nD\nE\n');
});

test('insertions, deletions, the end of a file without a line break', () => {
  for (const [old, now] of [
    ['', 'a\n'],
    ['a\n', ''],
    ['a', 'a\nb'],
    ['a\nb', 'a'],
    ['a\nb\n', 'b\n'],
    ['b\n', 'a\nb\n'],
    ['漢🦜\n\tx\n', '漢🦜\n\ty\n'],
    ['same\n', 'same\n'],
  ] as const) {
    const hunks = hunksOf(old, now);
    assert.equal(apply(old, hunks), now);
    assert.equal(apply(old, []), old);
    assert.equal(hunks.length, old === now ? 0 : 1);
  }
});

test('all hunks make the new text, whatever the texts', () => {
  const next = numbers(7);
  const pick = (most: number) => (next.next().value as number) % most;
  const text = () => {
    const ends = ['\n', '\n', '\r\n', ''];
    return Array.from({ length: pick(9) }, () => 'ab漢'.charAt(pick(3)) + ends[pick(4)]).join('');
  };
  for (let round = 0; round < 2000; round++) {
    const [old, now] = [text(), text()];
    const hunks = hunksOf(old, now);
    assert.equal(apply(old, hunks), now);
    for (const [index, hunk] of hunks.entries()) {
      const before = hunks[index - 1];
      assert.ok(hunk.to > hunk.from || hunk.added !== '');
      assert.ok(before === undefined || hunk.oldStart > before.oldEnd, 'a kept line lies between');
    }
  }
});

test('texts too long to compare line by line are one hunk', () => {
  const old = `same\n${Array.from({ length: 1500 }, (_, n) => `old ${n}\n`).join('')}`;
  const now = `same\n${Array.from({ length: 1500 }, (_, n) => `new ${n}\n`).join('')}`;
  const hunks = hunksOf(old, now);
  assert.equal(hunks.length, 1);
  assert.equal(hunks[0]?.oldStart, 1);
  assert.equal(apply(old, hunks), now);
});

test('new lines stand beside the old ones and beside those that follow', () => {
  const hunks = hunksOf('a\nb\nc\n', 'a\nx\ny\nz\nc\n');
  assert.deepEqual(rowsOf(hunks, 10, 100), [
    { line: 11, hunk: 0, text: 'x' },
    { line: 12, hunk: 0, text: 'y' },
    { line: 13, hunk: 0, text: 'z' },
  ]);
});

test('rows never run into the next hunk nor past the end', () => {
  const hunks = hunksOf('a\nb\nc\n', 'A\nB\nC\nb\nX\nY\n');
  assert.deepEqual(rowsOf(hunks, 0, 3), [
    { line: 0, hunk: 0, text: 'A' },
    { line: 1, hunk: 0, text: 'B ⏎ C' },
    { line: 2, hunk: 1, text: 'X ⏎ Y' },
  ]);
});

test('columns', () => {
  assert.equal(columns('abc', 4), 3);
  assert.equal(columns('\ta', 4), 5);
  assert.equal(columns('a\tb', 4), 5);
  assert.equal(columns('漢a', 4), 3);
  assert.equal(columns('🦜', 4), 2);
  assert.equal(columns('e\u0301', 4), 1);
});

test('a region moves with what changes above it, and ends with what changes in it', () => {
  assert.equal(shift({ startLine: 0, endLine: 1, delta: 3 }, 2, 4), 3);
  assert.equal(shift({ startLine: 5, endLine: 9, delta: -4 }, 2, 4), 0);
  assert.equal(shift({ startLine: 2, endLine: 2, delta: 0 }, 2, 4), undefined);
  assert.equal(shift({ startLine: 0, endLine: 9, delta: -9 }, 2, 4), undefined);
});
