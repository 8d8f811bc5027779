// Waiting for something that happens elsewhere, without guessing how long it takes: ask again until it is so.
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';

const TIMEOUT_MS = 10_000;
const INTERVAL_MS = 20;
const VALUE_CHARS_MAX = 1_000;

export interface EventuallyOptions {
  readonly timeoutMs?: number;
  readonly intervalMs?: number;
}

/** What `check` gave last: neither kind ends the wait. */
type Attempt = { readonly error: unknown } | { readonly value: unknown };

/**
 * Calls `check` until it gives something other than `false` or `undefined` without throwing, and resolves with that.
 * A check that only asserts must therefore end with `return true`.
 *
 * Throws at `timeoutMs`, naming `condition` (a statement: 'shard 3 is serving') and what the last check gave; the last
 * error is the cause. A check that never settles does not hold it up.
 */
export async function eventually<T>(
  condition: string,
  check: () => T | Promise<T>,
  { timeoutMs = TIMEOUT_MS, intervalMs = INTERVAL_MS }: EventuallyOptions = {},
): Promise<Exclude<T, false | undefined>> {
  const deadline = performance.now() + timeoutMs;
  let last: Attempt = { error: new Error('the first check did not settle') };
  for (let checks = 1; ; checks += 1) {
    const attempt = await settleBefore(deadline, check);
    if (attempt === undefined) throw timeoutError(condition, { timeoutMs, checks, last });
    if ('value' in attempt && attempt.value !== false && attempt.value !== undefined) {
      return attempt.value as Exclude<T, false | undefined>;
    }
    last = attempt;
    if (performance.now() + intervalMs >= deadline) throw timeoutError(condition, { timeoutMs, checks, last });
    await sleep(intervalMs);
  }
}

/** Undefined when the deadline comes first. */
async function settleBefore(deadline: number, check: () => unknown): Promise<Attempt | undefined> {
  const stopWaiting = new AbortController();
  const settled = (async (): Promise<Attempt> => {
    try {
      return { value: await check() };
    } catch (error) {
      return { error };
    }
  })();
  const timedOut = sleep(Math.max(0, deadline - performance.now()), undefined, { signal: stopWaiting.signal }).catch(
    () => undefined,
  );
  try {
    return await Promise.race([settled, timedOut]);
  } finally {
    stopWaiting.abort();
  }
}

function timeoutError(condition: string, wait: { timeoutMs: number; checks: number; last: Attempt }): Error {
  const { timeoutMs, checks, last } = wait;
  const seen =
    'error' in last ? `threw ${String(last.error)}` : `gave ${inspect(last.value).slice(0, VALUE_CHARS_MAX)}`;
  const message = `not within ${timeoutMs} ms (${checks} checks): ${condition}; the last check ${seen}`;
  return new Error(message, 'error' in last ? { cause: last.error } : {});
}
