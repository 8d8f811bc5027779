// Reads that look at many rows of one shard: pages of a store, pages and totals of an item. Each works on a frozen moment
// of the store, in chunks, so that others get their turn; each is bounded by the rows it may look at (I9).

import { type InventoryKey, inventoryKey, splitInventoryKey } from '../schema/inventory-key.ts';
import { decodeRow, type InventoryRow, onHandOf } from '../schema/inventory-row.ts';
import { InventoryError } from '../schema/errors.ts';
import type {
  ItemPageRead,
  KeyedRow,
  Page,
  PageStart,
  ReadOf,
  RowFilter,
  RowOrder,
  StorePageRead,
} from '../schema/shard-api.ts';
import { changeTotals, NO_TOTALS, type Totals } from '../schema/totals.ts';
import type { ShardKeys } from './shard-keys.ts';
import type { StoreReader } from './shard-store.ts';

/** Most rows of one read of the store; a page begins with as many as it wants and doubles. */
const CHUNK_ROWS_MAX = 512;
/** What an item id can begin with; the empty prefix is every id's. */
const ID_PREFIX_PATTERN = /^[A-Za-z0-9._-]*$/;

/** A page of a store. Throws SCAN_LIMIT_EXCEEDED where an ON_HAND order would need more than `scanRowsMax` rows. */
export function storePage(reader: StoreReader, keys: ShardKeys, read: StorePageRead): Promise<Page> {
  return read.order === 'ITEM_ID' ? pageByItemId(reader, keys, read) : pageByOnHand(reader, keys, read);
}

async function pageByItemId(reader: StoreReader, keys: ShardKeys, read: StorePageRead): Promise<Page> {
  const rows: KeyedRow[] = [];
  let scanned = 0;
  for await (const row of storeRows(reader, keys, read, {
    after: read.after?.itemId ?? null,
    firstChunk: read.limit,
  })) {
    scanned++;
    if (matches(row, read.filter)) rows.push(row);
    if (rows.length === read.limit || scanned >= read.scanRowsMax)
      return { rows, scannedTo: splitInventoryKey(row.key).itemId };
  }
  return { rows, scannedTo: null };
}

async function pageByOnHand(reader: StoreReader, keys: ShardKeys, read: StorePageRead): Promise<Page> {
  const candidates: KeyedRow[] = [];
  let scanned = 0;
  for await (const row of storeRows(reader, keys, read, { after: null, firstChunk: CHUNK_ROWS_MAX })) {
    scanned++;
    if (scanned > read.scanRowsMax) {
      const message = `ordering by onHand would look at more than ${read.scanRowsMax} rows of store ${read.storeId} in partition ${read.partition}: order by ITEM_ID, or narrow with itemIdPrefix`;
      throw new InventoryError('SCAN_LIMIT_EXCEEDED', message);
    }
    if (matches(row, read.filter) && (read.after === null || isBehind(row, read.after, read.order)))
      candidates.push(row);
  }
  candidates.sort((a, b) => compareOnHand(startOfRow(a), startOfRow(b), read.order));
  const rows = candidates.slice(0, read.limit);
  const last = rows.at(-1);
  return {
    rows,
    scannedTo: candidates.length > rows.length && last !== undefined ? splitInventoryKey(last.key).itemId : null,
  };
}

/** Where a scan starts, and how many rows its first read of the store asks for. */
interface ScanStart {
  readonly after: string | null;
  readonly firstChunk: number;
}

/** Rows of a store in the order of item ids, behind the item id `start.after`. */
async function* storeRows(
  reader: StoreReader,
  keys: ShardKeys,
  read: StorePageRead,
  start: ScanStart,
): AsyncGenerator<KeyedRow> {
  const where = { storeId: read.storeId, itemIdPrefix: read.filter.itemIdPrefix ?? '' };
  // Keys hold Latin-1 bytes: a character beyond them would be cut down to one that ids do begin with.
  if (!ID_PREFIX_PATTERN.test(where.itemIdPrefix)) return;
  let { after } = start;
  for (const chunk of chunkSizes(start.firstChunk)) {
    const entries = await reader.scan(keys.storeRows({ ...where, afterItemId: after }, chunk));
    for (const entry of entries) yield { key: keys.textOf(entry.key) as InventoryKey, row: decodeRow(entry.value) };
    const last = entries.at(-1);
    if (last === undefined || entries.length < chunk) return;
    after = splitInventoryKey(keys.textOf(last.key) as InventoryKey).itemId;
  }
}

