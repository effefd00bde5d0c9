// Where everything is put together: what is started, and which command does what.

import { commands, type ExtensionContext, type TextDocument, window, workspace } from 'vscode';
import * as simple from './commands';
import { Confidence } from './confidence';
import { SECTION } from './config';
import { doctor, registerReports } from './doctor';
import { Holes } from './holes';
import { log, textOf } from './log';
import { mendRegion } from './mend';
import { chooseModel } from './models';
import type { Piece } from './pieces';
import { Pins } from './pins';
import { Previews } from './preview';
import { Reviews } from './review';
import { rewriteSelection } from './rewrite';
import { isServed, Server } from './server';
import { offerOnce, setUp } from './setup';
import { showStatistics } from './statistics';
import { StatusItems } from './status';
import { Suggest } from './suggest';

const WALKTHROUGH = 'dgemma.dgemma#start';

export function activate(context: ExtensionContext): void {
  const suggest: Suggest = new Suggest(
    (method, params) => server.tell(method, params),
    context.workspaceState,
  );
  const server: Server = new Server(
    context,
    suggest.provide,
    (params) => void suggest.extended(params, server.cells),
    (params) => previews.take(params),
  );
  const previews: Previews = new Previews((document, value) =>
    server.cells.fromServer(document, value),
  );
  const reviews = new Reviews();
  const pins = new Pins(context);
  const confidence = new Confidence(server);
  const taken = (document: TextDocument, pieces: readonly Piece[]) => {
    const last = pieces.at(-1);
    if (last !== undefined) {
      const { start, newText: text, tokens } = last;
      void confidence.accepted(document, { start, text, tokens });
    }
  };
  suggest.onAccepted = (document, { id, text }, start) =>
    void confidence.accepted(document, { start, text, tokens: [] }, id);
  const holes = new Holes(server, previews, taken);
  const status = new StatusItems(server, suggest);

  const start = async () => {
    await server.start();
    if (server.running === 'missing') {
      void offerOnce(context); // whoever asked for the server does not wait for the answer
    }
  };
  /** Start with the first document that is served; a window without one has no server. */
  const startWhenNeeded = () => {
    if (['idle', 'untrusted'].includes(server.running) && workspace.textDocuments.some(isServed)) {
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
    previews,
    reviews,
    pins,
    confidence,
    holes,
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
      withServer(() =>
        rewriteSelection({
          server,
          reviews,
          previews,
          pins,
          memory: context.globalState,
          onAccepted: taken,
        }),
      ),
    ),
    register('togglePin', () => {
      if (window.activeTextEditor !== undefined) {
        pins.toggle(window.activeTextEditor);
      }
    }),
    register('unpinAll', () => {
      if (window.activeTextEditor !== undefined) {
        pins.clear(window.activeTextEditor.document);
      }
    }),
    register(
      'fillHoles',
      withServer(() => holes.fill()),
    ),
    register('holes.accept', (id?: number) => holes.accept(id)),
    register('holes.skip', (id?: number) => holes.skip(id)),
    register('holes.acceptAll', () => holes.acceptAll()),
    register('holes.close', () => holes.close()),
    register('holes.next', () => holes.go(1)),
    register('holes.previous', () => holes.go(-1)),
    register('confidence.show', () => confidence.show()),
    register('confidence.jump', () => confidence.jump()),
    register('confidence.clear', () => confidence.clear()),
    register('dismiss', () => suggest.dismiss()),
    register(
      'chooseModel',
      withServer(() => chooseModel(server)),
    ),
    register(
      'statistics',
      withServer(() => showStatistics(server)),
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
    register('review.accept', (index?: number) => reviews.accept(index)),
    register('review.reject', (index?: number) => reviews.reject(index)),
    register('review.redo', (index?: number) => reviews.redo(index)),
    register('review.again', () => reviews.again()),
    register('review.next', () => reviews.go(1)),
    register('review.previous', () => reviews.go(-1)),
    register('review.acceptAll', () => reviews.acceptAll()),
    register('review.rejectAll', () => reviews.rejectAll()),
    register('review.reopen', (index: number) => reviews.reopen(index)),
    register('review.sideBySide', () => reviews.sideBySide()),
    workspace.onDidOpenTextDocument(startWhenNeeded),
    workspace.onDidGrantWorkspaceTrust(startWhenNeeded),
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
