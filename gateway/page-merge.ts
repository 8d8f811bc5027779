// Merges the partitions' pages of one list into one page.
//
//   partition 0   A  C ─────────── H │ (looked at up to H, more may follow)
//   partition 1      B    E ──────────────────── ▪ (nothing follows)
//   merged        A  B  C  E ───── H │  only rows up to the horizon H: a row of partition 0 behind H is not known yet
//
// In ITEM_ID order, and by store id, the page ends at the first horizon, and its endCursor is that place even if no row
// was found on the way there: so every page moves on, and no row is missed or repeated however the rows change meanwhile.
// In ON_HAND orders a shard looks at all rows or fails, so the only horizon is that of a full page.

import type { InventoryKey } from '../schema/inventory-key.ts';
import { splitInventoryKey } from '../schema/inventory-key.ts';
import { type InventoryRow, onHandOf } from '../schema/inventory-row.ts';
import type { PagedList, PagePlace } from '../schema/cursor.ts';
import type { Page } from '../schema/shard-api.ts';

/** A row of a merged page, and its place in the list. */
export interface PlacedRow {
  readonly key: InventoryKey;
  readonly row: InventoryRow;
  readonly place: PagePlace;
}

export interface MergedPage {
  readonly rows: readonly PlacedRow[];
  readonly hasNextPage: boolean;
  /** Where to go on; null where there is neither a row nor anything to go on to. */
  readonly end: PagePlace | null;
}

/** One partition's page on its way into the merge. */
interface Source {
  readonly rows: readonly PlacedRow[];
  next: number;
}

/** The first `first` rows of all `pages`, each of which was asked for at least `first + 1` rows. */
export function mergePages(list: PagedList, pages: Iterable<Page>, first: number): MergedPage {
  const compare = placeOrder(list);
  const sources: Source[] = [];
  let horizon: PagePlace | undefined;
  for (const page of pages) {
    const rows = page.rows.map(({ key, row }) => ({ key, row, place: placeOf(list, key, row) }));
    if (rows.length > 0) sources.push({ rows, next: 0 });
    const reached = horizonOf(list, page, rows);
    if (reached !== undefined && (horizon === undefined || compare(reached, horizon) < 0)) horizon = reached;
  }
  const rows = takeSmallest(sources, compare, { count: first + 1, horizon });
  if (rows.length > first) {
    rows.length = first;
    return { rows, hasNextPage: true, end: rows.at(-1)?.place ?? null };
  }
  if (horizon !== undefined) return { rows, hasNextPage: true, end: horizon };
  return { rows, hasNextPage: false, end: rows.at(-1)?.place ?? null };
}

/** How far a page that did not reach the end of its partition's list has looked; undefined if it did. */
function horizonOf(list: PagedList, page: Page, rows: readonly PlacedRow[]): PagePlace | undefined {
  if (page.scannedTo === null) return undefined;
  if (isOrderedById(list)) return { id: page.scannedTo, onHand: 0 };
  return rows.at(-1)?.place;
}

/** Up to `count` rows in order, none behind the horizon. */
function takeSmallest(
  sources: Source[],
  compare: (a: PagePlace, b: PagePlace) => number,
  limits: { readonly count: number; readonly horizon: PagePlace | undefined },
): PlacedRow[] {
  const { count, horizon } = limits;
  const taken: PlacedRow[] = [];
  while (taken.length < count) {
    let smallest: { source: Source; head: PlacedRow } | undefined;
    for (const source of sources) {
      const head = source.rows[source.next];
      if (head === undefined) continue;
      if (smallest === undefined || compare(head.place, smallest.head.place) < 0) smallest = { source, head };
    }
    if (smallest === undefined) break;
    if (horizon !== undefined && compare(smallest.head.place, horizon) > 0) break;
    smallest.source.next++;
    taken.push(smallest.head);
  }
  return taken;
}

function placeOf(list: PagedList, key: InventoryKey, row: InventoryRow): PagePlace {
  const { storeId, itemId } = splitInventoryKey(key);
  return { id: list.kind === 'storeItems' ? itemId : storeId, onHand: isOrderedById(list) ? 0 : onHandOf(row) };
}

function isOrderedById(list: PagedList): boolean {
  return list.kind === 'itemStores' || list.order === 'ITEM_ID';
}

/** The order of a list: by id, or by onHand with ties by id upwards. Ids are ASCII, so text orders as bytes do. */
function placeOrder(list: PagedList): (a: PagePlace, b: PagePlace) => number {
  if (isOrderedById(list)) return compareIds;
  const direction = list.kind === 'storeItems' && list.order === 'ON_HAND_DESC' ? -1 : 1;
  return (a, b) => {
    if (a.onHand !== b.onHand) return a.onHand < b.onHand ? -direction : direction;
    return compareIds(a, b);
  };
}

function compareIds(a: PagePlace, b: PagePlace): number {
  if (a.id === b.id) return 0;
  return a.id < b.id ? -1 : 1;
}
