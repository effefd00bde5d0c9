// A document as it was when something was asked, and how places of that time moved since.

import {
  type Disposable,
  type Range,
  type TextDocument,
  type TextDocumentContentChangeEvent,
  workspace,
} from 'vscode';
import type { Range as Sent } from 'vscode-languageclient/node';
import { follow, type Place } from './follow';
import { linesOf } from './hunks';

export class Since implements Disposable {
  private readonly starts: readonly number[];
  private readonly changes: TextDocumentContentChangeEvent[] = [];
  private readonly listening: Disposable;

  constructor(readonly document: TextDocument) {
    let at = 0;
    this.starts = [0, ...linesOf(document.getText()).map((line) => (at += line.length))];
    this.listening = workspace.onDidChangeTextDocument((event) => {
      if (event.document === document) {
        this.changes.push(...event.contentChanges);
      }
    });
  }

  dispose(): void {
    this.listening.dispose();
  }

  /** Where a range of that time is now; undefined when somebody wrote into it. */
  now(range: Sent | Range): Place | undefined {
    const offset = (place: { readonly line: number; readonly character: number }) =>
      (this.starts[place.line] ?? this.starts.at(-1) ?? 0) + place.character;
    return follow({ start: offset(range.start), end: offset(range.end) }, this.changes);
  }
}
