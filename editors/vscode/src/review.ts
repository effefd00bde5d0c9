// A proposed change, piece by piece: which one is open, what becomes of it, where it is now. An
// accepted piece is put in at once, as one step of undo, and an undo opens it again.

import {
  commands,
  Disposable,
  EventEmitter,
  l10n,
  languages,
  Range,
  Selection,
  type TextDocumentChangeEvent,
  TextDocumentChangeReason,
  type TextEditor,
  TextEditorRevealType,
  WorkspaceEdit,
  window,
  workspace,
} from 'vscode';
import { Drawing } from './draw';
import { type Place, stretched } from './follow';
import { lensesOf } from './lenses';
import { log } from './log';
import { followed, idsOf, type Piece, rangeOf, regionOf, same, textAt } from './pieces';
import { type Proposal, tell } from './proposal';
import { registerSides, showSides } from './sides';

const CONTEXT = 'dgemma.reviewing';
const REDO_CONTEXT = 'dgemma.redoable';

export class Reviews {
  private review: (Proposal & { pieces: readonly Piece[]; region: Place }) | undefined;
  private applying = false;
  private readonly lensesChanged = new EventEmitter<void>();
  private readonly drawing = new Drawing();
  private readonly all: Disposable;

  constructor() {
    this.all = Disposable.from(
      this.drawing,
      this.lensesChanged,
      languages.registerCodeLensProvider(
        { pattern: '**' },
        {
          onDidChangeCodeLenses: this.lensesChanged.event,
          provideCodeLenses: (document) =>
            this.review?.document === document
              ? lensesOf(document, this.review.pieces, this.review.resolver !== undefined)
              : [],
        },
      ),
      registerSides(() => this.review),
      workspace.onDidChangeTextDocument((event) => this.moved(event)),
      workspace.onDidCloseTextDocument((document) => {
        if (document === this.review?.document) {
          this.close();
        }
      }),
      window.onDidChangeVisibleTextEditors(() => this.draw()),
      window.onDidChangeActiveTextEditor(() => this.tellContext()),
    );
  }

  dispose(): void {
    this.close();
    this.all.dispose();
  }

  /** Where the lines are now that were asked about. */
  get region(): Range | undefined {
    return this.review && rangeOf(this.review.document, this.review.region);
  }

  /** Show a proposal in place of an earlier one. Returns whether there is something to decide. */
  open(proposal: Proposal): boolean {
    const { document, pieces } = proposal;
    this.close();
    if (document.isClosed || document.version !== proposal.version) {
      return false;
    }
    if (pieces.length === 0) {
      void window.showInformationMessage(l10n.t('The model would leave these lines as they are.'));
      return false;
    }
    const asked = proposal.range && {
      start: document.offsetAt(proposal.range.start),
      end: document.offsetAt(proposal.range.end),
    };
    this.review = { ...proposal, region: asked ?? regionOf(pieces) };
    this.refresh();
    const editor = this.editors()[0];
    if (editor !== undefined) {
      const cursor = document.positionAt(regionOf(pieces).start);
      editor.selection = new Selection(cursor, cursor); // Escape now means the proposal
      editor.revealRange(
        rangeOf(document, regionOf(pieces)),
        TextEditorRevealType.InCenterIfOutsideViewport,
      );
    }
    return true;
  }

  /** Put a piece in: the given one, else that at the cursor, else the first open one. */
  async accept(index?: number): Promise<void> {
    const at = this.chosen(index);
    if (at !== undefined) {
      await this.put([at]);
    }
  }

  /** Put in all pieces that are still open, in one step. */
  async acceptAll(): Promise<void> {
    const open = (this.review?.pieces ?? []).flatMap((piece, at) =>
      piece.decision === 'open' ? [at] : [],
    );
    await this.put(open);
  }

  async reject(index?: number): Promise<void> {
    this.decide(this.chosen(index), 'rejected');
    await this.endWhenDecided();
  }

  /** Take a rejection back. */
  reopen(index: number): void {
    this.decide(index, 'open');
  }

  /** Put away everything that is still open; what was accepted stays. */
  async rejectAll(): Promise<void> {
    const review = this.review;
    this.close();
    const ids = idsOf((review?.pieces ?? []).filter((piece) => piece.decision !== 'accepted'));
    await tell(review?.resolver, 'reject', ids);
  }

  close(): void {
    if (this.review !== undefined) {
      this.review = undefined;
      this.refresh();
    }
  }

  /** Have a piece denoised again, with everything else as it stands. */
  async redo(index?: number): Promise<void> {
    const review = this.review;
    const at = this.chosen(index);
    const piece = at === undefined ? undefined : review?.pieces[at];
    if (review?.resolver === undefined || piece?.id === undefined || piece.busy) {
      return;
    }
    // What is rejected is out of the server's proposal from here on, or it would be kept to.
    await tell(
      review.resolver,
      'reject',
      idsOf(review.pieces.filter((each) => each.decision === 'rejected')),
    );
    this.change(review, (each) => (each.id === piece.id ? { ...each, busy: true } : each));
    let open: readonly Piece[] | undefined;
    try {
      open = await review.resolver.redo(piece, rangeOf(review.document, piece));
    } finally {
      this.change(review, (each) => ({ ...each, busy: false }));
    }
    if (open !== undefined && this.review === review) {
      const kept = review.pieces.filter((each) => each.decision === 'accepted');
      review.pieces = [...kept, ...open].sort((one, other) => one.start - other.start);
      this.refresh();
      await this.endWhenDecided();
    }
  }

