// What becomes of ghost text, told from the changes of its document: VS Code tells nobody. Offsets
// are UTF-16 units; knows no editor.

import type { Change } from './follow';
import { charactersOf } from './units';

/** One suggestion; its text has the document's line breaks. */
export interface Offer {
  readonly id: number | undefined;
  readonly text: string;
}

export type Outcome =
  /** All of it is in the document, from `start` on. */
  | { readonly kind: 'accepted'; readonly offer: Offer; readonly start: number }
  /** Its first characters are, more than one of them at once. */
  | { readonly kind: 'partly'; readonly offer: Offer; readonly characters: number }
  /** Something else was typed instead. */
  | { readonly kind: 'typed'; readonly offer: Offer };

const PAIRS: readonly string[] = ['()', '[]', '{}', '""', "''", '``'];

export class Offers {
  private uri = '';
  private start = 0;
  private taken = 0;
  private offers: readonly Offer[] = [];

  /** The suggestions at a place, best first; none when there is nothing to be seen any more. */
  show(uri: string, start: number, offers: readonly Offer[]): void {
    this.uri = uri;
    this.start = start;
    this.taken = 0;
    this.offers = offers;
  }

  /** Forget what is shown; returns the first of it when there was something. */
  drop(): Offer | undefined {
    const [first] = this.offers;
    this.offers = [];
    return first;
  }

  /** Take in the changes of a document made at once. */
  changed(uri: string, changes: readonly Change[]): Outcome | undefined {
    const [first] = this.offers;
    const [change] = changes;
    if (first === undefined || change === undefined || uri !== this.uri) {
      return undefined;
    }
    if (
      changes.length > 1 ||
      change.rangeLength > 0 ||
      change.rangeOffset !== this.start + this.taken
    ) {
      this.drop(); // edited elsewhere: says nothing of what was offered
      return undefined;
    }
    const text = PAIRS.includes(change.text) ? change.text.charAt(0) : change.text;
    const fitting = this.offers.filter((each) => each.text.startsWith(text, this.taken));
    const [best] = fitting;
    if (best === undefined) {
      this.drop();
      return { kind: 'typed', offer: first };
    }
    this.offers = fitting;
    this.taken += text.length;
    const whole = fitting.find((each) => each.text.length === this.taken);
    if (whole !== undefined) {
      this.drop();
      return { kind: 'accepted', offer: whole, start: this.start };
    }
    const told = best.text.slice(0, this.taken).replaceAll('\r\n', '\n');
    return text.length > 1
      ? { kind: 'partly', offer: best, characters: charactersOf(told) }
      : undefined;
  }
}
