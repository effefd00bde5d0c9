import assert from 'node:assert/strict';
import { test } from 'node:test';
import { find, type Places, sibling } from '../src/find';

const places: Places = {
  setting: [],
  interpreters: ['/envs/one/bin/python'],
  folders: ['/project'],
  path: 'relative:/usr/bin:/opt/bin',
  own: '/storage/environment',
  platform: 'linux',
};
const only =
  (...files: string[]) =>
  (file: string) =>
    files.includes(file);

test('the setting beats everything, also when nothing is there', () => {
  const found = find({ ...places, setting: ['x', 'y'] }, () => true);
  assert.deepEqual(found, { command: ['x', 'y'], origin: 'setting' });
});

test('selected environment, then the folder, then the PATH, then its own', () => {
  const files = [
    '/envs/one/bin/dgemma',
    '/project/.venv/bin/dgemma',
    '/project/venv/bin/dgemma',
    '/usr/bin/dgemma',
    '/opt/bin/dgemma',
    '/storage/environment/bin/dgemma',
  ];
  const origins = ['environment', 'environment', 'environment', 'path', 'path', 'own'];
  for (let from = 0; from < files.length; from++) {
    const found = find(places, only(...files.slice(from)));
    assert.deepEqual(found, { command: [files[from], 'lsp'], origin: origins[from] });
  }
  assert.equal(
    find(places, () => false),
    undefined,
  );
});

test('a relative folder of the PATH is never looked into', () => {
  assert.equal(find(places, only('relative/dgemma')), undefined);
});

test('Windows has its own names', () => {
  const windows: Places = {
    ...places,
    platform: 'win32',
    interpreters: ['C:\\Python\\python.exe'],
    path: 'C:\\bin;D:\\tools',
    own: 'C:\\own',
  };
  for (const file of ['C:\\Python\\Scripts\\dgemma.exe', 'D:\\tools\\dgemma.exe']) {
    assert.deepEqual(find(windows, only(file))?.command, [file, 'lsp']);
  }
  assert.equal(find(windows, only('C:\\own\\Scripts\\dgemma.exe'))?.origin, 'own');
});

test('another subcommand of the same program', () => {
  assert.deepEqual(sibling(['/v/bin/dgemma', 'lsp'], 'doctor'), ['/v/bin/dgemma', 'doctor']);
  assert.deepEqual(sibling(['/v/bin/dgemma-lsp'], 'doctor'), ['/v/bin/dgemma', 'doctor']);
  assert.deepEqual(sibling(['C:\\dgemma-lsp.exe'], 'doctor'), ['C:\\dgemma.exe', 'doctor']);
  assert.deepEqual(sibling(['py', '-m', 'dgemma_lsp'], 'doctor')?.slice(0, 2), ['py', '-c']);
  assert.equal(sibling(['sh', '-c', 'something'], 'doctor'), undefined);
  assert.equal(sibling([], 'doctor'), undefined);
});
