// Reading and writing settings. What the server knows is generated into package.json from its
// schema; the settings named here are the extension's own and are never sent.

import { ConfigurationTarget, type Uri, type WorkspaceConfiguration, workspace } from 'vscode';
import type { Mode } from './gate';

export const SECTION = 'dgemma';

/** First parts of the names of settings that only the extension reads; the server refuses them. */
export const EXTENSION_ONLY = [
  'server',
  'languages',
  'disabledFiles',
  'snoozeMinutes',
  'confidence',
] as const;

function section(scope?: Uri): WorkspaceConfiguration {
  return workspace.getConfiguration(SECTION, scope);
}

export interface Quiet {
  readonly mode: Mode;
  readonly debounceMs: number;
  readonly languages: Readonly<Record<string, boolean>>;
  readonly disabledFiles: readonly string[];
  readonly ignore: readonly string[];
}

/** What decides whether a request is made for a document. */
export function quiet(scope?: Uri): Quiet {
  const config = section(scope);
  return {
    mode: config.get<Mode>('mode', 'automatic'),
    debounceMs: config.get<number>('debounceMs', 75),
    languages: config.get<Record<string, boolean>>('languages', {}),
    disabledFiles: config.get<string[]>('disabledFiles', []),
    ignore: config.get<string[]>('ignore', []),
  };
}

/** The command that starts the server; empty when it is to be found. */
export function serverCommand(): readonly string[] {
  return section().get<string[]>('server.command', []);
}

/** What pip installs when the extension sets up an environment of its own. */
export function serverPackage(): string {
  return section().get<string>('server.package', 'dgemma').trim() || 'dgemma';
}

export function snoozeMinutes(): number {
  return section().get<number>('snoozeMinutes', 15);
}

export interface Weakness {
  readonly afterAccept: boolean;
  /** Tokens of a smaller probability are weak. */
  readonly below: number;
}

/** What is underlined, and when. */
export function weakness(scope?: Uri): Weakness {
  const config = section(scope);
  return {
    afterAccept: config.get<boolean>('confidence.afterAccept', false),
    below: config.get<number>('confidence.below', 0.6),
  };
}

/** Choose a model, on this machine alone. */
export async function setModel(name: string): Promise<void> {
  await update('runtime.model', name);
}

/** Set the mode where it is set already: the workspace when it says something, else the user. */
export async function setMode(mode: Mode): Promise<void> {
  await update('mode', mode);
}

/** Turn a language on or off, where that is set for a document already. */
export async function setLanguage(language: string, enabled: boolean, scope?: Uri): Promise<void> {
  const now = section(scope).get<Record<string, boolean>>('languages', {});
  await update('languages', { ...now, [language]: enabled }, scope);
}

async function update(name: string, value: unknown, scope?: Uri): Promise<void> {
  const config = section(scope);
  const found = config.inspect(name);
  const target =
    found?.workspaceFolderValue !== undefined
      ? ConfigurationTarget.WorkspaceFolder
      : found?.workspaceValue !== undefined
        ? ConfigurationTarget.Workspace
        : ConfigurationTarget.Global;
  await config.update(name, value, target);
}

/** The section as the server may have it: without the extension's own settings. */
export function forServer(values: unknown): unknown {
  if (typeof values !== 'object' || values === null || Array.isArray(values)) {
    return values;
  }
  const own: readonly string[] = EXTENSION_ONLY;
  return Object.fromEntries(Object.entries(values).filter(([name]) => !own.includes(name)));
}
