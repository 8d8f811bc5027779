import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { applyEvent, emptyRow, type InventoryRow, onHandOf } from '../../schema/inventory-row.ts';
import type { Sum } from '../../schema/sum.ts';
import { addTotals, changeTotals, decodeTotals, encodeTotals, NO_TOTALS, type Totals } from '../../schema/totals.ts';
import { anyCount, anyRole, anyRow, anySum } from '../support/arbitraries.ts';

const anyTotals: fc.Arbitrary<Totals> = fc.record({
  items: fc.nat(),
  received: anySum,
  sold: anySum,
  oversoldItems: fc.nat(),
  outOfStockItems: fc.nat(),
});

describe('changeTotals', () => {
  test('keeps the totals equal to the sum of the rows after every event, whatever the events', () => {
    // Few keys and small counts too, so that rows pass zero in both directions.
    const anyEvent = fc.record({
      key: fc.constantFrom('a', 'b', 'c'),
      role: anyRole,
      count: fc.oneof(fc.integer({ min: -3, max: 3 }), anyCount),
    });
    fc.assert(
      fc.property(fc.array(anyEvent, { maxLength: 40 }), (events) => {
        const rows = new Map<string, InventoryRow>();
        let totals = NO_TOTALS;
        events.forEach(({ key, role, count }, offset) => {
          const before = rows.get(key) ?? null;
          const after = { ...(before ?? emptyRow()) };
          applyEvent(after, { role, count, time: null, offset });
          rows.set(key, after);
          totals = changeTotals(totals, before, after);
          expect(totals).toEqual(sumOfRows([...rows.values()]));
        });
      }),
    );
  });

  test('stays exact over rows with sums of any size', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(anyRow, anyRow), { maxLength: 10 }), (changes) => {
        let totals = NO_TOTALS;
        for (const [first] of changes) totals = changeTotals(totals, null, first);
        expect(totals).toEqual(sumOfRows(changes.map(([first]) => first)));
        for (const [first, second] of changes) totals = changeTotals(totals, first, second);
        expect(totals).toEqual(sumOfRows(changes.map(([, second]) => second)));
      }),
    );
  });

  test('counts a new row with nothing on hand as out of stock, and one below zero as oversold too', () => {
    expect(changeTotals(NO_TOTALS, null, emptyRow())).toEqual({ ...NO_TOTALS, items: 1, outOfStockItems: 1 });
    const oversold = { ...emptyRow(), sold: 1 };
    expect(changeTotals(NO_TOTALS, null, oversold)).toEqual({
      items: 1,
      received: 0,
      sold: 1,
      oversoldItems: 1,
      outOfStockItems: 1,
    });
  });
});

describe('addTotals', () => {
  test('is associative and commutative, with NO_TOTALS as its zero', () => {
    fc.assert(
      fc.property(anyTotals, anyTotals, anyTotals, (a, b, c) => {
        expect(addTotals(addTotals(a, b), c)).toEqual(addTotals(a, addTotals(b, c)));
        expect(addTotals(a, b)).toEqual(addTotals(b, a));
        expect(addTotals(a, NO_TOTALS)).toEqual(a);
      }),
    );
  });

  test('of two disjoint sets of rows gives the totals of both together', () => {
    fc.assert(
      fc.property(fc.array(anyRow, { maxLength: 6 }), fc.array(anyRow, { maxLength: 6 }), (a, b) => {
        expect(addTotals(sumOfRows(a), sumOfRows(b))).toEqual(sumOfRows([...a, ...b]));
      }),
    );
  });
});

describe('the JSON form', () => {
  test('brings totals back through text', () => {
    fc.assert(
      fc.property(anyTotals, (totals) => {
        expect(decodeTotals(JSON.parse(JSON.stringify(encodeTotals(totals))))).toEqual(totals);
      }),
    );
  });

  test.each([
    null,
    undefined,
    {},
    'totals',
    [],
    [1, 2, 3, 4],
    [1, 2, 3, 4, 5, 6],
    [-1, 0, 0, 0, 0],
    [1.5, 0, 0, 0, 0],
    [1, null, 0, 0, 0],
    [1, 0, '5', 0, 0],
    [1, 0, 0, '0', 0],
    [1, 0, 0, 0, Number.NaN],
  ])('rejects %j', (json) => {
    expect(() => decodeTotals(json)).toThrow(TypeError);
  });
});

/** The totals of rows, summed afresh. */
function sumOfRows(rows: readonly InventoryRow[]): Totals {
  const sum = (values: readonly Sum[]): Sum => {
    const exact = values.reduce<bigint>((total, value) => total + BigInt(value), 0n);
    return Number.isSafeInteger(Number(exact)) ? Number(exact) : exact;
  };
  return {
    items: rows.length,
    received: sum(rows.map(({ received }) => received)),
    sold: sum(rows.map(({ sold }) => sold)),
    oversoldItems: rows.filter((row) => onHandOf(row) < 0).length,
    outOfStockItems: rows.filter((row) => onHandOf(row) <= 0).length,
  };
}
