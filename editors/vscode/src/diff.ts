// A proposed change of a document, shown inside it and decided hunk by hunk. Nothing is changed
// before everything is decided; then one edit is made, which is one step of undo.

import {
  CodeLens,
  type CodeLensProvider,
  commands,
  Disposable,
  EventEmitter,
  l10n,
  languages,
  OverviewRulerLane,
  Position,
  Range,
  Selection,
  type TextDocument,
  type TextDocumentChangeEvent,
  type TextEditor,
  TextEditorRevealType,
  ThemeColor,
  Uri,
  WorkspaceEdit,
  window,
  workspace,
} from 'vscode';
import { additions, type Decision, type Review, removals } from './draw';
import { apply, hunksOf, shift, withBreaks } from './hunks';
import { log } from './log';

const CONTEXT = 'dgemma.reviewing';
const SCHEME = 'dgemma-proposal';
/** Lines of a document at one version, and what is proposed in their place. */
export interface Proposal {
  readonly document: TextDocument;
  readonly version: number;
  readonly range: Range;
  readonly newText: string;
}

export class Reviews implements CodeLensProvider {
  private review: Review | undefined;
  private readonly lensesChanged = new EventEmitter<void>();
  private readonly proposalChanged = new EventEmitter<Uri>();
  readonly onDidChangeCodeLenses = this.lensesChanged.event;
  private readonly removed = window.createTextEditorDecorationType({
    backgroundColor: new ThemeColor('dgemma.removedBackground'),
    border: '1px solid',
    borderColor: new ThemeColor('dgemma.changeBorder'),
    textDecoration: 'line-through',
    overviewRulerColor: new ThemeColor('editorOverviewRuler.deletedForeground'),
    overviewRulerLane: OverviewRulerLane.Full,
  });
  private readonly added = window.createTextEditorDecorationType({});
  private readonly all: Disposable;

