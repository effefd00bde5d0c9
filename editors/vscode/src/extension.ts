// Where everything is put together: what is started, and which command does what.

import { commands, type ExtensionContext, window, workspace } from 'vscode';
import * as simple from './commands';
import { SECTION } from './config';
import { Reviews } from './diff';
import { doctor, registerReports } from './doctor';
import { log, textOf } from './log';
import { mendRegion } from './mend';
import { rewriteSelection } from './rewrite';
import { isServed, Server } from './server';
import { offerOnce, setUp } from './setup';
import { StatusItems } from './status';
import { Suggest } from './suggest';

const WALKTHROUGH = 'dgemma.dgemma#start';

export function activate(context: ExtensionContext): void {
  const suggest = new Suggest();
  const server = new Server(context, suggest.provide, (params) => void suggest.extended(params));
  const reviews = new Reviews();
  const status = new StatusItems(server, suggest);

  const start = async () => {
    await server.start();
    if (server.running === 'missing') {
      void offerOnce(context); // whoever asked for the server does not wait for the answer
    }
  };
  /** Start with the first document that is served; a window without one has no server. */
  const startWhenNeeded = () => {
    if (server.running === 'idle' && workspace.textDocuments.some(isServed)) {
      start().catch((error) => log().error(textOf(error)));
    }
  };
  /** Commands that need the server start it. */
  const withServer = (work: () => Promise<void>) => async () => {
    await start();
    if (server.running === 'running') {
      await work();
    } else if (server.problem !== undefined) {
      void window.showErrorMessage(`dgemma: ${server.problem}`);
    }
  };
  const register = (name: string, work: (...rest: never[]) => unknown) =>
    commands.registerCommand(`dgemma.${name}`, work);

  context.subscriptions.push(
    log(),
    suggest,
    server,
    reviews,
    status,
    registerReports(),
    register('toggle', simple.toggle),
    register('setMode', simple.pickMode),
    register('toggleLanguage', simple.toggleLanguage),
    register('snooze', async () => {
      await simple.snooze(suggest);
      status.draw();
    }),
    register('trigger', withServer(simple.trigger)),
    register(
      'rewrite',
      withServer(() => rewriteSelection(server, reviews, context.globalState)),
    ),
    register(
      'mend',
      withServer(() => mendRegion(server, reviews)),
    ),
    register('showStatus', () => status.show()),
    register(
      'freeMemory',
      withServer(() => simple.freeMemory(server)),
    ),
    register('restart', () => server.restart()),
    register('doctor', async () => {
      await start();
      await doctor(server);
    }),
    register('showLog', () => log().show()),
    register('setUp', async () => {
      await server.stop(); // its environment is about to be replaced
      await setUp(context);
      await server.start();
    }),
    register('openWalkthrough', () =>
      commands.executeCommand('workbench.action.openWalkthrough', WALKTHROUGH, false),
    ),
    register('review.accept', (index?: number) => reviews.decide('accepted', index)),
    register('review.reject', (index?: number) => reviews.decide('rejected', index)),
    register('review.acceptAll', () => reviews.acceptRest()),
    register('review.rejectAll', () => reviews.close()),
    register('review.reopen', (index: number) => reviews.reopen(index)),
    register('review.sideBySide', () => reviews.sideBySide()),
    workspace.onDidOpenTextDocument(startWhenNeeded),
    workspace.onDidGrantWorkspaceTrust(() => void server.restart()),
    workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration(`${SECTION}.server.command`)) {
        void server.restart();
      }
      if (event.affectsConfiguration(SECTION)) {
        status.draw();
      }
    }),
  );
  startWhenNeeded();
}
