// How long to wait after a key before the server is asked, by how fast a person types.
// Times are milliseconds and come in as arguments; knows no editor.

/** Longer gaps between keys are pauses to think, and say nothing of how fast somebody types. */
const PAUSE_MS = 1000;
/** Share of the newest gap in the running mean. */
const WEIGHT = 0.3;
/** A wait of this many gaps outlasts most keys in the middle of a word. */
const GAPS = 1.25;
/** The wait never exceeds this many times the wait that is set. */
const MOST = 4;

/** The gaps between keys of one window. */
export class Pace {
  private last: number | undefined;
  private mean: number | undefined;

  /** Take in a key typed at a time. */
  key(now: number): void {
    const gap = this.last === undefined ? undefined : now - this.last;
    this.last = now;
    if (gap === undefined || gap > PAUSE_MS) {
      return;
    }
    this.mean = this.mean === undefined ? gap : this.mean + WEIGHT * (gap - this.mean);
  }

  /**
   * How much longer to wait than the server does by itself.
   *
   * @param base What the server waits after every key; 0 turns all waiting off.
   */
  wait(base: number): number {
    if (this.mean === undefined || base <= 0) {
      return 0;
    }
    const whole = Math.min(this.mean * GAPS, base * MOST);
    return Math.max(0, Math.round(whole - base));
  }
}

/** A suggestion as it was shown: the text before the cursor on its line, and what was offered. */
export interface Shown {
  readonly uri: string;
  readonly line: number;
  readonly before: string;
  readonly text: string;
}

/**
 * Whether what is typed now is the beginning of what was shown. Such a request needs no wait:
 * the server knows the answer.
 */
export function typesInto(shown: Shown | undefined, uri: string, line: number, before: string) {
  return (
    shown !== undefined &&
    shown.uri === uri &&
    shown.line === line &&
    before.startsWith(shown.before) &&
    shown.text.startsWith(before.slice(shown.before.length))
  );
}
