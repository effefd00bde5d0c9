// The instructions a model offers: their places, what a person typed, and the ones used before.
// Knows no editor; as `dgemma_lsp/infill/rewrite.py` reads them.

import type { RewriteKind } from './protocol';

const PLACE = /\{([a-z]\w*)\}/g;
/** How many instructions are remembered. */
export const REMEMBERED = 20;

/** The names of the places to fill in, each once. */
export function placesOf(instruction: string): string[] {
  return [...new Set([...instruction.matchAll(PLACE)].map((found) => found[1] ?? ''))];
}

/** An instruction with its places filled in. */
export function filled(instruction: string, values: ReadonlyMap<string, string>): string {
  return instruction.replace(PLACE, (whole, name: string) => values.get(name) ?? whole);
}

/** Whether a text is one of the instructions, all its places filled in. */
export function isOffered(text: string, kinds: readonly RewriteKind[]): boolean {
  const words = text.trim().replace(/\s+/g, ' ');
  return words !== '' && kinds.some((kind) => patternOf(kind.instruction).test(words));
}

function patternOf(instruction: string): RegExp {
  const seen = new Set<string>();
  let [out, at] = ['', 0];
  for (const place of instruction.matchAll(PLACE)) {
    const name = place[1] ?? '';
    out += escaped(instruction.slice(at, place.index));
    out += seen.has(name) ? `\\k<${name}>` : `(?<${name}>\\S.*?)`;
    seen.add(name);
    at = place.index + place[0].length;
  }
  return new RegExp(`^${out}${escaped(instruction.slice(at))}$`, 'iu');
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
}

/** The list of remembered instructions with one more at its head. */
export function remembered(history: readonly string[], newest: string): string[] {
  return [newest, ...history.filter((one) => one !== newest)].slice(0, REMEMBERED);
}
