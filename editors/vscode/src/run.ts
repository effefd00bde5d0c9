// Running a program to its end, with its output line by line. Knows no editor.

import { spawn } from 'node:child_process';

export interface Ended {
  /** The exit status; null when a signal ended it. */
  readonly status: number | null;
  readonly output: string;
}

export interface Options {
  readonly cwd?: string;
  readonly signal?: AbortSignal;
  /** Called with every line of both outputs. */
  readonly onLine?: (line: string) => void;
}

/**
 * Run a command without a shell. It and what it started end when the signal is aborted.
 *
 * @throws When it cannot be started; when it was aborted, an error named `AbortError`.
 */
export function run(command: readonly string[], options: Options = {}): Promise<Ended> {
  const [program, ...rest] = command;
  if (program === undefined) {
    return Promise.reject(new Error('The command is empty.'));
  }
  const windows = process.platform === 'win32';
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, {
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: !windows, // a group of its own, which can be ended as one
      windowsHide: true,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      let part = '';
      stream.setEncoding('utf8');
      stream.on('data', (data: string) => {
        output += data;
        const lines = (part + data).split(/\r?\n/);
        part = lines.pop() ?? '';
        for (const line of lines) {
          options.onLine?.(line);
        }
      });
    }
    const abort = () => {
      if (child.pid === undefined) {
        return;
      }
      if (windows) {
        spawn('taskkill', ['/pid', String(child.pid), '/t', '/f'], { windowsHide: true });
      } else {
        try {
          process.kill(-child.pid, 'SIGTERM');
        } catch {
          child.kill(); // the group is gone already
        }
      }
    };
    if (options.signal?.aborted) {
      abort();
    }
    options.signal?.addEventListener('abort', abort, { once: true });
    child.on('error', reject);
    child.on('close', (status) => {
      options.signal?.removeEventListener('abort', abort);
      if (options.signal?.aborted) {
        const error = new Error('It was ended before it was done.');
        error.name = 'AbortError';
        reject(error);
      } else {
        resolve({ status, output });
      }
    });
  });
}
