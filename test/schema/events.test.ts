import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  COUNT_MAX,
  decodeEvent,
  encodeCount,
  EVENT_ID_PATTERN,
  isEventTime,
  type LogRecord,
  type RecordHeaders,
} from '../../schema/events.ts';
import { anyCount, anyKey, anyRole } from '../support/arbitraries.ts';
import { foldLog } from '../support/oracle.ts';

/** A client may hand over null for a header without a value, whatever the types say. */
const NULL_HEADER = { 'event-id': null } as unknown as RecordHeaders;

describe('decodeEvent', () => {
  test('reads a record of text key, text count, event time and event id', () => {
    const record = logRecord({ headers: { 'event-id': Buffer.from('receipt-1'), source: Buffer.from('till 7') } });
    expect(decodeEvent('sales', record)).toEqual({
      kind: 'event',
      role: 'sales',
      key: '10/CA',
      count: 20,
      time: 1_700_000_000_000,
      eventId: 'receipt-1',
      offset: 7,
      timestampInvalid: false,
    });
  });

  test('reads any key, count and role back', () => {
    fc.assert(
      fc.property(anyRole, anyKey, anyCount, (role, key, count) => {
        const record = logRecord({ key: Buffer.from(key), value: Buffer.from(encodeCount(count)) });
        expect(decodeEvent(role, record)).toMatchObject({ kind: 'event', role, key, count });
      }),
    );
  });

  test('never throws, and never passes a count, key or time out of bounds, whatever the bytes (I8)', () => {
    const bytes = fc.option(fc.uint8Array({ maxLength: 140 }).map((list) => Buffer.from(list)));
    const header = fc.oneof(bytes, fc.string(), fc.array(fc.string()), fc.constant(undefined));
    fc.assert(
      fc.property(bytes, bytes, fc.double(), header, (key, value, timestamp, eventId) => {
        const headers = { 'event-id': eventId } as RecordHeaders;
        expect(decodeEvent('sales', { offset: 7, timestamp, key, value, headers })).toSatisfy(isInBounds);
      }),
    );
  });
});

test('decodeEvent and the oracle agree on any record: an event with the same count and time, or none', () => {
  const piece = fc.constantFrom('1', '0', '9', '-', '+', '.', 'e', ' ', 'a', '/', '10/CA', '1000000000', '\n', 'é');
  const text = fc.array(piece, { maxLength: 4 }).map((parts) => parts.join(''));
  const value = fc.oneof(text, anyCount.map(String));
  const key = fc.oneof(text, fc.constant('10/CA'));
  const eventId = fc.oneof(text, fc.constant(undefined), fc.array(text, { maxLength: 2 }));
  const timestamp = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.maxSafeInteger());
  fc.assert(
    fc.property(key, value, eventId, timestamp, (keyText, valueText, header, time) => {
      const bytes = { key: Buffer.from(keyText), value: Buffer.from(valueText) };
      const record = logRecord({ ...bytes, timestamp: time, headers: { 'event-id': header } });
      const { rows, deadLetters } = foldLog([{ ...record, role: 'sales', partition: 0 }], { partitions: 1 });
      const event = decodeEvent('sales', record);
      const expected = event.kind === 'failure' ? [] : [[event.key, BigInt(event.count), event.time]];
      expect([...rows].map(([rowKey, row]) => [rowKey, row.sold, row.lastSaleAt])).toEqual(expected);
      const reported = event.kind === 'failure' || event.timestampInvalid;
      expect(deadLetters).toHaveLength(reported ? 1 : 0);
    }),
    { numRuns: 2_000 },
  );
});

