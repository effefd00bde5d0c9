// Ghost text: what stands between VS Code's asking after every key and the server.

import {
  type CancellationToken,
  commands,
  type Disposable,
  EventEmitter,
  type InlineCompletionContext,
  type InlineCompletionItem,
  type InlineCompletionList,
  InlineCompletionTriggerKind,
  type Position,
  type ProviderResult,
  Range,
  type TextDocument,
  type TextDocumentChangeEvent,
  window,
  workspace,
} from 'vscode';
import { quiet } from './config';
import { type Silence, silence } from './gate';
import { Pace, type Shown, typesInto } from './pace';
import type { ExtendedParams } from './protocol';

type Items = InlineCompletionItem[] | InlineCompletionList | null | undefined;
type Next = (
  document: TextDocument,
  position: Position,
  context: InlineCompletionContext,
  token: CancellationToken,
) => ProviderResult<Items>;

/** What the status shows of the requests. */
export interface Activity {
  readonly busy: number;
  readonly silence: Silence | undefined;
}

export class Suggest {
  private readonly pace = new Pace();
  private readonly changed = new EventEmitter<Activity>();
  private readonly listening: Disposable;
  private shown: Shown | undefined;
  private extending = false;
  private busy = 0;
  private why: Silence | undefined;
  readonly onDidChange = this.changed.event;
  /** Milliseconds since the epoch until which nothing is offered; 0 for never. */
  snoozedUntil = 0;

  constructor() {
    this.listening = workspace.onDidChangeTextDocument((event) => this.typed(event));
  }

  dispose(): void {
    this.listening.dispose();
    this.changed.dispose();
  }

  get activity(): Activity {
    return { busy: this.busy, silence: this.why };
  }

  /** The middleware of the language client. */
  readonly provide = async (
    document: TextDocument,
    position: Position,
    context: InlineCompletionContext,
    token: CancellationToken,
    next: Next,
  ): Promise<Items> => {
    const settings = quiet(document.uri);
    const extending = this.extending;
    this.extending = false;
    const invoked = context.triggerKind === InlineCompletionTriggerKind.Invoke && !extending;
    const editor = window.activeTextEditor;
    this.why = silence({
      ...settings,
      snoozedUntil: this.snoozedUntil,
      now: Date.now(),
      language: document.languageId,
      path: document.uri.path,
      invoked,
      cursors: editor?.document === document ? editor.selections.length : 1,
    });
    if (this.why !== undefined) {
      this.changed.fire(this.activity);
      return [];
    }
    const before = document.lineAt(position.line).text.slice(0, position.character);
    const uri = document.uri.toString();
    if (!invoked && !typesInto(this.shown, uri, position.line, before)) {
      await sleep(this.pace.wait(settings.debounceMs), token);
    }
    if (token.isCancellationRequested) {
      return [];
    }
    const kind = invoked ? context.triggerKind : InlineCompletionTriggerKind.Automatic;
    const items = explicit(
      await this.counted(() => next(document, position, { ...context, triggerKind: kind }, token)),
      position,
    );
    const text = items[0]?.insertText;
    if (typeof text === 'string') {
      this.shown = { uri, line: position.line, before, text };
    }
    return items;
  };

  /** Show a suggestion of which only the beginning was known before, when it is still looked at. */
  async extended(params: ExtendedParams): Promise<void> {
    const editor = window.activeTextEditor;
    const { line, character } = params.position;
    const here = editor?.selection.active;
    if (
      editor?.document.uri.toString() === params.textDocument.uri &&
      here?.line === line &&
      here.character === character
    ) {
      this.extending = true;
      await commands.executeCommand('editor.action.inlineSuggest.trigger');
      this.extending = false;
    }
  }

  private async counted<Result>(work: () => ProviderResult<Result>) {
    this.busy++;
    this.changed.fire(this.activity);
    try {
      return await work();
    } finally {
      this.busy--;
      this.changed.fire(this.activity);
    }
  }

  private typed(event: TextDocumentChangeEvent): void {
    const [change] = event.contentChanges;
    if (
      event.document === window.activeTextEditor?.document &&
      event.contentChanges.length === 1 &&
      change?.rangeLength === 0 &&
      change.text.length <= 2 // brackets come in pairs
    ) {
      this.pace.key(performance.now());
    }
  }
}

/** Without a range VS Code replaces to the end of the line; the server's texts are insertions. */
function explicit(answer: Items, position: Position): InlineCompletionItem[] {
  const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
  for (const item of items) {
    item.range ??= new Range(position, position);
  }
  return items;
}

function sleep(milliseconds: number, token: CancellationToken): Promise<void> {
  if (milliseconds <= 0) {
    return Promise.resolve();
  }
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      cancelled.dispose();
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    const cancelled = token.onCancellationRequested(done);
  });
}
