// How sure the model was of each token, in three levels of weakness. Knows no editor.

import type { TokenResult } from './protocol';
import { unitsAt } from './units';

/** 1 is a little weak, 3 is weakest. */
export type Level = 1 | 2 | 3;
export const LEVELS: readonly Level[] = [1, 2, 3];

/** A weak token; places are UTF-16 units in its text. */
export interface Weak {
  readonly start: number;
  readonly end: number;
  readonly level: Level;
  readonly probability: number;
}

/** The level of a probability, or undefined when it is not weak. */
export function levelOf(probability: number, below: number): Level | undefined {
  if (probability >= below) {
    return undefined;
  }
  if (probability < below / 3) {
    return 3;
  }
  return probability < (2 * below) / 3 ? 2 : 1;
}

/**
 * The weak tokens of a text as it stands in a document, whatever line breaks that has; the server
 * counts each break as one character. They come without the blanks around them; those of blanks alone are left out,
 * since nothing of them could be seen.
 */
export function weakTokens(
  text: string,
  tokens: readonly TokenResult[],
  below: number,
): readonly Weak[] {
  const units = unitsAt(text);
  return tokens.flatMap(({ start, end, probability }) => {
    const level = levelOf(probability, below);
    const from = units(start);
    const part = text.slice(from, units(end));
    const trimmed = part.trim();
    if (level === undefined || trimmed === '') {
      return [];
    }
    const first = from + part.indexOf(trimmed);
    return [{ start: first, end: first + trimmed.length, level, probability }];
  });
}
