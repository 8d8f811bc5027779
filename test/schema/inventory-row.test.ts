// I2 and I3 for a single row: what it holds depends on how far each topic has been folded, and on nothing else.

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { TopicRole } from '../../schema/events.ts';
import {
  applyEvent,
  decodeRow,
  emptyRow,
  encodeRow,
  type InventoryRow,
  mergeRows,
  NO_STAMP,
  onHandOf,
  type StampedCount,
} from '../../schema/inventory-row.ts';
import { addSums } from '../../schema/sum.ts';
import { anyCount, anyRow, anyTime } from '../support/arbitraries.ts';

/** The records of one key in both topics, in offset order with gaps, as both logs hold them. */
interface KeyLog {
  readonly shipments: readonly StampedCount[];
  readonly sales: readonly StampedCount[];
}

const anyKeyLog: fc.Arbitrary<KeyLog> = fc.record({ shipments: topicLog('shipments'), sales: topicLog('sales') });

/** Which of two topics comes next; used up again and again until both are at their end. */
const anyInterleaving = fc.array(fc.constantFrom<TopicRole>('shipments', 'sales'), { minLength: 1, maxLength: 12 });

describe('the golden case', () => {
  test('shipment 200, sale 20, sale 100 is received 200, sold 120, on hand 80', () => {
    const row = fold([
      { role: 'shipments', count: 200, time: 1, offset: 0 },
      { role: 'sales', count: 20, time: 2, offset: 0 },
      { role: 'sales', count: 100, time: null, offset: 1 },
    ]);
    expect(row).toEqual({
      received: 200,
      sold: 120,
      shipmentsStamp: 0,
      salesStamp: 1,
      lastShipmentAt: 1,
      lastSaleAt: null,
    });
    expect(onHandOf(row)).toBe(80);
  });

  test('nothing is clamped: an oversold item is below zero', () => {
    expect(onHandOf(fold([{ role: 'sales', count: 3, time: null, offset: 0 }]))).toBe(-3);
  });
});

describe('I2: idempotent', () => {
  test('an event at or below the stamp of its topic changes nothing, and says so', () => {
    fc.assert(
      fc.property(anyKeyLog, ({ shipments, sales }) => {
        const row = fold([...shipments, ...sales]);
        const before = structuredClone(row);
        for (const event of [...shipments, ...sales]) expect(applyEvent(row, event)).toBe(false);
        expect(row).toEqual(before);
      }),
    );
  });

  test('any batching and any step back to an earlier offset, as after a crash, gives the same row', () => {
    const anyDelivery = fc.array(fc.record({ back: fc.nat(6), length: fc.integer({ min: 1, max: 5 }) }), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(anyKeyLog, anyDelivery, anyDelivery, (log, shipmentSteps, saleSteps) => {
        const delivered = [...deliver(log.shipments, shipmentSteps), ...deliver(log.sales, saleSteps)];
        expect(fold(delivered)).toEqual(fold([...log.shipments, ...log.sales]));
      }),
    );
  });
});

describe('I3: deterministic', () => {
  test('any interleaving of the two topics gives the same row: their sums', () => {
    fc.assert(
      fc.property(anyKeyLog, anyInterleaving, (log, turns) => {
        const row = fold(interleave(log, turns));
        expect(BigInt(row.received)).toBe(exactSum(log.shipments));
        expect(BigInt(row.sold)).toBe(exactSum(log.sales));
        expect(BigInt(onHandOf(row))).toBe(exactSum(log.shipments) - exactSum(log.sales));
        expect([row.shipmentsStamp, row.lastShipmentAt]).toEqual(lastOf(log.shipments));
        expect([row.salesStamp, row.lastSaleAt]).toEqual(lastOf(log.sales));
      }),
    );
  });
});

describe('mergeRows: a join of versions that any replicas of a row have reached', () => {
  /** Three versions of one row, each at a place of its own in either topic. */
  const anyVersions = fc
    .tuple(anyKeyLog, fc.array(fc.tuple(fc.nat(8), fc.nat(8)), { minLength: 3, maxLength: 3 }))
    .map(([log, places]) => ({ log, places, rows: places.map((place) => versionAt(log, place)) }));

  test('is commutative, associative and idempotent', () => {
    fc.assert(
      fc.property(anyVersions, ({ rows }) => {
        const [a, b, c] = rows as [InventoryRow, InventoryRow, InventoryRow];
        expect(mergeRows(a, b)).toEqual(mergeRows(b, a));
        expect(mergeRows(mergeRows(a, b), c)).toEqual(mergeRows(a, mergeRows(b, c)));
        expect(mergeRows(a, a)).toEqual(a);
        expect(mergeRows(a, mergeRows(a, b))).toEqual(mergeRows(a, b));
        expect(mergeRows(a, emptyRow())).toEqual(a);
      }),
    );
  });

  test('is the version that is, per topic, as far as the farther of the two', () => {
    fc.assert(
      fc.property(anyVersions, ({ log, places, rows }) => {
        const [[shipmentsA, salesA], [shipmentsB, salesB]] = places as [[number, number], [number, number]];
        const farther = versionAt(log, [Math.max(shipmentsA, shipmentsB), Math.max(salesA, salesB)]);
        expect(mergeRows(rows[0] ?? emptyRow(), rows[1] ?? emptyRow())).toEqual(farther);
      }),
    );
  });
});

