// Page cursors: the place in a list where the next page starts. Opaque to clients, and good on every gateway, because a
// cursor names a place in the order of rows and nothing of who served it.
//
// Layout, base64url of ASCII: `1 <list> <onHand> <id> <checksum>`. `1` is the version; `list` a fingerprint of what the
// cursor belongs to (store or item, filter, order); `onHand` of the last row, 0 where the order does not need it; `id`
// the item id (pages of a store) or store id (pages of an item); `checksum` over all before it. Both in base 36.
// Hazard: a cursor used with another list would silently skip rows, so it is refused with CURSOR_INVALID instead.

import { InventoryError } from './errors.ts';
import { ID_PATTERN } from './inventory-key.ts';
import { murmur2 } from './partitioner.ts';
import type { PageStart, RowFilter, RowOrder } from './shard-api.ts';
import { decodeSum, encodeSum, type Sum } from './sum.ts';

const VERSION = '1';
/** Longest text that can be a cursor: two fingerprints, a bigint, an id. */
const CURSOR_CHARS_MAX = 256;

/** What a cursor belongs to: the items of a store under a filter and an order, or the stores of an item. */
export type PagedList =
  | { readonly kind: 'storeItems'; readonly storeId: string; readonly filter: RowFilter; readonly order: RowOrder }
  | { readonly kind: 'itemStores'; readonly itemId: string };

/** A place in a list: the id that its rows are told apart by, and the onHand where the order goes by it. */
export interface PagePlace {
  readonly id: string;
  readonly onHand: Sum;
}

/** The cursor for `place` in `list`. */
export function encodeCursor(list: PagedList, place: PagePlace): string {
  const text = `${VERSION} ${fingerprint(list)} ${encodeSum(place.onHand)} ${place.id}`;
  return Buffer.from(`${text} ${hash(text)}`, 'latin1').toString('base64url');
}

/** Inverse of `encodeCursor`. Throws CURSOR_INVALID for anything else, a cursor of another list included. */
export function decodeCursor(list: PagedList, cursor: string): PagePlace {
  if (cursor.length > CURSOR_CHARS_MAX) throw invalid('it is too long');
  const bytes = Buffer.from(cursor, 'base64url');
  const [version, owner, onHand = '', id = '', ...rest] = bytes.toString('latin1').split(' ');
  if (version !== VERSION || rest.length !== 1 || !ID_PATTERN.test(id)) throw invalid('it is not one of ours');
  const place = { id, onHand: decodeOnHand(onHand) };
  if (owner !== fingerprint(list)) throw invalid('it belongs to another store, item, filter or order');
  if (encodeCursor(list, place) !== cursor) throw invalid('it is damaged');
  return place;
}

/** A place in a store's items as a shard takes it. */
export function pageStart(place: PagePlace): PageStart {
  return { itemId: place.id, onHand: place.onHand };
}

function decodeOnHand(text: string): Sum {
  if (/^-?[0-9]{1,15}$/.test(text)) return Number(text);
  try {
    const asNumber = Number(text);
    return decodeSum(Number.isSafeInteger(asNumber) ? asNumber : text);
  } catch (cause) {
    throw invalid('it is not one of ours', cause);
  }
}

/** 64 bits over the list's canonical text; two lists with one fingerprint are not to be expected. */
function fingerprint(list: PagedList): string {
  const text = canonicalText(list);
  return hash(text) + hash(`${text}\n`);
}

function canonicalText(list: PagedList): string {
  if (list.kind === 'itemStores') return JSON.stringify([list.kind, list.itemId]);
  const { onHandBelow, onHandAbove, oversold, itemIdPrefix } = list.filter;
  const filter = [onHandBelow ?? null, onHandAbove ?? null, oversold ?? null, itemIdPrefix ?? ''];
  return JSON.stringify([list.kind, list.storeId, list.order, ...filter]);
}

function hash(text: string): string {
  return (murmur2(Buffer.from(text, 'latin1')) >>> 0).toString(36);
}

function invalid(why: string, cause?: unknown): InventoryError {
  return new InventoryError('CURSOR_INVALID', `the cursor cannot be used here: ${why}`, { cause });
}
