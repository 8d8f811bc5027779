import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCursor, encodeCursor, type PagedList, type PagePlace } from '../../schema/cursor.ts';
import type { RowFilter, RowOrder } from '../../schema/shard-api.ts';
import { anyId } from '../support/arbitraries.ts';

const filter: fc.Arbitrary<RowFilter> = fc.record(
  { onHandBelow: fc.maxSafeInteger(), onHandAbove: fc.maxSafeInteger(), oversold: fc.boolean(), itemIdPrefix: anyId },
  { requiredKeys: [] },
);
const list: fc.Arbitrary<PagedList> = fc.oneof(
  fc.record({
    kind: fc.constant('storeItems' as const),
    storeId: anyId,
    filter,
    order: fc.constantFrom<RowOrder>('ITEM_ID', 'ON_HAND_ASC', 'ON_HAND_DESC'),
  }),
  fc.record({ kind: fc.constant('itemStores' as const), itemId: anyId }),
);
const sum = fc.oneof(fc.maxSafeInteger(), fc.constantFrom(2n ** 53n, -(2n ** 60n), 0));
const place: fc.Arbitrary<PagePlace> = fc.record({ id: anyId, onHand: sum });
const STORE: PagedList = { kind: 'storeItems', storeId: '10', filter: {}, order: 'ITEM_ID' };

describe('a cursor', () => {
  test('comes back as the place it was made of', () => {
    fc.assert(
      fc.property(list, place, (of, at) => {
        const cursor = encodeCursor(of, at);
        expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/);
        expect(decodeCursor(of, cursor)).toEqual(at);
      }),
    );
  });

  test('is refused with any other list', () => {
    fc.assert(
      fc.property(list, list, place, (one, other, at) => {
        fc.pre(JSON.stringify(one) !== JSON.stringify(other));
        expect(() => decodeCursor(other, encodeCursor(one, at))).toThrow(
          expect.objectContaining({ code: 'CURSOR_INVALID' }),
        );
      }),
    );
  });

  test('is refused when one character of it has changed, is missing or has been added', () => {
    const cursor = encodeCursor(STORE, { id: 'CA-1', onHand: 80 });
    const alphabet = 'ABab01_-=+/ ';
    for (let i = 0; i < cursor.length; i++) {
      const wrong = alphabet
        .split('')
        .filter((c) => c !== cursor[i])
        .map((c) => cursor.slice(0, i) + c + cursor.slice(i + 1));
      for (const text of [...wrong, cursor.slice(0, i), `${cursor}${alphabet[i % 12]}`]) {
        expect(() => decodeCursor(STORE, text)).toThrow(expect.objectContaining({ code: 'CURSOR_INVALID' }));
      }
    }
  });

  test('is refused when it is no cursor at all', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.base64String(), fc.string({ minLength: 300 })), (text) => {
        expect(() => decodeCursor(STORE, text)).toThrow(expect.objectContaining({ code: 'CURSOR_INVALID' }));
      }),
    );
  });

  test('of version 1 stays what it is: clients keep them', () => {
    const cursor = 'MSAxM2o4YTRhMTJxNHpmZyAwIENBIGkzbXNlcA';
    expect(encodeCursor(STORE, { id: 'CA', onHand: 0 })).toBe(cursor);
    expect(decodeCursor(STORE, cursor)).toEqual({ id: 'CA', onHand: 0 });
  });
});
