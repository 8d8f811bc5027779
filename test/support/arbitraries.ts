// Generators (fast-check) of the product's values, for properties.

import * as fc from 'fast-check';
import { COUNT_MAX, type TopicRole } from '../../schema/events.ts';
import { type InventoryKey, inventoryKey } from '../../schema/inventory-key.ts';
import type { InventoryRow } from '../../schema/inventory-row.ts';
import { addSums, type Sum } from '../../schema/sum.ts';

const ALPHANUMERIC = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'.split('');

/** A store's or item's id. */
export const anyId: fc.Arbitrary<string> = fc
  .tuple(
    fc.constantFrom(...ALPHANUMERIC),
    fc
      .array(fc.constantFrom(...ALPHANUMERIC, '.', '_', '-'), { maxLength: 63 })
      .map((characters) => characters.join('')),
  )
  .map(([first, rest]) => first + rest);

export const anyKey: fc.Arbitrary<InventoryKey> = fc.record({ storeId: anyId, itemId: anyId }).map(inventoryKey);

export const anyRole: fc.Arbitrary<TopicRole> = fc.constantFrom('shipments', 'sales');

export const anyCount: fc.Arbitrary<number> = fc.oneof(
  fc.integer({ min: -COUNT_MAX, max: COUNT_MAX }),
  fc.integer({ min: -3, max: 3 }),
);

/** Whole numbers up to ±2^63, those beside the edges of 2^31 and 2^53 often. */
export const anyBigInt: fc.Arbitrary<bigint> = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc
    .tuple(fc.constantFrom(0n, 2n ** 31n, 2n ** 53n, -(2n ** 31n), -(2n ** 53n)), fc.bigInt({ min: -3n, max: 3n }))
    .map(([edge, beside]) => edge + beside),
);

export const anySum: fc.Arbitrary<Sum> = anyBigInt.map((value) => addSums(0, value));

export const anyOffset: fc.Arbitrary<number> = fc.maxSafeNat();

export const anyTime: fc.Arbitrary<number | null> = fc.option(fc.nat(253_402_300_799_999));

/** A row as the store or the wire may carry it; its fields need not fit together. */
export const anyRow: fc.Arbitrary<InventoryRow> = fc.record({
  received: anySum,
  sold: anySum,
  shipmentsStamp: fc.oneof(fc.constant(-1), anyOffset),
  salesStamp: fc.oneof(fc.constant(-1), anyOffset),
  lastShipmentAt: anyTime,
  lastSaleAt: anyTime,
});
