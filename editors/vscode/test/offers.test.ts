import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Offers } from '../src/offers';

const at = (rangeOffset: number, text: string, rangeLength = 0) => [
  { rangeOffset, rangeLength, text },
];
const first = { id: 7, text: 'foo(🦜)\r\nbar' };
const other = { id: 8, text: 'for x in y' };

function shown(): Offers {
  const offers = new Offers();
  offers.show('a', 100, [first, other]);
  return offers;
}

test('taken whole, also after some of it was typed', () => {
  assert.deepEqual(shown().changed('a', at(100, first.text)), {
    kind: 'accepted',
    offer: first,
    start: 100,
  });
  const offers = shown();
  assert.equal(offers.changed('a', at(100, 'f')), undefined);
  assert.equal(offers.changed('a', at(101, 'o')), undefined);
  assert.deepEqual(offers.changed('a', at(102, other.text.slice(2))), {
    kind: 'accepted',
    offer: other,
    start: 100,
  });
});

test('word by word, counted in characters and one for a line break', () => {
  const offers = shown();
  const part = offers.changed('a', at(100, 'foo(🦜'));
  assert.deepEqual(part, { kind: 'partly', offer: first, characters: 5 });
  const more = offers.changed('a', at(106, ')\r\n'));
  assert.deepEqual(more, { kind: 'partly', offer: first, characters: 7 });
  assert.equal(offers.changed('a', at(109, 'bar'))?.kind, 'accepted');
});

test('something else was typed', () => {
  const offers = shown();
  assert.deepEqual(offers.changed('a', at(100, 'x')), { kind: 'typed', offer: first });
  assert.equal(offers.changed('a', at(101, 'y')), undefined); // told once
});

test('a bracket that closes by itself is one key', () => {
  const offers = new Offers();
  offers.show('a', 0, [{ id: 1, text: '(x)' }]);
  assert.equal(offers.changed('a', at(0, '()')), undefined);
  assert.equal(offers.changed('a', at(1, 'x)'))?.kind, 'accepted');
});

test('edits elsewhere, deletions and several cursors say nothing', () => {
  const cases = [at(3, 'x'), at(99, '', 1), [...at(100, 'f'), ...at(0, 'f')]];
  for (const changes of cases) {
    const offers = shown();
    assert.equal(offers.changed('a', changes), undefined);
    assert.equal(offers.drop(), undefined);
  }
  assert.equal(shown().changed('b', at(100, 'x')), undefined);
});

test('what is put away is told once', () => {
  const offers = shown();
  assert.equal(offers.drop(), first);
  assert.equal(offers.drop(), undefined);
});
