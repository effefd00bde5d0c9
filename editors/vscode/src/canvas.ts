// What is drawn of a canvas while it is denoised: lines of stretches that look alike. Knows no
// editor.

import type { DraftToken } from './protocol';

/** Noise and guesses are dim; what is settled looks like text. */
export type Look = 'noise' | 'guess' | 'settled';

export interface Stretch {
  readonly look: Look;
  readonly text: string;
}

/** What one token of noise looks like; real noise would be other people's words. */
const BLOCK = '░';
const BLOCKS = 2;
/** Columns of noise after which a line of it ends: where its breaks will be nobody knows yet. */
const NOISE_COLUMNS = 32;
/** Stretches of a line; the rest of it is drawn as one guess. */
export const MOST_STRETCHES = 16;

/** The lines of a span, each in stretches from left to right. */
export function linesOfSpan(tokens: readonly DraftToken[]): Stretch[][] {
  const lines: Stretch[][] = [[]];
  const put = (look: Look, text: string) => {
    const line = lines.at(-1);
    const last = line?.at(-1);
    if (line === undefined || text === '') {
      return;
    }
    if (last !== undefined && last.look === look) {
      line[line.length - 1] = { look, text: last.text + text };
    } else {
      line.push({ look, text });
    }
  };
  let noise = 0;
  for (const [text, state] of tokens) {
    if (state === 'noise') {
      if (noise >= NOISE_COLUMNS) {
        lines.push([]);
        noise = 0;
      }
      put('noise', BLOCK.repeat(BLOCKS));
      noise += BLOCKS;
      continue;
    }
    noise = 0;
    const [first, ...rest] = text.split(/\r\n|\r|\n/);
    put(state, first ?? '');
    for (const part of rest) {
      lines.push([]);
      put(state, part);
    }
  }
  return lines.map(bounded);
}

function bounded(line: readonly Stretch[]): Stretch[] {
  if (line.length <= MOST_STRETCHES) {
    return [...line];
  }
  const rest = line.slice(MOST_STRETCHES - 1);
  return [
    ...line.slice(0, MOST_STRETCHES - 1),
    { look: 'guess', text: rest.map((each) => each.text).join('') },
  ];
}

/** The share of tokens that are settled, 0 to 1. */
export function settled(spans: readonly (readonly DraftToken[])[]): number {
  const tokens = spans.flat();
  const done = tokens.filter(([, state]) => state === 'settled').length;
  return tokens.length === 0 ? 0 : done / tokens.length;
}

/** Lets at most one call through in an interval; the last one always comes through in the end. */
export class Rate<Value> {
  private waiting: NodeJS.Timeout | undefined;
  private latest: Value | undefined;
  private last = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly everyMs: number,
    private readonly work: (value: Value) => void,
    private readonly clock: () => number = () => performance.now(),
  ) {}

  call(value: Value): void {
    this.latest = value;
    if (this.waiting !== undefined) {
      return;
    }
    const left = this.last + this.everyMs - this.clock();
    if (left <= 0) {
      this.run();
    } else {
      this.waiting = setTimeout(() => this.run(), left);
    }
  }

  stop(): void {
    clearTimeout(this.waiting);
    this.waiting = undefined;
    this.latest = undefined;
  }

  private run(): void {
    this.waiting = undefined;
    this.last = this.clock();
    const value = this.latest;
    this.latest = undefined;
    if (value !== undefined) {
      this.work(value);
    }
  }
}