describe('a key that is no storeId/itemId', () => {
  const long = 'x'.repeat(65);
  test.each([
    ['another separator, as in the Java example', '100:48069'],
    ['no separator', '10'],
    ['an empty key', ''],
    ['an empty store', '/CA'],
    ['an empty item', '10/'],
    ['two separators', '10/CA/1'],
    ['a slash alone', '/'],
    ['a dot', './CA'],
    ['two dots', '10/..'],
    ['a first character that may only follow', '-1/CA'],
    ['an underscore first', '10/_CA'],
    ['a space', '10/C A'],
    ['a space behind', '10/CA '],
    ['a line feed behind', '10/CA\n'],
    ['a null byte', '10/CA\0'],
    ['letters beyond ASCII', '10/Größe'],
    ['a store too long', `${long}/CA`],
    ['an item too long', `10/${long}`],
  ])('fails: %s', (_, key) => {
    expect(failureOf({ key: Buffer.from(key) })).toMatch(/^the key is no storeId\/itemId/);
  });

  test('fails where it is null or binary, and quotes no more than the beginning of a long one', () => {
    expect(failureOf({ key: null })).toMatch(/^the key is null/);
    expect(failureOf({ key: Buffer.from([0xff, 0xfe, 0x2f, 0x80]) })).toMatch(/^the key is no storeId\/itemId/);
    expect(failureOf({ key: Buffer.alloc(1_000_000, 'k') }).length).toBeLessThan(200);
  });

  test('passes with 64 characters on either side', () => {
    const key = `${'s'.repeat(64)}/${'i'.repeat(64)}`;
    expect(decodeEvent('sales', logRecord({ key: Buffer.from(key) }))).toMatchObject({ kind: 'event', key });
  });
});

describe('a value', () => {
  test.each([
    ['0', 0],
    ['-0', 0],
    ['1', 1],
    ['-1', -1],
    ['10', 10],
    ['999999999', 999_999_999],
    ['1000000000', COUNT_MAX],
    ['-1000000000', -COUNT_MAX],
  ])('%s is a count', (text, count) => {
    const event = decodeEvent('sales', logRecord({ value: Buffer.from(text) }));
    expect(event).toMatchObject({ kind: 'event', count });
    expect('count' in event && Object.is(event.count, -0)).toBe(false);
  });

  test.each([
    '',
    '-',
    '--1',
    '+5',
    '007',
    '00',
    '-01',
    '1.5',
    '1e3',
    '0x10',
    'NaN',
    'Infinity',
    '1,000',
    ' 1',
    '1 ',
    '1\n',
    '１',
    '1000000001',
    '-1000000001',
    '9999999999',
    '4294967297',
    '12345678901',
    '9'.repeat(30),
    '{"count":1}',
    'null',
    '-1-',
    '/',
    ':',
  ])('fails: %j', (text) => {
    expect(failureOf({ value: Buffer.from(text) })).toMatch(/^the value is no count within ±1000000000/);
  });

  test('fails where it is null or binary', () => {
    expect(failureOf({ value: null })).toMatch(/^the value is null/);
    expect(failureOf({ value: Buffer.from([0, 0, 0, 20]) })).toMatch(/^the value is no count/);
    expect(failureOf({ value: Buffer.from([0xb1]) })).toMatch(/^the value is no count/);
  });
});

