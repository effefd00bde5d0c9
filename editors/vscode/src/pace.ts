// How long to wait after a key before the server is asked: by how fast a person types, how long
// answers take, and what became of earlier ones. Times are milliseconds and come in as arguments;
// knows no editor.

/** Longer gaps between keys are pauses to think, and say nothing of how fast somebody types. */
const PAUSE_MS = 1000;
/** Share of the newest gap, answer or outcome in the running means. */
const WEIGHT = 0.3;
const OUTCOME_WEIGHT = 0.1;
/** A wait of this many gaps outlasts most keys in the middle of a word. */
const GAPS = 1.25;
/** The wait never exceeds this many times the wait that is set. */
const MOST = 4;
/** An answer this quick costs so little that half the wait will do; one ten times as slow a half more. */
const QUICK_MS = 100;
const SLOW_MS = 1000;
/** Share of answers taken that is neither good nor bad. */
const USUAL = 0.3;

/** What one window knows of the person at it. */
export class Pace {
  private last: number | undefined;
  private mean: number | undefined;
  private latency: number | undefined;
  private taken = USUAL;

  /** Take in a key typed at a time. */
  key(now: number): void {
    const gap = this.last === undefined ? undefined : now - this.last;
    this.last = now;
    if (gap === undefined || gap > PAUSE_MS) {
      return;
    }
    this.mean = this.mean === undefined ? gap : this.mean + WEIGHT * (gap - this.mean);
  }

  /** Take in how long an answer took. */
  answered(milliseconds: number): void {
    this.latency =
      this.latency === undefined
        ? milliseconds
        : this.latency + WEIGHT * (milliseconds - this.latency);
  }

  /** Take in what became of an answer that was shown: 1 when it was taken, 0 when not. */
  outcome(taken: number): void {
    this.taken += OUTCOME_WEIGHT * (taken - this.taken);
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
    const whole = Math.min(this.mean * GAPS * this.byLatency() * this.byOutcomes(), base * MOST);
    return Math.max(0, Math.round(whole - base));
  }

  /** Half for quick answers, one and a half for slow ones, by the logarithm between them. */
  private byLatency(): number {
    if (this.latency === undefined) {
      return 1;
    }
    const share = Math.log(this.latency / QUICK_MS) / Math.log(SLOW_MS / QUICK_MS);
    return 0.5 + Math.min(1, Math.max(0, share));
  }

  /** Down to 0.8 for somebody who takes all, up to 1.6 for somebody who takes nothing. */
  private byOutcomes(): number {
    return this.taken < USUAL
      ? 1 + (0.6 * (USUAL - this.taken)) / USUAL
      : 1 - (0.2 * (this.taken - USUAL)) / (1 - USUAL);
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
