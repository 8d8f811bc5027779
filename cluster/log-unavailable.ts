// The one error of an event log that cannot be reached in time, shared by its adapters.

import { InventoryError } from '../schema/errors.ts';

/** Why the log did not do its part; `doing` completes "cannot …". */
export function logUnavailable(doing: string, cause?: unknown): InventoryError {
  const reason = cause instanceof Error ? `: ${cause.message}` : '';
  return new InventoryError('LOG_UNAVAILABLE', `cannot ${doing}${reason}`, { cause });
}

/** Settles like `operation`, but rejects with LOG_UNAVAILABLE after `timeoutMs`; the operation itself cannot be cancelled. */
export async function within<T>(operation: Promise<T>, limit: { timeoutMs: number; doing: string }): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(logUnavailable(limit.doing, new Error(`no answer within ${limit.timeoutMs} ms`)));
    }, limit.timeoutMs);
  });
  try {
    return await Promise.race([operation, expired]);
  } finally {
    clearTimeout(timer);
  }
}
