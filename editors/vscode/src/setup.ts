// An environment of the extension's own: asked for once, made with progress, and cancellable.

import { existsSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { commands, type ExtensionContext, l10n, ProgressLocation, window } from 'vscode';
import { serverPackage } from './config';
import { executable } from './find';
import { log, textOf } from './log';
import { candidates } from './python';
import { run } from './run';

const ASKED = 'dgemma.setup.asked';
const DONE = '.dgemma-complete';
const WINDOWS = process.platform === 'win32';

/** The folder of the environment; it counts only when it was finished. */
export function ownEnvironment(context: ExtensionContext): string {
  return join(context.globalStorageUri.fsPath, 'environment');
}

/** Whether a finished environment is there. */
export function isSetUp(context: ExtensionContext): boolean {
  return existsSync(join(ownEnvironment(context), DONE));
}

/** Offer to set up, the first time that no server is found and never again. */
export async function offerOnce(context: ExtensionContext): Promise<void> {
  if (context.globalState.get<boolean>(ASKED, false)) {
    return;
  }
  await context.globalState.update(ASKED, true);
  const yes = l10n.t('Set up dgemma');
  const how = l10n.t('How it works');
  const answer = await window.showInformationMessage(
    l10n.t(
      'No dgemma language server was found. It can be installed for this editor alone, without a model; nothing else on this machine changes.',
    ),
    yes,
    how,
    l10n.t('Not now'),
  );
  if (answer === yes) {
    await commands.executeCommand('dgemma.setUp');
  } else if (answer === how) {
    await commands.executeCommand('dgemma.openWalkthrough');
  }
}

/** Make the environment anew. Returns whether it is there now; says why not by itself. */
export async function setUp(context: ExtensionContext): Promise<boolean> {
  await context.globalState.update(ASKED, true);
  const abort = new AbortController();
  try {
    await window.withProgress(
      {
        location: ProgressLocation.Notification,
        title: l10n.t('Setting up dgemma'),
        cancellable: true,
      },
      async (progress, token) => {
        token.onCancellationRequested(() => abort.abort());
        await install(ownEnvironment(context), abort.signal, (message) =>
          progress.report({ message }),
        );
      },
    );
    return true;
  } catch (error) {
    if (abort.signal.aborted) {
      log().info('set-up was cancelled');
      return false;
    }
    log().error(`set-up failed: ${textOf(error)}`);
    const show = l10n.t('Show Log');
    void window.showErrorMessage(textOf(error), show).then((answer) => {
      if (answer === show) {
        log().show();
      }
    });
    return false;
  }
}

async function install(
  folder: string,
  signal: AbortSignal,
  report: (text: string) => void,
): Promise<void> {
  const wanted = serverPackage();
  if (wanted.startsWith('-')) {
    throw new Error(l10n.t('dgemma.server.package is not a package: {0}', wanted));
  }
  report(l10n.t('looking for Python'));
  const python = await findPython(signal);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  try {
    report(l10n.t('making an environment'));
    await must([...python, '-m', 'venv', folder], signal);
    const own = executable(folder, WINDOWS ? 'python.exe' : 'python', WINDOWS);
    await must(
      [own, '-m', 'pip', 'install', '--disable-pip-version-check', '--no-input', wanted],
      signal,
      (line) => {
        const found = /^(Collecting|Downloading|Installing collected packages)\b[: ]*(\S+)/.exec(
          line,
        );
        if (found !== null) {
          report(`${found[1]} ${found[2]}`);
        }
      },
    );
    const program = executable(folder, WINDOWS ? 'dgemma.exe' : 'dgemma', WINDOWS);
    if (!existsSync(program)) {
      throw new Error(l10n.t('{0} was installed, but brings no command named dgemma.', wanted));
    }
    await writeFile(join(folder, DONE), `${wanted}\n`);
  } catch (error) {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    throw error;
  }
}

async function findPython(signal: AbortSignal): Promise<string[]> {
  const check = 'import sys; sys.exit(sys.version_info < (3, 11))';
  for (const command of await candidates()) {
    try {
      if ((await run([...command, '-c', check], { signal })).status === 0) {
        return command;
      }
    } catch (error) {
      if (signal.aborted) {
        throw error;
      }
      log().debug(`${command.join(' ')}: ${textOf(error)}`);
    }
  }
  throw new Error(
    l10n.t(
      'dgemma needs Python 3.11 or later, and none was found. Install one, then run "dgemma: Set Up".',
    ),
  );
}

async function must(
  command: readonly string[],
  signal: AbortSignal,
  onLine?: (line: string) => void,
): Promise<void> {
  log().info(`run: ${command.join(' ')}`);
  const ended = await run(command, {
    signal,
    onLine: (line) => {
      log().info(line);
      onLine?.(line);
    },
  });
  if (ended.status !== 0) {
    const last = ended.output.trim().split(/\r?\n/).at(-1) ?? '';
    throw new Error(l10n.t('Setting up dgemma failed: {0}', last));
  }
}