/** `first` and its doubles, up to the largest chunk, which repeats without end. */
function* chunkSizes(first: number): Generator<number> {
  for (let size = first; ; size *= 2) yield Math.min(size, CHUNK_ROWS_MAX);
}

function matches({ row }: KeyedRow, filter: RowFilter): boolean {
  const onHand = onHandOf(row);
  if (filter.onHandBelow !== undefined && onHand >= filter.onHandBelow) return false;
  if (filter.onHandAbove !== undefined && onHand <= filter.onHandAbove) return false;
  return filter.oversold === undefined || filter.oversold === onHand < 0;
}

function startOfRow({ key, row }: KeyedRow): PageStart {
  return { itemId: splitInventoryKey(key).itemId, onHand: onHandOf(row) };
}

function isBehind(row: KeyedRow, after: PageStart, order: RowOrder): boolean {
  return compareOnHand(startOfRow(row), after, order) > 0;
}

/** By onHand in the order's direction, ties by item id upwards. */
function compareOnHand(a: PageStart, b: PageStart, order: RowOrder): number {
  const ascending = a.onHand < b.onHand ? -1 : Number(a.onHand > b.onHand);
  if (ascending !== 0) return order === 'ON_HAND_DESC' ? -ascending : ascending;
  return a.itemId < b.itemId ? -1 : Number(a.itemId > b.itemId);
}

/** A page of an item: its rows by store id. */
export async function itemPage(reader: StoreReader, keys: ShardKeys, read: ItemPageRead): Promise<Page> {
  const rows: KeyedRow[] = [];
  for await (const row of itemRows(reader, keys, read.itemId, { after: read.afterStoreId, firstChunk: read.limit })) {
    rows.push(row);
    if (rows.length === read.limit) return { rows, scannedTo: splitInventoryKey(row.key).storeId };
  }
  return { rows, scannedTo: null };
}

/** Totals of an item over the stores of this shard; null where no event names it. Throws SCAN_LIMIT_EXCEEDED. */
export async function itemTotals(
  reader: StoreReader,
  keys: ShardKeys,
  read: ReadOf<'itemTotals'>,
): Promise<Totals | null> {
  let totals = NO_TOTALS;
  for await (const { row } of itemRows(reader, keys, read.itemId, { after: null, firstChunk: CHUNK_ROWS_MAX })) {
    totals = changeTotals(totals, null, row);
    if (totals.items <= read.scanRowsMax) continue;
    throw new InventoryError(
      'SCAN_LIMIT_EXCEEDED',
      `item ${read.itemId} is in more than ${read.scanRowsMax} stores of partition ${read.partition}`,
    );
  }
  return totals.items === 0 ? null : totals;
}

/** Rows of an item in the order of store ids, behind the store id `start.after`. */
async function* itemRows(
  reader: StoreReader,
  keys: ShardKeys,
  itemId: string,
  start: ScanStart,
): AsyncGenerator<KeyedRow> {
  let { after } = start;
  for (const chunk of chunkSizes(start.firstChunk)) {
    const entries = await reader.scan(keys.itemStores({ itemId, afterStoreId: after }, chunk));
    const found = entries.map((entry) => {
      const storeId = keys.textOf(entry.key).slice(itemId.length + 1);
      return inventoryKey({ storeId, itemId });
    });
    const values = await reader.getMany(found.map((key) => keys.row(key)));
    for (const [i, key] of found.entries()) yield { key, row: indexedRow(key, values[i] ?? null) };
    const last = found.at(-1);
    if (last === undefined || entries.length < chunk) return;
    after = splitInventoryKey(last).storeId;
  }
}

/** The index entry and the row are written in one batch, so one without the other means a damaged store. */
function indexedRow(key: InventoryKey, bytes: Buffer | null): InventoryRow {
  if (bytes === null) throw new RangeError(`the item index names ${key}, but there is no such row`);
  return decodeRow(bytes);
}
