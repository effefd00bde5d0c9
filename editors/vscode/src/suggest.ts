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
  type Memento,
  type Position,
  type ProviderResult,
  Range,
  type TextDocument,
  type TextDocumentChangeEvent,
  window,
  workspace,
} from 'vscode';
import type { Cells } from './cells';
import { quiet } from './config';
import { type Silence, silence } from './gate';
import { withBreaks } from './hunks';
import { type Offer, Offers, type Outcome } from './offers';
import { Pace, type Shown, typesInto } from './pace';
import { eolOf } from './pieces';
import { DID_PARTIALLY_ACCEPT, DID_REJECT, DID_SHOW, type ExtendedParams } from './protocol';

type Items = InlineCompletionItem[] | InlineCompletionList | null | undefined;
type Next = (
  document: TextDocument,
  position: Position,
  context: InlineCompletionContext,
  token: CancellationToken,
) => ProviderResult<Items>;

const SNOOZE = 'dgemma.snoozedUntil';
/** How long an answer must be looked at to count as shown. */
const SHOWN_MS = 50;

/** Tells the server, which need not run. */
export type Tell = (method: string, params: unknown) => void;

/** What the status shows of the requests. */
export interface Activity {
  readonly busy: number;
  readonly silence: Silence | undefined;
}

export class Suggest {
  private readonly pace = new Pace();
  private readonly offers = new Offers();
  private readonly changed = new EventEmitter<Activity>();
  private readonly listening: Disposable;
  private shown: Shown | undefined;
  private extending = false;
  private busy = 0;
  private why: Silence | undefined;
  readonly onDidChange = this.changed.event;
  /** Called with every suggestion that was taken whole, and the offset where it begins. */
  onAccepted: (document: TextDocument, offer: Offer, start: number) => void = () => undefined;

  /**
   * @param tell Tells the server what became of suggestions.
   * @param memory Outlives a reload of the window; holds the end of a snooze.
   */
  constructor(
    private readonly tell: Tell,
    private readonly memory: Memento,
  ) {
    this.listening = workspace.onDidChangeTextDocument((event) => this.typed(event));
  }

  /** Milliseconds since the epoch until which nothing is offered; 0 for never. */
  get snoozedUntil(): number {
    return this.memory.get<number>(SNOOZE, 0);
  }

  async snooze(until: number): Promise<void> {
    await this.memory.update(SNOOZE, until);
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
    const began = performance.now();
    const items = explicit(
      await this.counted(() => next(document, position, { ...context, triggerKind: kind }, token)),
      position,
    );
    if (!token.isCancellationRequested && items.length > 0) {
      this.pace.answered(performance.now() - began);
    }
    const text = items[0]?.insertText;
    if (typeof text === 'string') {
      this.shown = { uri, line: position.line, before, text };
    }
    this.offered(document, position, items, token);
    return items;
  };

  /** The command behind Escape: hide the suggestion, and tell that it was not wanted. */
  async dismiss(): Promise<void> {
    const offer = this.offers.drop();
    await commands.executeCommand('editor.action.inlineSuggest.hide');
    if (offer !== undefined) {
      this.rejected(offer, 'dismissed');
    }
  }

  /** Remember what is about to be seen, and tell when it was. */
  private offered(
    document: TextDocument,
    position: Position,
    items: readonly InlineCompletionItem[],
    token: CancellationToken,
  ): void {
    if (token.isCancellationRequested) {
      return;
    }
    const eol = eolOf(document);
    const offers = items.flatMap((item): Offer[] =>
      typeof item.insertText === 'string'
        ? [{ id: idOf(item), text: withBreaks(item.insertText, eol) }]
        : [],
    );
    this.offers.show(document.uri.toString(), document.offsetAt(position), offers);
    const [first] = offers;
    const version = document.version;
    setTimeout(() => {
      const here = window.activeTextEditor;
      const seen = here?.document === document && here.selection.active.isEqual(position);
      if (first?.id !== undefined && seen && document.version === version) {
        this.tell(DID_SHOW, { id: first.id });
      }
    }, SHOWN_MS);
  }

  private became(document: TextDocument, outcome: Outcome): void {
    const { offer } = outcome;
    switch (outcome.kind) {
      case 'accepted':
        this.pace.outcome(1);
        this.onAccepted(document, offer, outcome.start);
        break;
      case 'partly':
        this.pace.outcome(1);
        if (offer.id !== undefined) {
          this.tell(DID_PARTIALLY_ACCEPT, { id: offer.id, length: outcome.characters });
        }
        break;
      case 'typed':
        this.rejected(offer, 'typed');
    }
  }

  private rejected(offer: Offer, why: 'dismissed' | 'typed'): void {
    this.pace.outcome(0);
    if (offer.id !== undefined) {
      this.tell(DID_REJECT, { id: offer.id, why });
    }
  }

  /** Show a suggestion of which only the beginning was known before, when it is still looked at. */
  async extended(params: ExtendedParams, cells: Cells): Promise<void> {
    const editor = window.activeTextEditor;
    if (editor?.document.uri.toString() !== params.textDocument.uri) {
      return;
    }
    const { line, character } = cells.fromServer(editor.document, params.position);
    const here = editor.selection.active;
    if (here.line === line && here.character === character) {
      // What is seen already would be kept otherwise: it is still a fitting beginning.
      await commands.executeCommand('editor.action.inlineSuggest.hide');
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
    const outcome = this.offers.changed(event.document.uri.toString(), event.contentChanges);
    if (outcome !== undefined) {
      this.became(event.document, outcome);
    }
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

/** The offer's number: the argument of the command that tells of its acceptance. */
function idOf(item: InlineCompletionItem): number | undefined {
  const given: unknown = item.command?.arguments?.[0];
  const id = typeof given === 'object' && given !== null && 'id' in given ? given.id : given;
  return typeof id === 'number' ? id : undefined;
}

/**
 * Without a range VS Code replaces to the end of the line. The server's texts are insertions, but
 * it may count lines from another place, as in notebooks.
 */
function explicit(answer: Items, position: Position): InlineCompletionItem[] {
  const items = Array.isArray(answer) ? answer : (answer?.items ?? []);
  for (const item of items) {
    item.range = new Range(position, position);
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