  constructor() {
    this.all = Disposable.from(
      this.removed,
      this.added,
      this.lensesChanged,
      this.proposalChanged,
      languages.registerCodeLensProvider({ pattern: '**' }, this),
      workspace.registerTextDocumentContentProvider(SCHEME, {
        onDidChange: this.proposalChanged.event,
        provideTextDocumentContent: () => this.proposedText(),
      }),
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

  /** Show a proposal in place of an earlier one. Returns whether there is something to decide. */
  open(proposal: Proposal): boolean {
    const { document } = proposal;
    this.close();
    if (document.isClosed || document.version !== proposal.version) {
      return false;
    }
    const range = wholeLines(document, proposal.range);
    const eol = document.eol === 1 ? '\n' : '\r\n';
    const oldText = document.getText(range);
    const newText = withBreaks(
      document.getText(new Range(range.start, proposal.range.start)) +
        proposal.newText +
        document.getText(new Range(proposal.range.end, range.end)),
      eol,
    );
    const hunks = hunksOf(oldText, newText);
    if (hunks.length === 0) {
      void window.showInformationMessage(l10n.t('The model would leave these lines as they are.'));
      return false;
    }
    const lineCount = Math.max(
      1,
      range.end.line - range.start.line + (range.end.character > 0 ? 1 : 0),
    );
    this.review = {
      document,
      oldText,
      hunks,
      decisions: hunks.map(() => 'open'),
      first: range.start.line,
      lineCount,
    };
    this.refresh();
    const editor = this.editors()[0];
    if (editor !== undefined) {
      const [from, to] = [0, hunks.length - 1].map((at) => this.lineOf(this.review as Review, at));
      const cursor = new Position(from ?? 0, 0);
      editor.selection = new Selection(cursor, cursor); // Escape now means the proposal
      editor.revealRange(
        new Range(cursor, new Position(to ?? 0, 0)),
        TextEditorRevealType.InCenterIfOutsideViewport,
      );
    }
    return true;
  }

  /** Decide one hunk: the given one, else that at the cursor, else the first open one. */
  async decide(decision: Exclude<Decision, 'open'>, index?: number): Promise<void> {
    const review = this.review;
    const at = index ?? this.hunkAtCursor();
    if (review === undefined || at === undefined) {
      return;
    }
    review.decisions[at] = decision;
    await this.afterDecision(review);
  }

  /** Accept all hunks that are still open. */
  async acceptRest(): Promise<void> {
    const review = this.review;
    if (review === undefined) {
      return;
    }
    review.decisions.forEach((one, at) => {
      if (one === 'open') {
        review.decisions[at] = 'accepted';
      }
    });
    await this.afterDecision(review);
  }

  /** Put everything away, also what was accepted already. */
  close(): void {
    if (this.review !== undefined) {
      this.review = undefined;
      this.refresh();
    }
  }

  /** Take a decision back. */
  reopen(index: number): void {
    if (this.review !== undefined) {
      this.review.decisions[index] = 'open';
      this.refresh();
    }
  }

  /** Show the whole proposal in VS Code's own diff editor, which screen readers can step through. */
  async sideBySide(): Promise<void> {
    const review = this.review;
    if (review !== undefined) {
      const uri = Uri.from({ scheme: SCHEME, path: review.document.uri.path });
      this.proposalChanged.fire(uri);
      await commands.executeCommand(
        'vscode.diff',
        review.document.uri,
        uri,
        l10n.t('What dgemma proposes'),
      );
    }
  }

  provideCodeLenses(document: TextDocument): CodeLens[] {
    const review = this.review;
    if (review === undefined || review.document !== document) {
      return [];
    }
    return review.hunks.flatMap((_, index) => {
      const line = this.lineOf(review, index);
      const lens = (title: string, command: string, ...rest: unknown[]) =>
        new CodeLens(new Range(line, 0, line, 0), { title, command, arguments: rest });
      const decision = review.decisions[index];
      const own =
        decision === 'open'
          ? [
              lens(l10n.t('$(check) Accept'), 'dgemma.review.accept', index),
              lens(l10n.t('$(close) Reject'), 'dgemma.review.reject', index),
            ]
          : [
              lens(
                decision === 'accepted'
                  ? l10n.t('$(check) Accepted: take back')
                  : l10n.t('$(close) Rejected: take back'),
                'dgemma.review.reopen',
                index,
              ),
            ];
      return index > 0
        ? own
        : [
            ...own,
            lens(l10n.t('Accept All'), 'dgemma.review.acceptAll'),
            lens(l10n.t('Reject All'), 'dgemma.review.rejectAll'),
            lens(l10n.t('Side by Side'), 'dgemma.review.sideBySide'),
          ];
    });
  }

  private async afterDecision(review: Review): Promise<void> {
    if (review.decisions.includes('open')) {
      this.refresh();
      return;
    }
    const { document } = review;
    const accepted = review.hunks.filter((_, index) => review.decisions[index] === 'accepted');
    this.close();
    if (accepted.length === 0) {
      return;
    }
    const base = document.offsetAt(new Position(review.first, 0));
    const now = document.getText(
      new Range(document.positionAt(base), document.positionAt(base + review.oldText.length)),
    );
    const edit = new WorkspaceEdit();
    for (const hunk of accepted) {
      const range = new Range(
        document.positionAt(base + hunk.from),
        document.positionAt(base + hunk.to),
      );
      edit.replace(document.uri, range, hunk.added);
    }
    if (now !== review.oldText || !(await workspace.applyEdit(edit))) {
      log().warn('a proposal no longer fitted its document');
      void window.showWarningMessage(l10n.t('The document has changed; nothing was applied.'));
    }
  }

  /** Follow the document: what changes elsewhere moves the proposal, what changes in it ends it. */
  private moved(event: TextDocumentChangeEvent): void {
    const review = this.review;
    if (review === undefined || event.document !== review.document) {
      return;
    }
    let delta = 0;
    for (const change of event.contentChanges) {
      const moved = {
        startLine: change.range.start.line,
        endLine: change.range.end.line,
        delta:
          change.text.split(/\r\n|\r|\n/).length -
          1 -
          (change.range.end.line - change.range.start.line),
      };
      // Text put right in front of the first line moves it down without touching it.
      const last = review.first + review.lineCount - 1;
      const by = shift(moved, review.first, last);
      if (by === undefined) {
        this.close();
        return;
      }
      delta += by;
    }
    review.first += delta;
    this.draw();
  }

  private refresh(): void {
    this.lensesChanged.fire();
    this.tellContext();
    this.draw();
  }

  private tellContext(): void {
    const here =
      this.review !== undefined && window.activeTextEditor?.document === this.review.document;
    void commands.executeCommand('setContext', CONTEXT, here);
  }

  private editors(): TextEditor[] {
    return window.visibleTextEditors.filter((editor) => editor.document === this.review?.document);
  }

  private lineOf(review: Review, index: number): number {
    const line = review.first + (review.hunks[index]?.oldStart ?? 0);
    return Math.min(line, review.document.lineCount - 1);
  }

  private hunkAtCursor(): number | undefined {
    const review = this.review;
    const line = window.activeTextEditor?.selection.active.line ?? -1;
    const here = review?.hunks.findIndex(
      (hunk) =>
        line >= (review?.first ?? 0) + hunk.oldStart &&
        line < (review?.first ?? 0) + Math.max(hunk.oldEnd, hunk.oldStart + hunk.addedLines.length),
    );
    const open = review?.decisions.indexOf('open');
    const found = here !== undefined && here >= 0 ? here : open;
    return found !== undefined && found >= 0 ? found : undefined;
  }

  private proposedText(): string {
    const review = this.review;
    if (review === undefined) {
      return '';
    }
    const text = review.document.getText();
    const base = review.document.offsetAt(new Position(review.first, 0));
    return (
      text.slice(0, base) +
      apply(review.oldText, review.hunks) +
      text.slice(base + review.oldText.length)
    );
  }

  private draw(): void {
    const review = this.review;
    for (const editor of window.visibleTextEditors) {
      const shown = review !== undefined && editor.document === review.document;
      editor.setDecorations(this.removed, shown ? removals(review) : []);
      editor.setDecorations(this.added, shown ? additions(review, editor) : []);
    }
  }
}

/** The lines that a range touches, up to the start of the next one or the end of the document. */
function wholeLines(document: TextDocument, range: Range): Range {
  const partly = range.end.character > 0 || range.isEmpty;
  const end = partly ? new Position(range.end.line + 1, 0) : range.end;
  return document.validateRange(new Range(new Position(range.start.line, 0), end));
}
