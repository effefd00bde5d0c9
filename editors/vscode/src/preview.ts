// The canvas while it is denoised, drawn beside the lines (or behind the hole) that it stands for.
// Decorations are nothing to a screen reader, so no step of it is read out.

import {
  type DecorationOptions,
  type Disposable,
  Range,
  type TextDocument,
  type TextEditorDecorationType,
  ThemeColor,
  window,
  workspace,
} from 'vscode';
import { type Look, linesOfSpan, MOST_STRETCHES, Rate, type Stretch } from './canvas';
import { columns } from './hunks';
import type { PreviewParams } from './protocol';
import { printable, RETURN } from './text';

/** At most ten pictures a second: more cannot be read, and cost the editor time. */
export const EVERY_MS = 100;
const GAP = 3;

const COLOURS: Record<Look, ThemeColor> = {
  noise: new ThemeColor('dgemma.noiseForeground'),
  guess: new ThemeColor('dgemma.guessForeground'),
  settled: new ThemeColor('dgemma.addedForeground'),
};

/** What a request's canvas is drawn over. */
export interface Drawn {
  readonly document: TextDocument;
  /** What the spans stand for, in their order; used when the server does not say it. */
  readonly ranges: readonly Range[];
  /** `beside` whole lines, or `inline` right behind a hole. */
  readonly where: 'beside' | 'inline';
}

interface Running extends Drawn {
  readonly token: string;
  readonly rate: Rate<PreviewParams>;
}

/** One stretch in its place: the how-manieth of its line, and where the line is drawn. */
interface Piece {
  readonly stretch: Stretch;
  readonly range: Range;
  readonly margin: number;
}

export class Previews {
  private count = 0;
  private readonly running = new Map<string, Running>();
  /** One type for each place in a line: what stands at one column is drawn in the order of these. */
  private readonly slots: readonly TextEditorDecorationType[];
  private readonly old: TextEditorDecorationType;
  private readonly listening: Disposable;

  /** @param fromServer Moves places to where they are in a document. */
  constructor(private readonly fromServer: <Value>(document: TextDocument, value: Value) => Value) {
    this.old = window.createTextEditorDecorationType({ opacity: '0.55' });
    this.slots = Array.from({ length: MOST_STRETCHES }, () =>
      window.createTextEditorDecorationType({}),
    ).sort((one, other) => (`${one.key}-` < `${other.key}-` ? -1 : 1));
    this.listening = workspace.onDidChangeTextDocument((event) => {
      for (const each of this.running.values()) {
        if (each.document === event.document && event.contentChanges.length > 0) {
          this.end(each); // the places are not known any more; the answer will be
        }
      }
    });
  }

  dispose(): void {
    this.listening.dispose();
    for (const each of [this.old, ...this.slots]) {
      each.dispose();
    }
  }

  /** Draw the canvas of the request made with the token, until it is over. */
  async during<Result>(
    drawn: Drawn,
    work: (previewToken: string) => Promise<Result>,
  ): Promise<Result> {
    const token = `dgemma-preview-${++this.count}`;
    const one: Running = {
      ...drawn,
      token,
      rate: new Rate(EVERY_MS, (params) => this.draw(one, params)),
    };
    this.running.set(token, one);
    for (const editor of this.editors(one)) {
      editor.setDecorations(this.old, drawn.where === 'beside' ? [...drawn.ranges] : []);
    }
    try {
      return await work(token);
    } finally {
      this.end(one);
    }
  }

  /** Take in a picture from the server. */
  readonly take = (params: PreviewParams): void => {
    const one = this.running.get(String(params.token));
    if (params.candidate === 0 && one !== undefined) {
      one.rate.call({ ...params, ranges: this.fromServer(one.document, params.ranges ?? []) });
    }
  };

  private end(one: Running): void {
    one.rate.stop();
    if (this.running.delete(one.token)) {
      for (const editor of this.editors(one)) {
        for (const each of [this.old, ...this.slots]) {
          editor.setDecorations(each, []);
        }
      }
    }
  }

  private editors(one: Running) {
    return window.visibleTextEditors.filter((editor) => editor.document === one.document);
  }

  private draw(one: Running, params: PreviewParams): void {
    const given = params.ranges ?? [];
    const ranges =
      given.length === params.spans.length
        ? given.map(
            ({ start, end }) => new Range(start.line, start.character, end.line, end.character),
          )
        : one.ranges;
    for (const editor of this.editors(one)) {
      const option = editor.options.tabSize;
      const tabSize = typeof option === 'number' ? option : 4;
      const slots: DecorationOptions[][] = this.slots.map(() => []);
      params.spans.forEach((span, index) => {
        const range = ranges[index];
        if (range === undefined) {
          return;
        }
        const lines = linesOfSpan(span);
        const pieces =
          one.where === 'inline'
            ? behind(range, lines)
            : beside(one.document, range, lines, tabSize);
        for (const line of pieces) {
          line.forEach((piece, at) => {
            slots[at]?.push(decoration(piece, tabSize));
          });
        }
      });
      this.slots.forEach((slot, at) => {
        editor.setDecorations(slot, slots[at] ?? []);
      });
    }
  }
}

function decoration(piece: Piece, tabSize: number): DecorationOptions {
  const { look, text } = piece.stretch;
  return {
    range: piece.range,
    renderOptions: {
      after: {
        contentText: printable(text, tabSize),
        color: COLOURS[look],
        fontStyle: look === 'guess' ? 'italic' : 'normal',
        margin: `0 0 0 ${piece.margin}ch`,
      },
    },
  };
}

/** The lines of a span beside the lines that it stands for; what has no line stands on the last. */
function beside(
  document: TextDocument,
  range: Range,
  lines: readonly (readonly Stretch[])[],
  tabSize: number,
): Piece[][] {
  const first = range.start.line;
  const count = Math.max(1, range.end.line - first + (range.end.character > 0 ? 1 : 0));
  const rows = [
    ...lines.slice(0, count - 1).map((line) => [...line]),
    joined(lines.slice(count - 1)),
  ];
  const widthOf = (line: number) => columns(document.lineAt(line).text, tabSize);
  const shown = rows.slice(0, Math.max(0, document.lineCount - first));
  const column = Math.max(...shown.map((_, row) => widthOf(first + row)), 0) + GAP;
  return shown.map((row, at) => {
    const end = document.lineAt(first + at).range.end;
    return row.map((stretch, index) => ({
      stretch,
      range: new Range(end, end),
      margin: index === 0 ? column - widthOf(first + at) : 0,
    }));
  });
}

function behind(range: Range, lines: readonly (readonly Stretch[])[]): Piece[][] {
  const place = new Range(range.end, range.end);
  return [joined(lines).map((stretch) => ({ stretch, range: place, margin: 0 }))];
}

function joined(lines: readonly (readonly Stretch[])[]): Stretch[] {
  const all = lines.flatMap((line, at) =>
    at === 0 ? [...line] : [{ look: 'guess' as const, text: RETURN }, ...line],
  );
  return all.length <= MOST_STRETCHES
    ? all
    : [
        ...all.slice(0, MOST_STRETCHES - 1),
        {
          look: 'guess' as const,
          text: all
            .slice(MOST_STRETCHES - 1)
            .map((each) => each.text)
            .join(''),
        },
      ];
}
