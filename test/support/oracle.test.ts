import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { RecordHeaders } from '../../schema/events.ts';
import { asOracleRow, foldLog, javaPartitionOf, type Oracle, type OracleRecord, totalsOf } from './oracle.ts';

const WINDOW = 10;

describe('the fold', () => {
  test('of the golden case is received 200, sold 120', () => {
    const { rows, deadLetters, duplicates } = fold([
      shipment({ offset: 0, value: '200', timestamp: 5 }),
      sale({ offset: 0, value: '20', timestamp: 6 }),
      sale({ offset: 1, value: '100', timestamp: -1 }),
    ]);
    expect(rows).toEqual(
      new Map([
        [
          '10/CA',
          {
            partition: 0,
            received: 200n,
            sold: 120n,
            shipmentsStamp: 0,
            salesStamp: 1,
            lastShipmentAt: 5,
            lastSaleAt: null,
          },
        ],
      ]),
    );
    expect([deadLetters, duplicates]).toEqual([[], []]);
  });

  test('takes records in the order of offsets, however they are given', () => {
    const records = [3, 1, 2, 0].map((offset) => sale({ offset, value: '1', timestamp: offset }));
    expect(rowOf(fold(records))).toMatchObject({ sold: 4n, salesStamp: 3, lastSaleAt: 3 });
    expect(fold(records)).toEqual(fold(records.toReversed()));
  });

  test('adds the largest counts up in both directions, and a count of 0 names its key', () => {
    const counts = ['1000000000', '1000000000', '-1000000000', '1000000000', '5'];
    const oracle = fold(counts.map((value, offset) => shipment({ offset, value })));
    expect(rowOf(oracle)).toMatchObject({ received: 2_000_000_005n });
    expect(rowOf(fold([sale({ offset: 0, value: '0' })]))).toMatchObject({ received: 0n, sold: 0n, salesStamp: 0 });
  });

  test('stops at the position, in each topic', () => {
    const records = [0, 1, 2].flatMap((offset) => [sale({ offset, value: '1' }), shipment({ offset, value: '10' })]);
    const upTo = (): { shipments: number; sales: number } => ({ shipments: 1, sales: 2 });
    const { rows } = foldLog(records, { partitions: 1, upTo });
    expect(rows.get('10/CA')).toMatchObject({ received: 10n, sold: 2n, shipmentsStamp: 0, salesStamp: 1 });
  });

  test('throws where one place comes twice', () => {
    expect(() => fold([sale({ offset: 4 }), sale({ offset: 4 })])).toThrow('two records at sales/0/4');
  });
});

describe('dead letters', () => {
  test.each<[string, Partial<RawRecord>]>([
    ['a null key', { key: null }],
    ['another separator', { key: '10:CA' }],
    ['an empty key', { key: '' }],
    ['dots', { key: '../CA' }],
    ['a line feed behind the key', { key: '10/CA\n' }],
    ['an id too long', { key: `10/${'x'.repeat(65)}` }],
    ['a null value', { value: null }],
    ['an empty value', { value: '' }],
    ['a sign', { value: '+5' }],
    ['leading zeros', { value: '007' }],
    ['a fraction', { value: '1.5' }],
    ['an exponent', { value: '1e3' }],
    ['no number', { value: 'NaN' }],
    ['30 digits', { value: '9'.repeat(30) }],
    ['a count above the bound', { value: '1000000001' }],
    ['a count below the bound', { value: '-1000000001' }],
    ['an empty event id', { headers: { 'event-id': '' } }],
    ['an illegal event id', { headers: { 'event-id': 'a/b' } }],
    ['an event id of null', { headers: { 'event-id': null } as unknown as RecordHeaders }],
    ['two event ids', { headers: { 'event-id': ['a', Buffer.from('a')] } }],
  ])('hold %s, and the good records around it count', (_, fault) => {
    const oracle = fold([sale({ offset: 0 }), sale({ offset: 1, ...fault }), sale({ offset: 2 })]);
    expect(oracle.deadLetters).toEqual([{ role: 'sales', partition: 0, offset: 1, reason: 'DECODE_FAILED' }]);
    expect(rowOf(oracle)).toMatchObject({ sold: 2n, salesStamp: 2 });
    expect(oracle.rows.size).toBe(1);
  });

  test('hold a record of another partition, which does not count', () => {
    const right = javaPartitionOf(Buffer.from('10/CA'), 12);
    const wrong = (right + 1) % 12;
    const records = [sale({ offset: 0, partition: right }), sale({ offset: 0, partition: wrong })];
    const oracle = foldLog(records, { partitions: 12 });
    expect(oracle.deadLetters).toEqual([{ role: 'sales', partition: wrong, offset: 0, reason: 'WRONG_PARTITION' }]);
    expect(rowOf(oracle)).toMatchObject({ partition: right, sold: 1n });
  });

  test.each([9e15, -2, 253_402_300_800_000, 0.5])('hold the timestamp %d, and the count counts', (timestamp) => {
    const oracle = fold([sale({ offset: 0, timestamp: 5 }), sale({ offset: 1, timestamp })]);
    expect(oracle.deadLetters).toEqual([{ role: 'sales', partition: 0, offset: 1, reason: 'TIMESTAMP_INVALID' }]);
    expect(rowOf(oracle)).toMatchObject({ sold: 2n, salesStamp: 1, lastSaleAt: null });
  });
});

