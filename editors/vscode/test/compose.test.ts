import assert from 'node:assert/strict';
import { test } from 'node:test';
import { composed, moveLines } from '../src/compose';

test('earlier cells come first, each with a line end, empty ones not at all', () => {
  assert.equal(composed(['a = 1', '', 'b = 2\r\nc = 3'], 'python'), 'a = 1\nb = 2\nc = 3\n');
  assert.equal(composed([], 'python'), '');
});

test('what is for the notebook alone is a comment in Python', () => {
  assert.equal(composed(['%run x\n  !ls\nx % 2'], 'python'), '# %run x\n  # !ls\nx % 2\n');
  assert.equal(composed(['%%bash\nls'], 'python'), '# %%bash\n# ls\n');
  assert.equal(composed(['%run x'], 'julia'), '%run x\n');
});

test('the nearest cells are kept when there are too many', () => {
  const cells = ['far', 'x'.repeat(20_995), 'y'.repeat(9_000), 'near'];
  assert.equal(composed(cells, 'r'), `${cells.slice(1).join('\n')}\n`);
  assert.equal(composed(['x'.repeat(40_000), 'near'], 'r'), 'near\n');
});

test('places are moved wherever they stand, and nothing else', () => {
  const value = {
    range: { start: { line: 1, character: 2 }, end: { line: 3, character: 0 } },
    hunks: [{ id: 1, range: { start: { line: 0, character: 0 } } }, null, 'text', 7],
    line: 5,
  };
  assert.deepEqual(moveLines(moveLines(value, 4), -4), value);
  assert.deepEqual(moveLines(value.range.start, 4), { line: 5, character: 2 });
  assert.equal(moveLines(value, 4).line, 5);
  assert.throws(() => moveLines(value, -1), /another cell/);
});
