import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { matches } from '../src/globs';

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const groups: { properties: Record<string, { default: unknown }> }[] =
  manifest.contributes.configuration;
const secrets = groups.find((group) => 'dgemma.ignore' in group.properties)?.properties[
  'dgemma.ignore'
]?.default as string[];

test('secrets are ignored whatever their folder and letter case', () => {
  for (const path of [
    '/home/a/.env',
    '/.env',
    '/home/a/deploy/.env.local',
    '/home/a/id_rsa',
    '/home/a/certs/server.PEM',
    '/home/a/.ssh/config',
    '/home/a/secrets/deep/er/x.py',
    '/home/a/my-SECRETS.json',
    'C:/Users/a/.npmrc',
  ]) {
    assert.ok(matches(path, secrets), path);
  }
});

test('other files are not', () => {
  for (const path of ['/home/a/env.py', '/home/a/main.py', '/home/a/.envrc', '/home/a/pem']) {
    assert.ok(!matches(path, secrets), path);
  }
});

test('stars cross folders, brackets are sets, the rest is literal', () => {
  assert.ok(matches('/a/b/c.gen.ts', ['*.gen.ts']));
  assert.ok(matches('/a/generated/b/c.ts', ['**/generated/**']));
  assert.ok(!matches('/a/degenerated/c.ts', ['**/generated/**']));
  assert.ok(matches('/a/x1.py', ['x[0-9].py']));
  assert.ok(!matches('/a/xa.py', ['x[0-9].py']));
  assert.ok(matches('/a/xa.py', ['x[!0-9].py']));
  assert.ok(matches('/a/[x.py', ['[x.py']));
  assert.ok(matches('/a/b+(c).py', ['b+(c).py']));
  assert.ok(matches('/a/b]c.py', ['b[]]c.py']));
  assert.ok(matches('/only/here.py', ['/only/here.py']));
  assert.ok(!matches('/not/only/here.py', ['/only/here.py']));
  assert.ok(!matches('/a.py', []));
});
