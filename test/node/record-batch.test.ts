// I8: whatever bytes a producer writes, the record lands in the dead letters with its place and the reason, and the good
// records around it are applied. Through the apply queue, so that decoding and storing agree.

import { describe, expect, test } from 'vitest';
import { openMemoryStore } from '../../node/memory-store.ts';
import { decodeBatch, markOf } from '../../node/record-batch.ts';
import type { LogRecord } from '../../schema/events.ts';
import { partitionOfKey } from '../../schema/partitioner.ts';
import { batchOf, keysOfPartition, openQueue, openShard, readStored, record } from '../support/shard-harness.ts';

const PARTITIONS = 12;
const GOOD = keysOfPartition(0, PARTITIONS, { count: 1 })[0] ?? '';
const ELSEWHERE = keysOfPartition(5, PARTITIONS, { count: 1 })[0] ?? '';
const LONG = 'x'.repeat(65);
const NOT_APPLIED = { applied: false };

/** What is wrong → key, value and more, as written. */
const UNDECODABLE: Record<string, LogRecord> = {
  'a wrong separator': record(0, '10:CA', 1),
  'a backslash': record(0, '10\\CA', 1),
  'no separator': record(0, '10CA', 1),
  'two separators': record(0, '10/CA/1', 1),
  'an empty store id': record(0, '/CA', 1),
  'an empty item id': record(0, '10/', 1),
  'an empty key': record(0, '', 1),
  'a null key': record(0, null, 1),
  'an illegal character': record(0, '10/C A', 1),
  'a letter beyond ASCII': record(0, '10/Größe', 1),
  'a null character': record(0, '10/CA\0', 1),
  'a line break at the end': record(0, '10/CA\n', 1),
  'the store id .': record(0, './CA', 1),
  'the item id ..': record(0, '10/..', 1),
  'an over-long store id': record(0, `${LONG}/CA`, 1),
  'an over-long item id': record(0, `10/${LONG}`, 1),
  'a key of a megabyte': record(0, Buffer.alloc(1024 * 1024, 0x61), 1),
  'a binary key': record(0, Buffer.from([0xff, 0xfe, 0x2f, 0x00]), 1),
  'a null value': record(0, GOOD, null),
  'an empty value': record(0, GOOD, ''),
  'a fraction': record(0, GOOD, '1.5'),
  'a plus sign': record(0, GOOD, '+5'),
  'leading zeros': record(0, GOOD, '007'),
  'an exponent': record(0, GOOD, '1e3'),
  hexadecimal: record(0, GOOD, '0x10'),
  NaN: record(0, GOOD, 'NaN'),
  Infinity: record(0, GOOD, 'Infinity'),
  'thirty digits': record(0, GOOD, '1'.repeat(30)),
  'one above the largest count': record(0, GOOD, '1000000001'),
  'one below the smallest count': record(0, GOOD, '-1000000001'),
  'a lone minus': record(0, GOOD, '-'),
  'two minuses': record(0, GOOD, '--1'),
  'a minus before a leading zero': record(0, GOOD, '-01'),
  'a space before': record(0, GOOD, ' 1'),
  'a line break behind': record(0, GOOD, '1\n'),
  JSON: record(0, GOOD, '{"count":1}'),
  'a binary value': record(0, GOOD, Buffer.from([0, 0, 0, 0, 0, 0, 0, 5])),
  'other digits of Unicode': record(0, GOOD, '٥'),
  'an empty event id': record(0, GOOD, 1, { eventId: '' }),
  'an over-long event id': record(0, GOOD, 1, { eventId: LONG }),
  'an event id with a space': record(0, GOOD, 1, { eventId: 'a b' }),
  'a binary event id': record(0, GOOD, 1, { headers: { 'event-id': Buffer.from([0xff]) } }),
  'two event ids': record(0, GOOD, 1, { headers: { 'event-id': [Buffer.from('a'), Buffer.from('b')] } }),
  // The client hands a header without a value over as null, whatever its types say.
  'an event id that is null': record(0, GOOD, 1, { headers: { 'event-id': null as never } }),
};

describe('a record that is no event', () => {
  test.each(Object.entries(UNDECODABLE))('with %s goes to the dead letters', async (_, bad) => {
    const { stored, outbox } = await applyAround(bad);
    expect(outbox).toMatchObject([{ ...PLACE, reason: 'DECODE_FAILED', applied: false, timestamp: bad.timestamp }]);
    expect(outbox[0]?.message).toMatch(/key|value|event-id/);
    expect(stored.rows.get(GOOD)).toMatchObject({ sold: 11n });
    expect(stored.rows.size).toBe(1);
    expect(stored.position.sales).toBe(3);
  });

  test('keeps its bytes, the first 1,024 of each, so that people can see them', async () => {
    const value = Buffer.from(Array.from({ length: 2_000 }, (_, i) => i % 256));
    const { outbox } = await applyAround(record(0, 'no key', value));
    expect(Buffer.from(outbox[0]?.key ?? '', 'base64').toString()).toBe('no key');
    expect(Buffer.from(outbox[0]?.value ?? '', 'base64')).toEqual(value.subarray(0, 1_024));
    const withNulls = await applyAround(record(0, null, null));
    expect(withNulls.outbox[0]).toMatchObject({ key: null, value: null });
  });
});

