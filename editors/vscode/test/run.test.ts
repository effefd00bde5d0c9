import assert from 'node:assert/strict';
import { test } from 'node:test';
import { run } from '../src/run';

const node = process.execPath;

test('status, output and lines', async () => {
  const lines: string[] = [];
  const code = 'console.log("a\\n漢"); console.error("b"); process.exitCode = 3';
  const ended = await run([node, '-e', code], { onLine: (line) => lines.push(line) });
  assert.equal(ended.status, 3);
  assert.deepEqual(lines.sort(), ['a', 'b', '漢']);
});

test('what cannot be started is an error', async () => {
  await assert.rejects(run(['/no/such/program']));
  await assert.rejects(run([]));
});

test('an abort ends the program and what it started', async () => {
  const abort = new AbortController();
  const inner = 'setTimeout(() => {}, 60000)';
  const code = `require("child_process").spawn(process.execPath, ["-e", ${JSON.stringify(inner)}], {stdio: "inherit"}); console.log("up"); ${inner}`;
  const began = Date.now();
  // The output stays open until the inner one has ended too.
  const running = run([node, '-e', code], { signal: abort.signal, onLine: () => abort.abort() });
  await assert.rejects(running, { name: 'AbortError' });
  assert.ok(Date.now() - began < 30_000);
});
