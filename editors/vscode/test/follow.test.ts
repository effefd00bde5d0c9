import assert from 'node:assert/strict';
import { test } from 'node:test';
import { follow, followedLines, followLines, followLoosely, stretched } from '../src/follow';

const change = (rangeOffset: number, rangeLength: number, text: string) => ({
  rangeOffset,
  rangeLength,
  text,
});

test('a place moves with what changes before it and stays for what changes behind it', () => {
  assert.deepEqual(follow({ start: 10, end: 14 }, [change(2, 3, 'x')]), { start: 8, end: 12 });
  assert.deepEqual(follow({ start: 10, end: 14 }, [change(20, 0, 'x')]), { start: 10, end: 14 });
});

test('changes made at once are taken one after another', () => {
  const changes = [change(30, 1, ''), change(5, 0, 'abc'), change(0, 0, 'd')];
  assert.deepEqual(follow({ start: 10, end: 14 }, changes), { start: 14, end: 18 });
});

test('whatever touches a place ends it', () => {
  for (const each of [
    change(10, 0, 'x'),
    change(14, 0, 'x'),
    change(8, 2, ''),
    change(0, 99, ''),
  ]) {
    assert.equal(follow({ start: 10, end: 14 }, [each]), undefined);
  }
});

test('loosely, what is next to a place does not touch it', () => {
  const place = { start: 10, end: 14 };
  assert.deepEqual(followLoosely(place, [change(10, 0, 'x')]), { start: 11, end: 15 });
  assert.deepEqual(followLoosely(place, [change(14, 0, 'x')]), place);
  assert.equal(followLoosely(place, [change(12, 0, 'x')]), undefined);
});

test('lines are pushed down by lines, and touched by what is typed at their beginning', () => {
  const place = { start: 10, end: 20 };
  assert.deepEqual(followLines(place, [change(10, 0, 'x\n')]), { start: 12, end: 22 });
  assert.deepEqual(followLines(place, [change(10, 0, 'x\r\n')]), { start: 13, end: 23 });
  assert.equal(followLines(place, [change(10, 0, 'x')]), undefined);
  assert.deepEqual(followLines(place, [change(20, 0, 'x')]), place); // the next line
  assert.equal(followLines(place, [change(19, 1, '')]), undefined); // joins the next line
});

test('lines to be put in stay before the line that is typed into', () => {
  assert.deepEqual(followLines({ start: 10, end: 10 }, [change(10, 0, 'x')]), {
    start: 10,
    end: 10,
  });
});

test('a region grows and shrinks with what changes in it', () => {
  const region = { start: 10, end: 20 };
  assert.deepEqual(stretched(region, [change(12, 2, 'abcd')]), { start: 10, end: 22 });
  assert.deepEqual(stretched(region, [change(0, 2, '')]), { start: 8, end: 18 });
  assert.deepEqual(stretched(region, [change(25, 2, '')]), region);
  assert.deepEqual(stretched(region, [change(10, 10, '')]), { start: 10, end: 10 });
});

test('pinned lines move, stay when they are edited, and go when they are deleted', () => {
  assert.deepEqual(followedLines([2, 5], 0, 0, 0, 'a\n'), [3, 6]);
  assert.deepEqual(followedLines([2, 5], 2, 0, 2, 'a\n'), [3, 6]); // a line put in before it
  assert.deepEqual(followedLines([2, 5], 2, 4, 2, 'x'), [2, 5]);
  assert.deepEqual(followedLines([2, 5], 2, 4, 2, '\n'), [2, 6]);
  assert.deepEqual(followedLines([2, 5], 1, 3, 3, ''), [3]); // line 2 is gone
  assert.deepEqual(followedLines([2, 5], 4, 0, 5, ''), [2]);
  assert.deepEqual(followedLines([2, 5], 0, 0, 9, 'all\nanew'), []);
});
