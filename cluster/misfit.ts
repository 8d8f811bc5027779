// Whether a log still fits the place a reader wants to read from. Pure; both event log adapters decide with it (I8).

import type { LogRange, Misfit } from './event-log.ts';

/** How long a log may end before the place to read from, e.g. while a broker comes back, until it counts as another log. */
export const MISFIT_GRACE_MS = 5_000;

/** `behind` is only a misfit once it has lasted for the grace time. */
export function findMisfit(fromOffset: number, { startOffset, endOffset }: LogRange): Misfit | undefined {
  if (fromOffset < startOffset) return { kind: 'truncated', fromOffset, startOffset };
  if (fromOffset > endOffset) return { kind: 'behind', fromOffset, endOffset };
  return undefined;
}