describe('a duplicate', () => {
  const id = (eventId: string): { headers: RecordHeaders } => ({ headers: { 'event-id': eventId } });

  test('is the same key and event id within the window; the row keeps its stamp', () => {
    const oracle = fold([sale({ offset: 0, ...id('a') }), sale({ offset: WINDOW, ...id('a') })]);
    expect(oracle.duplicates).toEqual([{ role: 'sales', partition: 0, offset: WINDOW, conflict: false }]);
    expect(rowOf(oracle)).toMatchObject({ sold: 1n, salesStamp: 0 });
  });

  test('lies no further back than the window', () => {
    const oracle = fold([sale({ offset: 0, ...id('a') }), sale({ offset: WINDOW + 1, ...id('a') })]);
    expect(oracle.duplicates).toEqual([]);
    expect(rowOf(oracle)).toMatchObject({ sold: 2n });
  });

  test('may repeat a record that was itself one', () => {
    const oracle = fold([0, WINDOW, 2 * WINDOW].map((offset) => sale({ offset, ...id('a') })));
    expect(oracle.duplicates.map(({ offset }) => offset)).toEqual([WINDOW, 2 * WINDOW]);
    expect(rowOf(oracle)).toMatchObject({ sold: 1n });
  });

  test('with another count than the latest is a conflict, and does not count either', () => {
    const oracle = fold(['1', '2', '2'].map((value, offset) => sale({ offset, value, ...id('a') })));
    expect(oracle.duplicates.map(({ conflict }) => conflict)).toEqual([true, false]);
    expect(rowOf(oracle)).toMatchObject({ sold: 1n });
  });

  test('may have its id as text, as bytes or as a list of one', () => {
    const forms: RecordHeaders[string][] = ['a', Buffer.from('a'), ['a'], [Buffer.from('a')]];
    const oracle = fold(forms.map((form, offset) => sale({ offset, headers: { 'event-id': form } })));
    expect(oracle.duplicates.map(({ offset }) => offset)).toEqual([1, 2, 3]);
  });

  test('is not another key, another topic, another id, or no id at all', () => {
    const oracle = fold([
      sale({ offset: 0, ...id('a') }),
      sale({ offset: 1, ...id('a'), key: '10/CB' }),
      shipment({ offset: 2, ...id('a') }),
      sale({ offset: 3, ...id('b') }),
      sale({ offset: 4 }),
      sale({ offset: 5 }),
    ]);
    expect(oracle.duplicates).toEqual([]);
  });

  test('does not repeat a record that could not be decoded', () => {
    const oracle = fold([sale({ offset: 0, value: 'x', ...id('a') }), sale({ offset: 1, ...id('a') })]);
    expect(oracle.duplicates).toEqual([]);
    expect(rowOf(oracle)).toMatchObject({ sold: 1n });
  });
});

test('totals are those of all rows, of a store, of an item', () => {
  const { rows } = fold([
    shipment({ offset: 0, key: '10/CA', value: '5' }),
    shipment({ offset: 1, key: '10/CB', value: '7' }),
    sale({ offset: 0, key: '10/CB', value: '7' }),
    sale({ offset: 1, key: '11/CA', value: '2' }),
  ]);
  const totals = { items: 3, received: 12n, sold: 9n, oversoldItems: 1, outOfStockItems: 2 };
  expect(totalsOf(rows)).toEqual(totals);
  expect(totalsOf(rows, ({ storeId }) => storeId === '10')).toEqual({
    items: 2,
    received: 12n,
    sold: 7n,
    oversoldItems: 0,
    outOfStockItems: 1,
  });
  expect(totalsOf(rows, ({ itemId }) => itemId === 'CA')).toMatchObject({ items: 2, received: 5n, sold: 2n });
  expect(totalsOf(rows, (_, row) => row.partition === 0)).toEqual(totals);
});

test("a row of the product compares with one of the oracle's", () => {
  const oracle = fold([sale({ offset: 3, value: '2', timestamp: 9 })]);
  const row = { received: 0, sold: 2, shipmentsStamp: -1, salesStamp: 3, lastShipmentAt: null, lastSaleAt: 9 };
  expect(asOracleRow(row, 0)).toEqual(rowOf(oracle));
});

test("its partitioner, too, agrees with the Java client's vectors", () => {
  const file = new URL('../schema/partitioner-vectors.json', import.meta.url);
  const vectors = JSON.parse(readFileSync(file, 'utf8')) as { key: string; partitions: number; partition: number }[];
  const ours = vectors.map(({ key, partitions }) => javaPartitionOf(Buffer.from(key), partitions));
  expect(ours).toEqual(vectors.map(({ partition }) => partition));
});

interface RawRecord {
  readonly offset: number;
  readonly partition: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly timestamp: number;
  readonly headers: RecordHeaders;
}

function sale(fields: Partial<RawRecord> & { readonly offset: number }): OracleRecord {
  const { key = '10/CA', value = '1' } = fields;
  return {
    role: 'sales',
    partition: fields.partition ?? 0,
    offset: fields.offset,
    timestamp: fields.timestamp ?? 1,
    key: key === null ? null : Buffer.from(key),
    value: value === null ? null : Buffer.from(value),
    ...(fields.headers === undefined ? {} : { headers: fields.headers }),
  };
}

function shipment(fields: Partial<RawRecord> & { readonly offset: number }): OracleRecord {
  return { ...sale(fields), role: 'shipments' };
}

function fold(records: readonly OracleRecord[]): Oracle {
  return foldLog(records, { partitions: 1, dedupeWindow: WINDOW });
}

function rowOf(oracle: Oracle): unknown {
  return oracle.rows.get('10/CA');
}
