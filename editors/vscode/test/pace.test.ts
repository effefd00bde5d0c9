import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Pace, type Shown, typesInto } from '../src/pace';

function typing(gap: number, keys = 20): Pace {
  const pace = new Pace();
  for (let key = 0; key < keys; key++) {
    pace.key(key * gap);
  }
  return pace;
}

test('nothing is known before two keys', () => {
  const pace = new Pace();
  assert.equal(pace.wait(75), 0);
  pace.key(0);
  assert.equal(pace.wait(75), 0);
});

test('whoever types slower is waited for longer, within bounds', () => {
  assert.equal(typing(40).wait(75), 0); // the server's own wait outlasts it
  assert.equal(typing(120).wait(75), 75);
  assert.equal(typing(200).wait(75), 175);
  assert.equal(typing(900).wait(75), 225); // at most four times, the server's wait included
});

test('no wait at all where none is set', () => {
  assert.equal(typing(200).wait(0), 0);
});

test('pauses say nothing of the speed', () => {
  const pace = typing(120);
  pace.key(60_000);
  pace.key(60_120);
  assert.equal(pace.wait(75), 75);
});

test('it follows a change of speed', () => {
  const pace = typing(200);
  const before = pace.wait(75);
  for (let key = 0; key < 20; key++) {
    pace.key(4000 + key * 90);
  }
  assert.ok(pace.wait(75) < before / 2);
});

test('quick answers are waited for less, slow ones more', () => {
  const [quick, usual, slow] = [typing(150), typing(150), typing(150)];
  quick.answered(20);
  slow.answered(2000);
  assert.ok(quick.wait(75) < usual.wait(75));
  assert.ok(usual.wait(75) < slow.wait(75));
});

test('whoever takes what is shown waits less than whoever never does', () => {
  const [takes, usual, leaves] = [typing(150), typing(150), typing(150)];
  for (let each = 0; each < 20; each++) {
    takes.outcome(1);
    leaves.outcome(0);
  }
  assert.ok(takes.wait(75) < usual.wait(75));
  assert.ok(usual.wait(75) < leaves.wait(75));
  assert.ok(leaves.wait(75) <= 225); // at most four times, the server's wait included
});

const shown: Shown = { uri: 'file:///a', line: 1, before: '  return ', text: 'a + b\nc' };

test('typing into what is shown', () => {
  assert.ok(typesInto(shown, 'file:///a', 1, '  return '));
  assert.ok(typesInto(shown, 'file:///a', 1, '  return a +'));
  assert.ok(!typesInto(shown, 'file:///a', 1, '  return b'));
  assert.ok(!typesInto(shown, 'file:///a', 2, '  return a'));
  assert.ok(!typesInto(shown, 'file:///b', 1, '  return a'));
  assert.ok(!typesInto(shown, 'file:///a', 1, '  retur'));
  assert.ok(!typesInto(undefined, 'file:///a', 1, '  return '));
});
