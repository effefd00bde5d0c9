// "Rewrite Selection": what is asked for, how it is asked again, and what is shown of it.

import {
  l10n,
  type Memento,
  type QuickPickItem,
  type Range,
  type TextDocument,
  type TextEditor,
  window,
} from 'vscode';
import { asking, nothing } from './asking';
import { piecesFrom, toRange } from './edits';
import { type Ask, chooseInstruction } from './instruct';
import { log, textOf } from './log';
import { bolder, closer } from './noise';
import type { Piece } from './pieces';
import { piecesOf, wholeLines } from './pieces';
import type { Pins } from './pins';
import { EVERY_MS, type Previews } from './preview';
import type { Resolver } from './proposal';
import { type EditResult, RESOLVE, REWRITE, type ResolveResult } from './protocol';
import type { Reviews } from './review';
import type { Server } from './server';

/** How long the server may take to note a decision; what is seen is put in after that anyway. */
const TELL_MS = 2000;

/** Everything that rewrites need. */
export interface Parts {
  readonly server: Server;
  readonly reviews: Reviews;
  readonly previews: Previews;
  readonly pins: Pins;
  readonly memory: Memento;
  readonly onAccepted: (document: TextDocument, pieces: readonly Piece[]) => void;
}

/** One rewrite as it was asked for; the lines are found again by where the proposal stands. */
interface Asked {
  readonly document: TextDocument;
  readonly range: Range;
  readonly instruction: string;
  readonly noise: number;
  readonly seed: number;
}

/** The command. */
export async function rewriteSelection(parts: Parts): Promise<void> {
  const editor = window.activeTextEditor;
  if (editor === undefined) {
    return;
  }
  const range = editor.selection;
  const instruction = await chooseInstruction(instructing(parts, editor));
  if (instruction !== undefined) {
    const { document } = editor;
    await ask(parts, { document, range, instruction, noise: 1, seed: 0 });
  }
}

function instructing(parts: Parts, editor: TextEditor): Ask {
  return { server: parts.server, memory: parts.memory, editor };
}

async function ask(parts: Parts, asked: Asked): Promise<void> {
  const { server, reviews, previews, pins } = parts;
  const { document, instruction, noise, seed } = asked;
  const version = document.version;
  const lines = wholeLines(document, asked.range);
  const pinned = pins.within(document, lines);
  reviews.close();
  const result = await asking(l10n.t('dgemma: {0}', instruction), (token) =>
    previews.during({ document, ranges: [lines], where: 'beside' }, (previewToken) => {
      const params = {
        textDocument: { uri: server.uriOf(document), version },
        range: toRange(asked.range),
        instruction,
        ...(pinned.length > 0 ? { pinned: pinned.map(toRange) } : {}),
        ...(noise < 1 ? { noise } : {}),
        ...(seed > 0 ? { seed } : {}),
        previewToken,
        previewEveryMs: EVERY_MS,
      };
      return server.askAbout<EditResult>(document, REWRITE, params, token);
    }),
  );
  const pieces =
    result === undefined ? undefined : await piecesFrom(server, document, version, result);
  if (result === undefined || pieces === undefined) {
    return;
  }
  reviews.open({
    document,
    version: document.version,
    pieces,
    range: lines,
    resolver: new Rewriting(parts, asked, result.proposal ?? undefined),
    onAccepted: (put) => parts.onAccepted(document, put),
  });
}

/** One proposal of the server. */
class Rewriting implements Resolver {
  private seed: number;

  constructor(
    private readonly parts: Parts,
    private readonly asked: Asked,
    private readonly proposal: number | undefined,
  ) {
    this.seed = asked.seed;
  }

  async decided(action: 'accept' | 'reject', ids: readonly number[]): Promise<void> {
    if (this.proposal === undefined) {
      return;
    }
    const params = { proposal: this.proposal, action, hunks: ids };
    const told = this.parts.server.askAbout<ResolveResult>(this.asked.document, RESOLVE, params);
    const late = new Promise<void>((resolve) => setTimeout(resolve, TELL_MS));
    try {
      await Promise.race([told, late]);
    } catch (error) {
      log().info(`the server did not take a decision: ${textOf(error)}`);
    }
  }

  async redo(piece: Piece, range: Range): Promise<readonly Piece[] | undefined> {
    const { server, previews } = this.parts;
    const { document } = this.asked;
    const result = await asking(l10n.t('dgemma: redoing one change'), (token) =>
      previews.during({ document, ranges: [range], where: 'beside' }, (previewToken) => {
        const params = {
          proposal: this.proposal,
          action: 'redo',
          hunks: [piece.id],
          seed: ++this.seed,
          previewToken,
          previewEveryMs: EVERY_MS,
        };
        return server.askAbout<ResolveResult>(document, RESOLVE, params, token);
      }),
    );
    if (result === undefined) {
      return undefined;
    }
    if (result.reason || result.message) {
      nothing(result);
    }
    return result.hunks.length > 0 ? piecesOf(document, result.hunks) : undefined;
  }

  async again(): Promise<void> {
    type Entry = QuickPickItem & { readonly noise?: number | undefined };
    const { noise } = this.asked;
    const [more, less] = [bolder(noise), closer(noise)];
    const entries: Entry[] = [
      { label: l10n.t('Another try'), noise },
      ...(more === undefined ? [] : [entry(l10n.t('Bolder'), more)]),
      ...(less === undefined ? [] : [entry(l10n.t('Closer to the old text'), less)]),
      { label: l10n.t('Another instruction…') },
    ];
    const picked = await window.showQuickPick(entries, {
      title: l10n.t('dgemma: {0}', this.asked.instruction),
    });
    if (picked === undefined) {
      return;
    }
    const editor = window.visibleTextEditors.find((each) => each.document === this.asked.document);
    const instruction =
      picked.noise !== undefined
        ? this.asked.instruction
        : editor && (await chooseInstruction(instructing(this.parts, editor)));
    if (instruction !== undefined) {
      await ask(this.parts, {
        ...this.asked,
        range: this.parts.reviews.region ?? this.asked.range,
        instruction,
        noise: picked.noise ?? noise,
        seed: this.seed + 1,
      });
    }
  }
}

function entry(label: string, noise: number) {
  return { label, noise, description: l10n.t('{0} % is made anew', Math.round(noise * 100)) };
}
