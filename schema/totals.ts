// Totals over rows, kept incrementally: one per store and one for the whole shard, changed in the same batch as the rows
// (I1), so that a total costs one small read per partition and never a scan.

import { type InventoryRow, onHandOf } from './inventory-row.ts';
import { addSums, decodeSum, encodeSum, subtractSums, type Sum } from './sum.ts';

export interface Totals {
  /** Keys that some event names, those with onHand 0 included. */
  readonly items: number;
  readonly received: Sum;
  readonly sold: Sum;
  /** Rows with onHand < 0. */
  readonly oversoldItems: number;
  /** Rows with onHand ≤ 0. */
  readonly outOfStockItems: number;
}

export const NO_TOTALS: Totals = { items: 0, received: 0, sold: 0, oversoldItems: 0, outOfStockItems: 0 };

/** `totals` after one row went from `before` (null = new) to `after`. */
export function changeTotals(totals: Totals, before: InventoryRow | null, after: InventoryRow): Totals {
  // A row that did not exist was neither oversold nor out of stock.
  const onHandBefore = before === null ? 1 : onHandOf(before);
  const onHandAfter = onHandOf(after);
  return {
    items: totals.items + (before === null ? 1 : 0),
    received: addSums(
      totals.received,
      before === null ? after.received : subtractSums(after.received, before.received),
    ),
    sold: addSums(totals.sold, before === null ? after.sold : subtractSums(after.sold, before.sold)),
    oversoldItems: totals.oversoldItems + Number(onHandAfter < 0) - Number(onHandBefore < 0),
    outOfStockItems: totals.outOfStockItems + Number(onHandAfter <= 0) - Number(onHandBefore <= 0),
  };
}

/** The totals of two disjoint sets of rows. */
export function addTotals(a: Totals, b: Totals): Totals {
  return {
    items: a.items + b.items,
    received: addSums(a.received, b.received),
    sold: addSums(a.sold, b.sold),
    oversoldItems: a.oversoldItems + b.oversoldItems,
    outOfStockItems: a.outOfStockItems + b.outOfStockItems,
  };
}

/** Totals as a JSON list: on the wire between node and gateway, and as stored (text of that list). */
export type TotalsJson = readonly [
  items: number,
  received: number | string,
  sold: number | string,
  oversold: number,
  outOfStock: number,
];

export function encodeTotals(totals: Totals): TotalsJson {
  return [
    totals.items,
    encodeSum(totals.received),
    encodeSum(totals.sold),
    totals.oversoldItems,
    totals.outOfStockItems,
  ];
}

/** Inverse of `encodeTotals`. Throws a TypeError on anything else. */
export function decodeTotals(json: unknown): Totals {
  if (!Array.isArray(json) || json.length !== 5) throw new TypeError(`expected totals, got ${JSON.stringify(json)}`);
  const [items, received, sold, oversoldItems, outOfStockItems] = json as unknown[];
  return {
    items: decodeCount(items),
    received: decodeSum(received),
    sold: decodeSum(sold),
    oversoldItems: decodeCount(oversoldItems),
    outOfStockItems: decodeCount(outOfStockItems),
  };
}

function decodeCount(value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new TypeError(`expected a count, got ${JSON.stringify(value)}`);
}
