// How bold a rewrite is: the share of the old text that is made anew. Knows no editor.

/** From everything written again to little more than a touch. */
export const STEPS: readonly number[] = [1, 0.5, 0.25, 0.125];

/** One step closer to the old text, or undefined when there is none. */
export function closer(noise: number): number | undefined {
  return STEPS.find((step) => step < noise);
}

/** One step bolder, or undefined when all of it is made anew already. */
export function bolder(noise: number): number | undefined {
  return [...STEPS].reverse().find((step) => step > noise);
}
