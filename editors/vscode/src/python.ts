// The Python that a person selected for the workspace, by the Python extension when it is there.

import { extensions, type Uri, workspace } from 'vscode';
import { log, textOf } from './log';

interface PythonApi {
  readonly environments: {
    getActiveEnvironmentPath(resource?: Uri): { readonly path: string };
    resolveEnvironment(path: {
      readonly path: string;
    }): Promise<{ readonly executable: { readonly uri?: Uri } } | undefined>;
    readonly onDidChangeActiveEnvironmentPath?: (listener: () => void) => { dispose(): void };
  };
}

/** Tried in this order when nothing is selected. */
const COMMON = ['python3', 'python', 'python3.13', 'python3.12', 'python3.11'];

async function api(): Promise<PythonApi | undefined> {
  const extension = extensions.getExtension<PythonApi>('ms-python.python');
  if (extension === undefined) {
    return undefined;
  }
  try {
    return await extension.activate();
  } catch (error) {
    log().info(`the Python extension did not start: ${textOf(error)}`);
    return undefined;
  }
}

/** Interpreters of the workspace's folders, each once; none while the workspace is not trusted. */
export async function selected(): Promise<string[]> {
  if (!workspace.isTrusted) {
    return [];
  }
  const python = await api();
  if (python === undefined) {
    return [];
  }
  const found = new Set<string>();
  for (const folder of workspace.workspaceFolders ?? [undefined]) {
    try {
      const path = python.environments.getActiveEnvironmentPath(folder?.uri);
      const environment = await python.environments.resolveEnvironment(path);
      const file = environment?.executable.uri?.fsPath;
      if (file !== undefined) {
        found.add(file);
      }
    } catch (error) {
      log().info(`the Python extension names no interpreter: ${textOf(error)}`);
    }
  }
  return [...found];
}

/** Commands that may start a Python, best first. */
export async function candidates(): Promise<string[][]> {
  const commands = [...(await selected()), ...COMMON].map((name) => [name]);
  return process.platform === 'win32' ? [...commands, ['py', '-3']] : commands;
}
