// What the model was unsure of in text that was taken from it: underlined until it is edited or
// put away. The levels differ in their lines and not in colour alone.

import {
  commands,
  Disposable,
  l10n,
  MarkdownString,
  Selection,
  type TextDocument,
  TextEditorRevealType,
  ThemeColor,
  window,
  workspace,
} from 'vscode';
import { nothing } from './asking';
import { weakness } from './config';
import { follow, followLoosely } from './follow';
import { withBreaks } from './hunks';
import { LEVELS, type Level, type Weak, weakTokens } from './levels';
import { log, textOf } from './log';
import { rangeOf, textAt } from './pieces';
import { CONFIDENCE, type ConfidenceResult, type TokenResult } from './protocol';
import type { Server } from './server';

const CONTEXT = 'dgemma.confidence';
const LINES: Record<Level, string> = { 1: 'dotted', 2: 'dashed', 3: 'double' };

/** A text that was taken, and what is known of its tokens. */
export interface Taken {
  readonly start: number;
  readonly text: string;
  readonly tokens: readonly TokenResult[];
}

export class Confidence {
  private document: TextDocument | undefined;
  private weak: readonly Weak[] = [];
  /** What was taken last, for whoever asks for it by hand. */
  private last:
    | {
        readonly document: TextDocument;
        /** The version that the text came with; its own change does not move it. */
        readonly version: number;
        readonly taken: Taken;
        readonly offer?: number;
      }
    | undefined;
  private readonly types = new Map(
    LEVELS.map((level) => [
      level,
      window.createTextEditorDecorationType({
        borderWidth: level === 3 ? '0 0 3px 0' : '0 0 2px 0',
        borderStyle: LINES[level],
        borderColor: new ThemeColor(`dgemma.weak${level}`),
        overviewRulerColor: new ThemeColor(`dgemma.weak${level}`),
      }),
    ]),
  );
  private readonly all: Disposable;

  constructor(private readonly server: Server) {
    this.all = Disposable.from(
      ...this.types.values(),
      workspace.onDidChangeTextDocument((event) => {
        if (event.document === this.document && event.contentChanges.length > 0) {
          this.weak = this.weak.flatMap((one) => follow(one, event.contentChanges) ?? []);
          this.draw();
        }
        const { last } = this;
        if (
          last !== undefined &&
          event.document === last.document &&
          event.document.version > last.version
        ) {
          const { taken } = last;
          const place = { start: taken.start, end: taken.start + taken.text.length };
          const moved = followLoosely(place, event.contentChanges);
          this.last =
            moved === undefined ? undefined : { ...last, taken: { ...taken, start: moved.start } };
        }
      }),
      workspace.onDidCloseTextDocument((document) => {
        if (document === this.document) {
          this.clear();
        }
      }),
      window.onDidChangeVisibleTextEditors(() => this.draw()),
    );
  }

  dispose(): void {
    this.clear();
    this.all.dispose();
  }

  /** Take in a text that was accepted; it is shown at once when that is set. */
  async accepted(document: TextDocument, taken: Taken, offer?: number): Promise<void> {
    this.last = {
      document,
      version: document.version,
      taken,
      ...(offer === undefined ? {} : { offer }),
    };
    if (weakness(document.uri).afterAccept) {
      await this.show(false);
    }
  }

  /** The command: underline the weak tokens of what was taken last. */
  async show(asked = true): Promise<void> {
    const { last } = this;
    if (last === undefined) {
      nothing({ message: l10n.t('Nothing was taken of late, or it has been edited since.') });
      return;
    }
    const tokens =
      last.offer === undefined
        ? last.taken.tokens
        : await this.tokensOf(last.offer, last.taken.text);
    const now = this.last ?? last; // it may have moved while the server was asked
    if (now.document !== last.document || now.taken.text !== last.taken.text) {
      return;
    }
    const { start, text } = now.taken;
    if (textAt(now.document, { start, end: start + text.length }) !== text) {
      return;
    }
    this.clear();
    this.document = now.document;
    this.weak = weakTokens(text, tokens, weakness(now.document.uri).below).map((one) => ({
      ...one,
      start: one.start + start,
      end: one.end + start,
    }));
    this.draw();
    if (asked && this.weak.length === 0) {
      nothing({
        message:
          tokens.length === 0
            ? l10n.t('Nothing is known of how sure the model was.')
            : l10n.t('The model was sure of every token.'),
      });
    }
  }

  /** Select the weakest token; again and again the next weakest. */
  async jump(): Promise<void> {
    if (this.weak.length === 0) {
      await this.show();
    }
    const { document } = this;
    const editor = window.visibleTextEditors.find((each) => each.document === document);
    if (document === undefined || editor === undefined || this.weak.length === 0) {
      return;
    }
    const ordered = [...this.weak].sort((one, other) => one.probability - other.probability);
    const at = ordered.findIndex((one) => rangeOf(document, one).isEqual(editor.selection));
    const next = ordered[(at + 1) % ordered.length];
    if (next !== undefined) {
      const range = rangeOf(document, next);
      editor.selection = new Selection(range.start, range.end);
      editor.revealRange(range, TextEditorRevealType.InCenterIfOutsideViewport);
      window.setStatusBarMessage(`dgemma: ${sureness(next)}`, 4000);
    }
  }

  clear(): void {
    this.weak = [];
    this.draw();
    this.document = undefined;
  }

  private async tokensOf(id: number, text: string): Promise<readonly TokenResult[]> {
    try {
      const found = await this.server.ask<ConfidenceResult>(CONFIDENCE, { id });
      return withBreaks(found.text, '\n') === withBreaks(text, '\n') ? found.tokens : [];
    } catch (error) {
      log().info(`no confidence: ${textOf(error)}`);
      return [];
    }
  }

  private draw(): void {
    void commands.executeCommand('setContext', CONTEXT, this.weak.length > 0);
    for (const editor of window.visibleTextEditors) {
      const { document } = editor;
      const here = document === this.document ? this.weak : [];
      for (const [level, type] of this.types) {
        const options = here
          .filter((one) => one.level === level)
          .map((one) => ({
            range: rangeOf(document, one),
            hoverMessage: new MarkdownString(`dgemma: ${sureness(one)}`),
          }));
        editor.setDecorations(type, options);
      }
    }
  }
}

function sureness(weak: Weak): string {
  return l10n.t('the model was sure to {0} %', Math.round(weak.probability * 100));
}
