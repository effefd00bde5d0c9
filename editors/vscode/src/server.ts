// The language server: found, started, stopped, and asked. One for all folders of a window.

import { existsSync } from 'node:fs';
import { EventEmitter, type ExtensionContext, type TextDocument, workspace } from 'vscode';
import {
  type CancellationToken,
  LanguageClient,
  type LanguageClientOptions,
  type Middleware,
  RevealOutputChannelOn,
  State,
  type TextDocumentFilter,
  type WorkDoneProgressBegin,
  type WorkDoneProgressEnd,
  type WorkDoneProgressReport,
} from 'vscode-languageclient/node';
import { CELL_SCHEME, Cells, isCell } from './cells';
import { forServer, serverCommand } from './config';
import { type Found, find } from './find';
import { log, textOf } from './log';
import { EXTENDED, type ExtendedParams, PREVIEW, type PreviewParams } from './protocol';
import { selected } from './python';
import { isSetUp, ownEnvironment } from './setup';

/** What is shown text in; settings and output channels are not. */
export const DOCUMENTS: TextDocumentFilter[] = [
  { scheme: 'file' },
  { scheme: 'untitled' },
  { scheme: CELL_SCHEME },
];

/** What the names of progress begin with when a model is fetched. */
const FETCHING = 'dgemma-pull-';
export type Fetching = WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd;

/** Whether the server is told of a document. */
export function isServed(document: TextDocument): boolean {
  return DOCUMENTS.some((each) => 'scheme' in each && each.scheme === document.uri.scheme);
}

/**
 * `missing`: none was found. `failed`: one was, and did not start or did not stay. `untrusted`:
 * none is looked for, since the workspace is not trusted.
 */
export type Running = 'idle' | 'untrusted' | 'missing' | 'starting' | 'running' | 'failed';

export class Server {
  private client: LanguageClient | undefined;
  private found: Found | undefined;
  private work: Promise<void> = Promise.resolve();
  private readonly changed = new EventEmitter<Running>();
  readonly onDidChange = this.changed.event;
  /** Notebook cells as the server has them. */
  readonly cells = new Cells(
    async (method, params) => await this.client?.sendNotification(method, params),
    (document) => this.uriOf(document),
  );
  /** Takes the progress of a model that is fetched, which the client would show out of sight. */
  onFetching: ((params: Fetching) => void) | undefined;
  running: Running = 'idle';
  /** Why it failed. */
  problem: string | undefined;

  constructor(
    private readonly context: ExtensionContext,
    private readonly provideInlineCompletionItems: NonNullable<
      Middleware['provideInlineCompletionItems']
    >,
    private readonly onExtended: (params: ExtendedParams) => void,
    private readonly onPreview: (params: PreviewParams) => void,
  ) {}

  /** The command that runs or ran last. */
  get command(): readonly string[] | undefined {
    return this.found?.command;
  }

  /** Start it when it does not run; whoever comes meanwhile waits for the same start. */
  start(): Promise<void> {
    return this.next(async () => {
      if (this.running !== 'running') {
        await this.begin();
      }
    });
  }

  restart(): Promise<void> {
    return this.next(async () => {
      await this.end();
      await this.begin();
    });
  }

  stop(): Promise<void> {
    return this.next(() => this.end());
  }

  /**
   * Ask the server, which must run.
   *
   * @throws What the server answered, or that there is none.
   */
  async ask<Result>(method: string, params: unknown, token?: CancellationToken): Promise<Result> {
    if (this.client === undefined || this.running !== 'running') {
      throw new Error(this.problem ?? 'The dgemma language server does not run.');
    }
    return token === undefined
      ? await this.client.sendRequest<Result>(method, params)
      : await this.client.sendRequest<Result>(method, params, token);
  }

  /**
   * Ask about places in a document, which are moved where the server has it in another way.
   *
   * @throws As `ask` does.
   */
  async askAbout<Result>(
    document: TextDocument,
    method: string,
    params: unknown,
    token?: CancellationToken,
  ): Promise<Result> {
    await this.cells.refresh(document);
    const moved = this.cells.toServer(document, params);
    return this.cells.fromServer(document, await this.ask<Result>(method, moved, token));
  }

