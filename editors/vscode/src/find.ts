// Finding a `dgemma` to start. Knows no editor: places and the file system come in as arguments.

import { posix, win32 } from 'node:path';

export type Origin = 'setting' | 'environment' | 'path' | 'own';

/** A server's command with its arguments, and where it was found. */
export interface Found {
  readonly command: readonly string[];
  readonly origin: Origin;
}

export interface Places {
  /** The setting; empty when it is not set. */
  readonly setting: readonly string[];
  /** Interpreters selected for the workspace, best first. */
  readonly interpreters: readonly string[];
  /** Folders of the workspace. */
  readonly folders: readonly string[];
  /** The value of PATH. */
  readonly path: string;
  /** The environment that the extension made. */
  readonly own: string;
  readonly platform: NodeJS.Platform;
}

/** The first server there is, or undefined. */
export function find(places: Places, exists: (file: string) => boolean): Found | undefined {
  if (places.setting.length > 0) {
    return { command: places.setting, origin: 'setting' };
  }
  const windows = places.platform === 'win32';
  const path = windows ? win32 : posix;
  const name = windows ? 'dgemma.exe' : 'dgemma';
  const environments = places.folders.flatMap((folder) =>
    ['.venv', 'venv'].map((each) => path.join(folder, each)),
  );
  const candidates: [Origin, string][] = [
    ...places.interpreters.flatMap((interpreter): [Origin, string][] => {
      const folder = path.dirname(interpreter);
      const files = [path.join(folder, name)];
      if (windows) {
        files.push(path.join(folder, 'Scripts', name)); // an interpreter outside an environment
      }
      return files.map((file) => ['environment', file]);
    }),
    ...environments.map((each): [Origin, string] => [
      'environment',
      executable(each, name, windows),
    ]),
    ...places.path
      .split(windows ? ';' : ':')
      .filter((folder) => path.isAbsolute(folder)) // never a folder relative to where we stand
      .map((folder): [Origin, string] => ['path', path.join(folder, name)]),
    ['own', executable(places.own, name, windows)],
  ];
  const hit = candidates.find(([, file]) => exists(file));
  return hit === undefined ? undefined : { command: [hit[1], 'lsp'], origin: hit[0] };
}

/** A program of a virtual environment. */
export function executable(environment: string, name: string, windows: boolean): string {
  return windows ? win32.join(environment, 'Scripts', name) : posix.join(environment, 'bin', name);
}

const MAIN = 'import sys; from dgemma_lsp.cli.main import main; sys.exit(main())';

/**
 * The command for another subcommand of the same program, or undefined when it cannot be told from
 * the command that starts the server.
 */
export function sibling(
  command: readonly string[],
  subcommand: string,
): readonly string[] | undefined {
  const at = command.lastIndexOf('lsp');
  if (at > 0) {
    return [...command.slice(0, at), subcommand];
  }
  const program = command[0] ?? '';
  const found = /^(.*)dgemma-lsp(\.exe)?$/i.exec(program);
  if (found !== null) {
    return [`${found[1]}dgemma${found[2] ?? ''}`, subcommand];
  }
  const module = command.indexOf('dgemma_lsp');
  return module > 1 && command[module - 1] === '-m'
    ? [...command.slice(0, module - 1), '-c', MAIN, subcommand]
    : undefined;
}
