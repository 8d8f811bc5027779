import { describe, expect, it } from 'vitest';
import { eventually } from './eventually.ts';

/** Gives each outcome in turn, the last one for ever; an Error is thrown. */
function answers(...outcomes: readonly unknown[]): { check: () => Promise<unknown>; calls: () => number } {
  let calls = 0;
  const check = async (): Promise<unknown> => {
    const outcome = outcomes[Math.min(calls, outcomes.length - 1)];
    calls += 1;
    if (outcome instanceof Error) throw outcome;
    return outcome;
  };
  return { check, calls: () => calls };
}

describe('eventually', () => {
  it('resolves with the first value that is neither false nor undefined', async () => {
    const { check, calls } = answers(false, undefined, new Error('not yet'), 'ready', 'too late');
    expect(await eventually('ready', check, { intervalMs: 0 })).toBe('ready');
    expect(calls()).toBe(4);
  });

  it.each([0, '', null])('takes %j for an answer', async (value) => {
    expect(await eventually('falsy', () => value)).toBe(value);
  });

  it('resolves at once with a synchronous value, whatever the time limit', async () => {
    expect(await eventually('immediate', () => 7, { timeoutMs: 1_000_000, intervalMs: 1_000_000 })).toBe(7);
  });

  it('names the condition and the last error, and keeps it as the cause', async () => {
    const cause = new Error('NOT_SERVING');
    const { check } = answers(false, cause);
    const waiting = eventually('shard 3 is serving', check, { timeoutMs: 20, intervalMs: 1 });
    await expect(waiting).rejects.toMatchObject({
      message: expect.stringMatching(/not within 20 ms \(\d+ checks\): shard 3 is serving; .* NOT_SERVING/),
      cause,
    });
  });

  it('names the last value when no check threw', async () => {
    const waiting = eventually('lag is 0', () => false, { timeoutMs: 1, intervalMs: 0 });
    await expect(waiting).rejects.toThrow(/lag is 0; the last check gave false/);
  });

  it('does not wait for a check that never settles', async () => {
    const waiting = eventually('an answer', () => new Promise<never>(() => undefined), { timeoutMs: 1 });
    await expect(waiting).rejects.toThrow(/not within 1 ms \(1 checks\): an answer/);
  });
});