describe('the header event-id', () => {
  test.each<[string, RecordHeaders | undefined, string | null]>([
    ['without headers', undefined, null],
    ['without that header', { source: 'till' }, null],
    ['as bytes', { 'event-id': Buffer.from('A-1.b_2') }, 'A-1.b_2'],
    ['as text', { 'event-id': 'A-1.b_2' }, 'A-1.b_2'],
    ['as a list of one', { 'event-id': [Buffer.from('A-1.b_2')] }, 'A-1.b_2'],
    ['with punctuation first', { 'event-id': Buffer.from('-._') }, '-._'],
    ['of 64 characters', { 'event-id': Buffer.alloc(64, 'x') }, 'x'.repeat(64)],
  ])('is read %s', (_, headers, eventId) => {
    expect(decodeEvent('sales', logRecord(headers === undefined ? {} : { headers }))).toMatchObject({ eventId });
  });

  // Ignoring a malformed id could count a retry twice.
  test.each<[string, RecordHeaders]>([
    ['empty bytes', { 'event-id': Buffer.alloc(0) }],
    ['empty text', { 'event-id': '' }],
    ['null', NULL_HEADER],
    ['65 bytes', { 'event-id': Buffer.alloc(65, 'x') }],
    ['65 characters', { 'event-id': 'x'.repeat(65) }],
    ['a space', { 'event-id': Buffer.from('a b') }],
    ['a slash', { 'event-id': 'a/b' }],
    ['a line feed behind', { 'event-id': Buffer.from('a\n') }],
    ['letters beyond ASCII', { 'event-id': Buffer.from('Größe') }],
    ['two values', { 'event-id': [Buffer.from('a'), Buffer.from('b')] }],
    ['the same value twice', { 'event-id': ['a', 'a'] }],
    ['an empty list', { 'event-id': [] }],
    ['a list of one that is empty', { 'event-id': [''] }],
  ])('fails: %s', (_, headers) => {
    expect(failureOf({ headers })).toMatch(/^the header event-id/);
  });

  test('is the same for the same characters as bytes and as text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 70 }), (text) => {
        const asText = decodeEvent('sales', logRecord({ headers: { 'event-id': text } }));
        const asBytes = decodeEvent('sales', logRecord({ headers: { 'event-id': Buffer.from(text) } }));
        expect(asBytes).toEqual(asText);
      }),
    );
  });
});

describe('a timestamp', () => {
  test.each([0, 1, 1_700_000_000_000, 253_402_300_799_999])('%d is an event time', (timestamp) => {
    expect(decodeEvent('sales', logRecord({ timestamp }))).toMatchObject({ time: timestamp, timestampInvalid: false });
  });

  test('−1 is none, and nothing is wrong with that', () => {
    expect(decodeEvent('sales', logRecord({ timestamp: -1 }))).toMatchObject({ time: null, timestampInvalid: false });
  });

  test.each([9e15, 253_402_300_800_000, -2, Number.MIN_SAFE_INTEGER, 1.5, Number.NaN, Number.POSITIVE_INFINITY])(
    '%d is no date: the count holds, without a time, and the record is reported',
    (timestamp) => {
      const event = decodeEvent('sales', logRecord({ timestamp }));
      expect(event).toMatchObject({ kind: 'event', count: 20, time: null, timestampInvalid: true });
    },
  );

  test('every event time has text in RFC 3339', () => {
    fc.assert(
      fc.property(fc.nat(253_402_300_799_999), (timestamp) => {
        expect(isEventTime(timestamp)).toBe(true);
        expect(new Date(timestamp).toISOString()).toMatch(/^\d{4}-/);
      }),
    );
  });
});

function failureOf(fields: Partial<LogRecord>): string {
  const event = decodeEvent('sales', logRecord(fields));
  if (event.kind !== 'failure') throw new Error(`expected a failure, got ${JSON.stringify(event)}`);
  expect(event.offset).toBe(7);
  return event.message;
}

function isInBounds(event: ReturnType<typeof decodeEvent>): boolean {
  if (event.kind === 'failure') return event.offset === 7 && event.message !== '';
  return (
    /^[^/]{1,64}\/[^/]{1,64}$/.test(event.key) &&
    Number.isInteger(event.count) &&
    Math.abs(event.count) <= COUNT_MAX &&
    (event.time === null || isEventTime(event.time)) &&
    (event.eventId === null || EVENT_ID_PATTERN.test(event.eventId))
  );
}

/** A sale of 20 of item CA in store 10, with `fields` instead. */
function logRecord(fields: Partial<LogRecord>): LogRecord {
  const timestamp = 1_700_000_000_000;
  return { offset: 7, timestamp, key: Buffer.from('10/CA'), value: Buffer.from('20'), ...fields };
}
