// (store, item) ↔ the log's key `storeId/itemId`. The separator cannot occur in an id, so every item of one store is one
// prefix scan over `storeId/`, in the byte order of item ids. Ids are ASCII, so a string and its bytes order alike.

import { InventoryError } from './errors.ts';

/** What a store or an item may be called: 1–64 characters. */
export const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
/** Same rule in words, for error messages. */
export const ID_RULE = '1–64 characters of A–Z a–z 0–9 . _ -, the first a letter or digit';

const KEY_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\/[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const ID_LENGTH_MAX = 64;
const SLASH = 0x2f;
const ID_BYTES = bytesMatching(/[A-Za-z0-9._-]/);
const FIRST_ID_BYTES = bytesMatching(/[A-Za-z0-9]/);

/** `storeId/itemId`, known to be well formed: made only by the functions of this file. */
export type InventoryKey = string & { readonly __brand: 'InventoryKey' };

/** The key of an item in a store. Throws BAD_USER_INPUT naming the field. */
export function inventoryKey(ids: { readonly storeId: string; readonly itemId: string }): InventoryKey {
  checkId('storeId', ids.storeId);
  checkId('itemId', ids.itemId);
  return `${ids.storeId}/${ids.itemId}` as InventoryKey;
}

/** `text` as a key, or undefined if it is none. For text that comes from the wire. */
export function parseInventoryKey(text: string): InventoryKey | undefined {
  return KEY_PATTERN.test(text) ? (text as InventoryKey) : undefined;
}

/** The key that `bytes` spell, or undefined if they spell none. The same rule byte by byte, for the hot path of the log. */
export function decodeInventoryKey(bytes: Buffer): InventoryKey | undefined {
  const slash = endOfId(bytes, 0);
  if (bytes[slash] !== SLASH || endOfId(bytes, slash + 1) !== bytes.length) return undefined;
  return bytes.toString('latin1') as InventoryKey;
}

/** Index behind the id that begins at `start`; −1 if none of 1–64 characters does. */
function endOfId(bytes: Buffer, start: number): number {
  if (start >= bytes.length || FIRST_ID_BYTES[bytes[start] ?? 0] === 0) return -1;
  const end = skipIdBytes(bytes, start + 1);
  return end - start > ID_LENGTH_MAX ? -1 : end;
}

/** Index of the first byte from `start` on that is none of A–Z a–z 0–9 . _ -; the length where all are. */
export function skipIdBytes(bytes: Buffer, start: number): number {
  let end = start;
  while (end < bytes.length && ID_BYTES[bytes[end] ?? 0] === 1) end++;
  return end;
}

/** 1 at each byte whose Latin-1 character matches. */
function bytesMatching(pattern: RegExp): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => Number(pattern.test(String.fromCharCode(byte))));
}

/** The two ids of a key. */
export function splitInventoryKey(key: InventoryKey): { storeId: string; itemId: string } {
  const slash = key.indexOf('/');
  return { storeId: key.slice(0, slash), itemId: key.slice(slash + 1) };
}

/** The store's id of a key. */
export function storeOfKey(key: InventoryKey): string {
  return key.slice(0, key.indexOf('/'));
}

/** Throws BAD_USER_INPUT naming `field` unless `id` matches ID_PATTERN. */
export function checkId(field: string, id: string): void {
  if (ID_PATTERN.test(id)) return;
  const shown = JSON.stringify(id.length > 80 ? `${id.slice(0, 80)}…` : id);
  throw new InventoryError('BAD_USER_INPUT', `${field} must be ${ID_RULE}; got ${shown}`, { details: { field } });
}
