import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkId,
  decodeInventoryKey,
  ID_PATTERN,
  inventoryKey,
  parseInventoryKey,
  splitInventoryKey,
  storeOfKey,
} from '../../schema/inventory-key.ts';
import { anyId, anyKey } from '../support/arbitraries.ts';

/** Text in which most of what is illegal in a key, and some of what is legal, turns up. */
const almostKey = fc
  .array(fc.constantFrom('a', 'Z', '0', '.', '_', '-', '/', ':', ' ', '\n', 'é', '\0', 'a'.repeat(63)), {
    maxLength: 8,
  })
  .map((parts) => parts.join(''));

describe('inventoryKey', () => {
  test('joins two ids, and split gives them back', () => {
    fc.assert(
      fc.property(anyId, anyId, (storeId, itemId) => {
        const key = inventoryKey({ storeId, itemId });
        expect(key).toBe(`${storeId}/${itemId}`);
        expect(splitInventoryKey(key)).toEqual({ storeId, itemId });
        expect(storeOfKey(key)).toBe(storeId);
      }),
    );
  });

  test.each(['', '.', '..', '-a', 'a/b', 'a b', 'a:b', 'ä', 'a\n', 'x'.repeat(65)])(
    'throws BAD_USER_INPUT naming the field for the id %j',
    (id) => {
      const asStore = codeAndField(() => inventoryKey({ storeId: id, itemId: 'CA' }));
      expect(asStore).toEqual({ code: 'BAD_USER_INPUT', details: { field: 'storeId' } });
      const asItem = codeAndField(() => inventoryKey({ storeId: '10', itemId: id }));
      expect(asItem).toEqual({ code: 'BAD_USER_INPUT', details: { field: 'itemId' } });
    },
  );

  test('quotes a long id in part only', () => {
    expect(() => checkId('storeId', 'x'.repeat(100_000))).toThrow(/^.{1,250}$/);
  });
});

describe('parseInventoryKey and decodeInventoryKey', () => {
  test('accept every key, as text and as bytes', () => {
    fc.assert(
      fc.property(anyKey, (key) => {
        expect(parseInventoryKey(key)).toBe(key);
        expect(decodeInventoryKey(Buffer.from(key))).toBe(key);
      }),
    );
  });

  test('agree with each other and with the rule for ids on any text', () => {
    fc.assert(
      fc.property(fc.oneof(almostKey, fc.string()), (text) => {
        const ids = text.split('/');
        const legal = ids.length === 2 && ids.every((id) => ID_PATTERN.test(id));
        expect(parseInventoryKey(text)).toBe(legal ? text : undefined);
        expect(decodeInventoryKey(Buffer.from(text))).toBe(legal ? text : undefined);
      }),
      { numRuns: 2_000 },
    );
  });

  test('every byte is legal exactly where the rule says', () => {
    for (let byte = 0; byte < 256; byte++) {
      const character = String.fromCharCode(byte);
      const legal = ID_PATTERN.test(`a${character}`);
      expect(decodeInventoryKey(Buffer.from([0x61, 0x2f, 0x61, byte])) !== undefined).toBe(legal);
      const legalFirst = ID_PATTERN.test(character);
      expect(decodeInventoryKey(Buffer.from([byte, 0x2f, 0x61])) !== undefined).toBe(legalFirst);
    }
  });

  test('orders as text like its bytes, so that one store is one range', () => {
    fc.assert(
      fc.property(anyKey, anyKey, (a, b) => {
        expect(a < b).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0);
        const { storeId } = splitInventoryKey(a);
        expect(b >= `${storeId}/` && b < `${storeId}0`).toBe(storeOfKey(b) === storeId);
      }),
    );
  });
});

function codeAndField(call: () => unknown): unknown {
  try {
    call();
  } catch (error) {
    const { code, details } = error as { code: unknown; details: unknown };
    return { code, details };
  }
  return undefined;
}
