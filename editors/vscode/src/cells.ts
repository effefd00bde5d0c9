// Notebook cells: to the server a cell is one document with the cells of its language before it.
// What is sent and what comes back is moved by their lines, here and nowhere else.

import { type TextDocument, workspace } from 'vscode';
import { composed, moveLines } from './compose';

export const CELL_SCHEME = 'vscode-notebook-cell';

/** Sends the server a notification. */
export type Send = (method: string, params: unknown) => Promise<void>;

export class Cells {
  /** The lines that were sent before each cell. */
  private readonly before = new Map<string, string>();

  constructor(
    private readonly send: Send,
    private readonly uriOf: (document: TextDocument) => string,
  ) {}

  /** How many lines the server has before the first one of a document. */
  linesBefore(document: TextDocument): number {
    return (this.before.get(document.uri.toString()) ?? '').split('\n').length - 1;
  }

  /** A value with places in a document as the server has it. */
  toServer<Value>(document: TextDocument, value: Value): Value {
    return moveLines(value, this.linesBefore(document));
  }

  fromServer<Value>(document: TextDocument, value: Value): Value {
    return moveLines(value, -this.linesBefore(document));
  }

  forget(document: TextDocument): void {
    this.before.delete(document.uri.toString());
  }

  /** Tell the server of a cell's text as it is now. */
  async changed(document: TextDocument): Promise<void> {
    const before = beforeOf(document);
    this.before.set(document.uri.toString(), before);
    await this.send('textDocument/didChange', {
      textDocument: { uri: this.uriOf(document), version: document.version },
      contentChanges: [{ text: before + document.getText() }],
    });
  }

  /** The same when another cell has changed since; what is no cell is left alone. */
  async refresh(document: TextDocument): Promise<void> {
    if (
      isCell(document) &&
      beforeOf(document) !== (this.before.get(document.uri.toString()) ?? '')
    ) {
      await this.changed(document);
    }
  }
}

export function isCell(document: TextDocument): boolean {
  return document.uri.scheme === CELL_SCHEME;
}

function beforeOf(document: TextDocument): string {
  for (const notebook of workspace.notebookDocuments) {
    const cells = notebook.getCells();
    const at = cells.findIndex((cell) => cell.document === document);
    if (at >= 0) {
      const earlier = cells
        .slice(0, at)
        .map((cell) => cell.document)
        .filter((each) => each.languageId === document.languageId)
        .map((each) => each.getText());
      return composed(earlier, document.languageId);
    }
  }
  return '';
}