describe('the stored form', () => {
  test('brings every row back: sums beyond 2^53, offsets and times up to their bounds, no time', () => {
    fc.assert(
      fc.property(anyRow, (row) => {
        expect(decodeRow(encodeRow(row))).toEqual(row);
      }),
      { numRuns: 1_000 },
    );
  });

  test('keeps the edges of every field', () => {
    const edges: InventoryRow[] = [
      emptyRow(),
      { ...emptyRow(), received: Number.MAX_SAFE_INTEGER, sold: -Number.MAX_SAFE_INTEGER },
      { ...emptyRow(), received: 2n ** 63n - 1n, sold: -(2n ** 63n) },
      { ...emptyRow(), received: 2n ** 53n, sold: 1 },
      { ...emptyRow(), received: 1, sold: -(2n ** 53n) },
      { ...emptyRow(), shipmentsStamp: Number.MAX_SAFE_INTEGER, salesStamp: 0, lastShipmentAt: 0, lastSaleAt: 1 },
    ];
    for (const row of edges) expect(decodeRow(encodeRow(row))).toEqual(row);
    expect(new Set(edges.map((row) => encodeRow(row).length)).size).toBe(1);
  });

  test('refuses to round a sum that it cannot hold', () => {
    expect(() => encodeRow({ ...emptyRow(), received: 2n ** 63n })).toThrow(RangeError);
  });

  test('rejects another version, a torn row and a longer one', () => {
    const bytes = encodeRow(emptyRow());
    const newer = Buffer.from(bytes);
    newer[0] = 2;
    for (const wrong of [newer, bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.alloc(1)]), Buffer.alloc(0)]) {
      expect(() => decodeRow(wrong)).toThrow(RangeError);
    }
  });
});

function topicLog(role: TopicRole): fc.Arbitrary<StampedCount[]> {
  const record = fc.record({ gap: fc.nat(3), count: anyCount, time: anyTime });
  return fc.array(record, { maxLength: 8 }).map((records) => {
    let offset = NO_STAMP;
    return records.map(({ gap, count, time }) => {
      offset += gap + 1;
      return { role, count, time, offset };
    });
  });
}

function fold(events: readonly StampedCount[]): InventoryRow {
  const row = emptyRow();
  for (const event of events) applyEvent(row, event);
  return row;
}

function versionAt(log: KeyLog, [shipments, sales]: readonly [number, number]): InventoryRow {
  return fold([...log.shipments.slice(0, shipments), ...log.sales.slice(0, sales)]);
}

/** What a consumer gets that steps back before each of its batches; the whole log in the end. */
function deliver(
  events: readonly StampedCount[],
  steps: readonly { readonly back: number; readonly length: number }[],
): StampedCount[] {
  const delivered: StampedCount[] = [];
  let next = 0;
  for (const { back, length } of steps) {
    const from = Math.max(0, next - back);
    delivered.push(...events.slice(from, from + length));
    next = Math.max(next, Math.min(from + length, events.length));
  }
  return [...delivered, ...events.slice(next)];
}

function interleave(log: KeyLog, turns: readonly TopicRole[]): StampedCount[] {
  const left = { shipments: [...log.shipments], sales: [...log.sales] };
  const mixed: StampedCount[] = [];
  for (let turn = 0; left.shipments.length + left.sales.length > 0; turn++) {
    const role = turns[turn % turns.length] ?? 'sales';
    const event = left[role].shift() ?? left.shipments.shift() ?? left.sales.shift();
    if (event !== undefined) mixed.push(event);
  }
  return mixed;
}

function exactSum(events: readonly StampedCount[]): bigint {
  return events.reduce((sum, { count }) => sum + BigInt(count), 0n);
}

function lastOf(events: readonly StampedCount[]): [number, number | null] {
  const last = events.at(-1);
  return last === undefined ? [NO_STAMP, null] : [last.offset, last.time];
}

test('a sum that leaves the safe range comes back into it exactly', () => {
  const row = { ...emptyRow(), received: Number.MAX_SAFE_INTEGER };
  applyEvent(row, { role: 'shipments', count: 2, time: null, offset: 0 });
  expect(row.received).toBe(2n ** 53n + 1n);
  applyEvent(row, { role: 'shipments', count: -2, time: null, offset: 1 });
  expect(row.received).toBe(Number.MAX_SAFE_INTEGER);
  expect(addSums(row.received, 0)).toBe(Number.MAX_SAFE_INTEGER);
});
