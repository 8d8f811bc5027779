// A row of InventoryTable: the stock of one item in one store, with the stamps that make folding idempotent.
//
//   shipments ──▶ received, shipmentsStamp, lastShipmentAt ┐
//                                                          ├─ onHand = received − sold, at read time
//   sales ──────▶ sold,     salesStamp,     lastSaleAt     ┘
//
// I2: an event at or below its topic's stamp changes nothing; merging takes, per topic, the side with the higher stamp.
// I3: received depends on `shipments` alone and sold on `sales` alone, so the interleaving of the topics cannot matter.

import type { TopicRole } from './events.ts';
import { addSums, subtractSums, type Sum } from './sum.ts';

/** Stamp of a topic from which nothing has been folded in. */
export const NO_STAMP = -1;

export interface InventoryRow {
  readonly received: Sum;
  readonly sold: Sum;
  /** Offset of the last shipment folded in, NO_STAMP if none. */
  readonly shipmentsStamp: number;
  readonly salesStamp: number;
  /** Timestamp (ms) of the shipment with that offset; null where there is none or it was no date. */
  readonly lastShipmentAt: number | null;
  readonly lastSaleAt: number | null;
}
/** A copy that its holder alone may change; published rows never change. */
export type DraftRow = { -readonly [Field in keyof InventoryRow]: InventoryRow[Field] };

/** What of an event reaches the row. */
export interface StampedCount {
  readonly role: TopicRole;
  readonly count: number;
  readonly time: number | null;
  readonly offset: number;
}

/** A row that no event names yet. */
export function emptyRow(): DraftRow {
  return {
    received: 0,
    sold: 0,
    shipmentsStamp: NO_STAMP,
    salesStamp: NO_STAMP,
    lastShipmentAt: null,
    lastSaleAt: null,
  };
}

/** Folds `event` into `row` in place. Answers false, and changes nothing, if the row's stamp covers it already (I2). */
export function applyEvent(row: DraftRow, event: StampedCount): boolean {
  if (event.role === 'shipments') {
    if (event.offset <= row.shipmentsStamp) return false;
    row.received = addSums(row.received, event.count);
    row.shipmentsStamp = event.offset;
    row.lastShipmentAt = event.time;
  } else {
    if (event.offset <= row.salesStamp) return false;
    row.sold = addSums(row.sold, event.count);
    row.salesStamp = event.offset;
    row.lastSaleAt = event.time;
  }
  return true;
}

/** The join of two versions of one row: commutative, associative, idempotent. */
export function mergeRows(a: InventoryRow, b: InventoryRow): InventoryRow {
  const shipments = a.shipmentsStamp >= b.shipmentsStamp ? a : b;
  const sales = a.salesStamp >= b.salesStamp ? a : b;
  return {
    received: shipments.received,
    sold: sales.sold,
    shipmentsStamp: shipments.shipmentsStamp,
    salesStamp: sales.salesStamp,
    lastShipmentAt: shipments.lastShipmentAt,
    lastSaleAt: sales.lastSaleAt,
  };
}

/** received − sold; negative when oversold. */
export function onHandOf(row: { readonly received: Sum; readonly sold: Sum }): Sum {
  return subtractSums(row.received, row.sold);
}

/** Version of the stored row; part of the topology, so that nodes of different layouts never share a view. */
export const ROW_VERSION = 1;

const ROW_BYTES = 50;
const RECEIVED_IS_BIG = 1;
const SOLD_IS_BIG = 2;

/** Stored row, 50 bytes: version u8, flags u8, received, sold (f64, or i64 where the flag says), two stamps, two times (f64, NaN = null). */
export function encodeRow(row: InventoryRow): Buffer {
  const bytes = Buffer.allocUnsafe(ROW_BYTES);
  bytes[0] = ROW_VERSION;
  bytes[1] = writeSum(bytes, 2, row.received, RECEIVED_IS_BIG) | writeSum(bytes, 10, row.sold, SOLD_IS_BIG);
  bytes.writeDoubleLE(row.shipmentsStamp, 18);
  bytes.writeDoubleLE(row.salesStamp, 26);
  bytes.writeDoubleLE(row.lastShipmentAt ?? Number.NaN, 34);
  bytes.writeDoubleLE(row.lastSaleAt ?? Number.NaN, 42);
  return bytes;
}

/** Inverse of `encodeRow`. Throws a RangeError on another version or length: the store is damaged or newer than we. */
export function decodeRow(bytes: Buffer): InventoryRow {
  if (bytes.length !== ROW_BYTES || bytes[0] !== ROW_VERSION) {
    throw new RangeError(
      `expected a row of version ${ROW_VERSION} in ${ROW_BYTES} bytes, got ${bytes[0]} in ${bytes.length}`,
    );
  }
  const flags = bytes[1] ?? 0;
  return {
    received: readSum(bytes, 2, (flags & RECEIVED_IS_BIG) !== 0),
    sold: readSum(bytes, 10, (flags & SOLD_IS_BIG) !== 0),
    shipmentsStamp: bytes.readDoubleLE(18),
    salesStamp: bytes.readDoubleLE(26),
    lastShipmentAt: nullable(bytes.readDoubleLE(34)),
    lastSaleAt: nullable(bytes.readDoubleLE(42)),
  };
}

/** Writes a sum and answers `flag` if it took the bigint form. 2^63 lies beyond 9.2 billion events of the largest count. */
function writeSum(bytes: Buffer, at: number, sum: Sum, flag: number): number {
  if (typeof sum === 'number') {
    bytes.writeDoubleLE(sum, at);
    return 0;
  }
  bytes.writeBigInt64LE(sum, at);
  return flag;
}

function readSum(bytes: Buffer, at: number, big: boolean): Sum {
  return big ? bytes.readBigInt64LE(at) : bytes.readDoubleLE(at);
}

function nullable(time: number): number | null {
  return Number.isNaN(time) ? null : time;
}