describe('a record of another partition', () => {
  test('goes to the dead letters, its partition and the client setting named', async () => {
    const { stored, outbox } = await applyAround(record(0, ELSEWHERE, 7));
    expect(outbox).toMatchObject([{ ...PLACE, reason: 'WRONG_PARTITION', ...NOT_APPLIED }]);
    expect(outbox[0]?.message).toContain('belongs to partition 5 of 12 and was written to 0');
    expect(outbox[0]?.message).toContain('partitioner=murmur2_random');
    expect([...stored.rows.keys()]).toEqual([GOOD]);
  });

  test('stays one however often it comes: a row is held only of keys that belong here', async () => {
    const store = openMemoryStore();
    const { queue } = openQueue(store, PARTITIONS);
    const shard = await openShard({ store });
    for (let offset = 0; offset < 3; offset++) {
      await queue.submit(shard, 'sales', batchOf('sales', 0, [record(offset, ELSEWHERE, 1)]));
    }
    const stored = await readStored(store, 0);
    expect(stored.deadLetters.map(({ offset, reason }) => [offset, reason])).toEqual([
      [0, 'WRONG_PARTITION'],
      [1, 'WRONG_PARTITION'],
      [2, 'WRONG_PARTITION'],
    ]);
    expect(partitionOfKey(ELSEWHERE, PARTITIONS)).toBe(5);
    expect(stored.rows.size).toBe(0);
  });
});

describe('a timestamp that is no date', () => {
  test.each([9e15, 253_402_300_800_000, -2, Number.NaN])(
    '%d: the count is applied without a time, and a dead letter tells',
    async (timestamp) => {
      const { stored, outbox } = await applyAround(record(0, GOOD, 100, { timestamp }), 'last');
      expect(outbox).toMatchObject([
        { topic: 'sales', partition: 0, offset: 2, reason: 'TIMESTAMP_INVALID', applied: true },
      ]);
      expect(stored.rows.get(GOOD)).toMatchObject({ sold: 111n, lastSaleAt: null });
    },
  );

  test.each([-1, 0, 253_402_300_799_999])('%d is none of these', async (timestamp) => {
    const { stored, outbox } = await applyAround(record(0, GOOD, 100, { timestamp }), 'last');
    expect(outbox).toEqual([]);
    expect(stored.rows.get(GOOD)).toMatchObject({ sold: 111n, lastSaleAt: timestamp === -1 ? null : timestamp });
  });
});

describe('decodeBatch', () => {
  const options = { role: 'sales', partitions: PARTITIONS, holds: () => false } as const;

  test('passes over what lies below the offset to begin with, bad records too', () => {
    const records = [record(0, 'bad', 1), record(1, GOOD, 1), record(5, GOOD, 2), record(6, 'bad', 1)];
    const decoded = decodeBatch(batchOf('sales', 0, records, { nextOffset: 9 }), { ...options, fromOffset: 5 });
    expect(decoded.events.map(({ offset, count }) => [offset, count])).toEqual([[5, 2]]);
    expect(decoded.deadLetters.map(({ offset }) => offset)).toEqual([6]);
    expect(decoded).toMatchObject({ nextOffset: 9, mark: { offset: 6 } });
  });

  test('has no mark where it took no record', () => {
    const all = batchOf('sales', 0, [record(0, GOOD, 1)], { nextOffset: 3 });
    expect(decodeBatch(all, { ...options, fromOffset: 1 }).mark).toBeNull();
    expect(decodeBatch(batchOf('sales', 0, []), { ...options, fromOffset: 0 }).mark).toBeNull();
  });

  test('marks a bad record as well as a good one: it names a place in the log, not an event', () => {
    const bad = record(3, 'bad', null);
    expect(decodeBatch(batchOf('sales', 0, [bad]), { ...options, fromOffset: 0 }).mark).toEqual(markOf(bad));
  });
});

describe('markOf', () => {
  test.each<[string, LogRecord]>([
    ['key', record(7, '10/CB', '5', { timestamp: 1 })],
    ['value', record(7, '10/CA', '6', { timestamp: 1 })],
    ['timestamp', record(7, '10/CA', '5', { timestamp: 2 })],
    ['border between key and value', record(7, '10/C', 'A5', { timestamp: 1 })],
    ['key that is null', record(7, null, '10/CA5', { timestamp: 1 })],
    ['value that is null', record(7, '10/CA5', null, { timestamp: 1 })],
  ])('tells records apart by their %s', (_, other) => {
    const mark = markOf(record(7, '10/CA', '5', { timestamp: 1 }));
    expect(mark).toEqual({ offset: 7, digest: expect.stringMatching(/^[0-9a-f]{32}$/) as string });
    expect(markOf(other).digest).not.toBe(mark.digest);
  });

  test('an empty value is not a null one', () => {
    expect(markOf(record(7, '10/CA', '')).digest).not.toBe(markOf(record(7, '10/CA', null)).digest);
  });
});

const PLACE = { topic: 'sales', partition: 0, offset: 1 };

/** Applies sales of 1 and 10, with `bad` between or behind them; what the store then holds. */
async function applyAround(
  bad: LogRecord,
  where: 'between' | 'last' = 'between',
): Promise<{
  stored: Awaited<ReturnType<typeof readStored>>;
  outbox: Awaited<ReturnType<typeof readStored>>['deadLetters'];
}> {
  const store = openMemoryStore();
  const { queue, counts } = openQueue(store, PARTITIONS);
  const shard = await openShard({ store });
  const records = [record(0, GOOD, 1), where === 'between' ? { ...bad, offset: 1 } : record(1, GOOD, 10)];
  records.push(where === 'between' ? record(2, GOOD, 10) : { ...bad, offset: 2 });
  await queue.submit(shard, 'sales', batchOf('sales', 0, records));
  const stored = await readStored(store, 0);
  expect(shard.outboxSize).toBe(stored.deadLetters.length);
  expect(counts.applied).toBe(where === 'between' ? 2 : 3);
  return { stored, outbox: stored.deadLetters };
}
