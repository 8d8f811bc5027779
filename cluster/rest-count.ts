// The plain REST read, the same on every node and every gateway:
//
//   GET /inventory/stores/{storeId}/items/{itemId}/count
//     200 {"storeId","itemId","count"}     count = onHand
//     400 bad id, 404 no event names the item, 503 + Retry-After cannot be read now; {"code","message","retryable"}
//     Stockroom-Served-By: <node id>       Stockroom-Forwarded: 1 where another process than the one asked answered
//
// Pure: text in, text out. I4: "unknown item" (404) and "not here" (503) are never the same answer.

import { InventoryError, PUBLIC_CODES, type PublicCode, toInventoryError } from '../schema/errors.ts';
import { type InventoryKey, inventoryKey, splitInventoryKey } from '../schema/inventory-key.ts';
import { type InventoryRow, onHandOf } from '../schema/inventory-row.ts';

export const SERVED_BY_HEADER = 'stockroom-served-by';
export const FORWARDED_HEADER = 'stockroom-forwarded';
/** What a client is told to wait when the error itself does not say. */
export const RETRY_AFTER_MS = 1_000;

/** Codes of plain HTTP, for requests that never became a read. */
export type HttpCode =
  'NOT_FOUND' | 'METHOD_NOT_ALLOWED' | 'BODY_TOO_LARGE' | 'UNSUPPORTED_MEDIA_TYPE' | 'UNAUTHORIZED';

/** An answer, ready to be written. */
export interface RestAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Which process answered. */
export interface Served {
  readonly nodeId: string;
  readonly forwarded: boolean;
}

const COUNT_PATH = /^\/inventory\/stores\/([^/]*)\/items\/([^/]*)\/count$/;

/**
 * The key that a path (without its query) asks for; undefined if it is no path of the REST read. Throws BAD_USER_INPUT
 * for a bad id or broken percent-encoding.
 */
export function parseCountPath(path: string): InventoryKey | undefined {
  const match = COUNT_PATH.exec(path);
  if (match === null) return undefined;
  return inventoryKey({ storeId: decodeId('storeId', match[1]), itemId: decodeId('itemId', match[2]) });
}

/** The answer for a key and its row, null where no event names it. */
export function countAnswer(key: InventoryKey, row: InventoryRow | null, served: Served): RestAnswer {
  const { storeId, itemId } = splitInventoryKey(key);
  const headers = servedHeaders(served);
  if (row === null) {
    return httpErrorAnswer(404, 'NOT_FOUND', `no event names item ${itemId} in store ${storeId}`, headers);
  }
  const count = onHandOf(row);
  if (typeof count === 'bigint') {
    const message = `the count of ${key} is ${count}, beyond ±(2^53−1)`;
    return errorAnswer(new InventoryError('COUNT_OUT_OF_RANGE', message), headers);
  }
  return { status: 200, headers: jsonHeaders(headers), body: JSON.stringify({ storeId, itemId, count }) };
}

/** The answer for a read that failed. Codes that are nobody's business outside the cluster become INTERNAL. */
export function errorAnswer(error: unknown, headers: Readonly<Record<string, string>> = {}): RestAnswer {
  const known = toPublicError(error);
  const { code, message, retryable, status } = known;
  const retryAfter = Math.ceil((known.retryAfterMs ?? RETRY_AFTER_MS) / 1_000);
  return {
    status,
    headers: jsonHeaders({ ...headers, ...(retryable ? { 'retry-after': String(retryAfter) } : {}) }),
    body: JSON.stringify({ code, message, retryable }),
  };
}

/** The answer for a request that is no read at all. */
export function httpErrorAnswer(
  status: number,
  code: HttpCode,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): RestAnswer {
  return { status, headers: jsonHeaders(headers), body: JSON.stringify({ code, message, retryable: false }) };
}

/** `error` with a public code: internal codes reaching a client would be a bug, so they are INTERNAL with the cause kept. */
export function toPublicError(error: unknown): InventoryError & { readonly code: PublicCode } {
  const known = toInventoryError(error);
  if (isPublic(known)) return known;
  const message = 'an unexpected error; the log of this process has the cause';
  return new InventoryError('INTERNAL', message, { cause: known }) as InventoryError & { readonly code: PublicCode };
}

function isPublic(error: InventoryError): error is InventoryError & { readonly code: PublicCode } {
  return Object.hasOwn(PUBLIC_CODES, error.code);
}

function servedHeaders(served: Served): Record<string, string> {
  return { [SERVED_BY_HEADER]: served.nodeId, ...(served.forwarded ? { [FORWARDED_HEADER]: '1' } : {}) };
}

function jsonHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store', ...headers };
}

function decodeId(field: string, text = ''): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new InventoryError('BAD_USER_INPUT', `${field} has broken percent-encoding: ${JSON.stringify(text)}`, {
      cause,
    });
  }
}