  async again(): Promise<void> {
    await this.review?.resolver?.again();
  }

  /** Put the cursor on the next open piece, or the one before. */
  go(by: 1 | -1): void {
    const review = this.review;
    const editor = this.editors()[0];
    if (review === undefined || editor === undefined) {
      return;
    }
    const here = editor.selection.active;
    const starts = review.pieces
      .filter((piece) => piece.decision === 'open')
      .map((piece) => review.document.positionAt(piece.start));
    const ordered = by > 0 ? starts : starts.reverse();
    const next =
      ordered.find((each) => (by > 0 ? each.isAfter(here) : each.isBefore(here))) ?? ordered[0];
    if (next !== undefined) {
      editor.selection = new Selection(next, next);
      editor.revealRange(new Range(next, next), TextEditorRevealType.InCenterIfOutsideViewport);
    }
  }

  /** Show the whole proposal in VS Code's own diff editor, which screen readers can step through. */
  async sideBySide(): Promise<void> {
    if (this.review !== undefined) {
      await showSides(this.review.document);
    }
  }

  private async put(indices: readonly number[]): Promise<void> {
    const review = this.review;
    const chosen = indices.flatMap((at) => review?.pieces[at] ?? []);
    if (review === undefined || chosen.length === 0) {
      return;
    }
    const { document } = review;
    await tell(review.resolver, 'accept', idsOf(chosen)); // before the document is another one
    const pieces = review.pieces.filter((piece) => chosen.some((each) => same(each, piece)));
    const edit = new WorkspaceEdit();
    for (const piece of pieces) {
      edit.replace(document.uri, rangeOf(document, piece), piece.newText);
    }
    const fits = pieces.every((piece) => textAt(document, piece) === piece.oldText);
    this.applying = true;
    try {
      if (this.review !== review || !fits || !(await workspace.applyEdit(edit))) {
        log().warn('a proposal no longer fitted its document');
        void window.showWarningMessage(l10n.t('The document has changed; nothing was applied.'));
        this.close();
        return;
      }
    } finally {
      this.applying = false;
    }
    let delta = 0;
    review.pieces = review.pieces.map((piece) => {
      const start = piece.start + delta;
      if (!pieces.includes(piece)) {
        return { ...piece, start, end: piece.end + delta };
      }
      delta += piece.newText.length - (piece.end - piece.start);
      return { ...piece, start, end: start + piece.newText.length, decision: 'accepted' };
    });
    const put = review.pieces.filter((piece) => pieces.some((each) => same(each, piece)));
    this.refresh();
    review.onAccepted?.(put);
    await this.endWhenDecided();
  }

  private decide(at: number | undefined, decision: Piece['decision']): void {
    if (this.review !== undefined && at !== undefined) {
      const chosen = this.review.pieces[at];
      this.change(this.review, (piece) => (piece === chosen ? { ...piece, decision } : piece));
    }
  }

  private change(review: NonNullable<typeof this.review>, work: (piece: Piece) => Piece): void {
    review.pieces = review.pieces.map(work);
    if (this.review === review) {
      this.refresh();
    }
  }

  private async endWhenDecided(): Promise<void> {
    const review = this.review;
    if (review !== undefined && !review.pieces.some((piece) => piece.decision === 'open')) {
      await this.rejectAll();
    }
  }

  /** Follow the document: what changes elsewhere moves the proposal, what changes in it ends it. */
  private moved(event: TextDocumentChangeEvent): void {
    const review = this.review;
    if (review === undefined || event.document !== review.document) {
      return;
    }
    review.region = stretched(review.region, event.contentChanges);
    if (this.applying) {
      return;
    }
    const inHistory =
      event.reason === TextDocumentChangeReason.Undo ||
      event.reason === TextDocumentChangeReason.Redo;
    const now = followed(review.document, review.pieces, event.contentChanges, inHistory);
    if (now === undefined) {
      this.close();
      return;
    }
    review.pieces = now;
    this.refresh();
  }

  private refresh(): void {
    this.lensesChanged.fire();
    this.tellContext();
    this.draw();
  }

  private tellContext(): void {
    const review = this.review;
    const here = review !== undefined && window.activeTextEditor?.document === review.document;
    void commands.executeCommand('setContext', CONTEXT, here);
    void commands.executeCommand('setContext', REDO_CONTEXT, here && review.resolver !== undefined);
  }

  private editors(): TextEditor[] {
    return window.visibleTextEditors.filter((editor) => editor.document === this.review?.document);
  }

  private chosen(index?: number): number | undefined {
    const review = this.review;
    if (review === undefined) {
      return undefined;
    }
    const open = (piece: Piece) => piece.decision === 'open';
    if (index !== undefined) {
      return index;
    }
    const line = window.activeTextEditor?.selection.active.line ?? -1;
    const here = review.pieces.findIndex((piece) => {
      const { start, end } = rangeOf(review.document, piece);
      return open(piece) && line >= start.line && line < Math.max(end.line, start.line + 1);
    });
    const found = here >= 0 ? here : review.pieces.findIndex(open);
    return found >= 0 ? found : undefined;
  }

  private draw(): void {
    this.drawing.draw(this.review?.document, this.review?.pieces ?? []);
  }
}