  /** Tell the server something; lost when it does not run. */
  tell(method: string, params: unknown): void {
    if (this.client !== undefined && this.running === 'running') {
      this.client
        .sendNotification(method, params)
        .catch((error: unknown) => log().debug(`${method}: ${textOf(error)}`));
    }
  }

  /** The document's URI as the server has it. */
  uriOf(document: TextDocument): string {
    return this.client?.code2ProtocolConverter.asUri(document.uri) ?? document.uri.toString();
  }

  /** The converter of the server's edits; only while it runs. */
  get converter() {
    return this.client?.protocol2CodeConverter;
  }

  dispose(): void {
    void this.stop();
    this.changed.dispose();
  }

  private next(task: () => Promise<void>): Promise<void> {
    this.work = this.work.then(task, task);
    return this.work;
  }

  private become(running: Running, problem?: string): void {
    this.running = running;
    this.problem = problem;
    this.changed.fire(running);
  }

  private async begin(): Promise<void> {
    await this.end(); // one that failed leaves a client behind
    if (!workspace.isTrusted) {
      this.become('untrusted');
      return;
    }
    this.found = await this.look();
    const [program, ...rest] = this.found?.command ?? [];
    if (program === undefined) {
      this.become('missing');
      return;
    }
    log().info(`server (${this.found?.origin}): ${[program, ...rest].join(' ')}`);
    this.become('starting');
    const folder = workspace.workspaceFolders?.[0]?.uri.fsPath;
    const client = new LanguageClient(
      'dgemma',
      'dgemma',
      {
        command: program,
        args: rest,
        ...(folder === undefined ? {} : { options: { cwd: folder } }),
      },
      this.options(),
    );
    this.client = client;
    client.onDidChangeState((event) => {
      if (this.client !== client) {
        return;
      }
      if (event.newState === State.Running) {
        this.become('running');
      } else if (event.newState === State.Stopped && this.running === 'running') {
        this.become('failed', 'The dgemma language server ended.');
      }
    });
    client.onNotification(EXTENDED, this.onExtended);
    client.onNotification(PREVIEW, this.onPreview);
    try {
      await client.start();
    } catch (error) {
      log().error(`the server did not start: ${textOf(error)}`);
      this.become('failed', textOf(error));
    }
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    if (client === undefined) {
      return;
    }
    this.become('idle');
    try {
      await client.dispose();
    } catch (error) {
      log().info(`the server ended badly: ${textOf(error)}`); // one that never started, mostly
    }
  }

  private async look(): Promise<Found | undefined> {
    return find(
      {
        setting: serverCommand(),
        interpreters: await selected(),
        folders: (workspace.workspaceFolders ?? []).map((folder) => folder.uri.fsPath),
        path: process.env.PATH ?? '',
        own: isSetUp(this.context) ? ownEnvironment(this.context) : '',
        platform: process.platform,
      },
      existsSync,
    );
  }

  private options(): LanguageClientOptions {
    return {
      documentSelector: DOCUMENTS,
      outputChannel: log(),
      revealOutputChannelOn: RevealOutputChannelOn.Never,
      progressOnInitialization: false,
      initializationFailedHandler: () => false,
      middleware: {
        didOpen: async (document, next) => {
          await next(document);
          await this.cells.refresh(document);
        },
        didChange: async (event, next) => {
          await (isCell(event.document) ? this.cells.changed(event.document) : next(event));
        },
        didClose: async (document, next) => {
          this.cells.forget(document);
          await next(document);
        },
        handleWorkDoneProgress: (token, params, next) => {
          if (this.onFetching !== undefined && String(token).startsWith(FETCHING)) {
            this.onFetching(params);
          } else {
            next(token, params);
          }
        },
        provideInlineCompletionItems: async (document, position, context, token, next) => {
          await this.cells.refresh(document);
          const lines = this.cells.linesBefore(document);
          return await this.provideInlineCompletionItems(
            document,
            position,
            context,
            token,
            (same, here, ...rest) => next(same, here.translate(lines), ...rest),
          );
        },
        workspace: {
          configuration: async (params, token, next) => {
            const answers = await next(params, token);
            return Array.isArray(answers) ? answers.map(forServer) : answers;
          },
        },
      },
    };
  }
}
