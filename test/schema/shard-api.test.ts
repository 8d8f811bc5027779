// The wire form between gateway and node: what one side encodes the other reads back, and nothing malformed gets through
// or crashes anything.

import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { INTERNAL_CODES, PUBLIC_CODES, type ErrorCode } from '../../schema/errors.ts';
import {
  decodeAnswers,
  decodeReadsRequest,
  encodeAnswers,
  encodeReadsRequest,
  KEYS_MAX,
  type Page,
  PAGE_ROWS_MAX,
  PROTOCOL_VERSION,
  type ReadKind,
  READS_MAX,
  type ShardAnswer,
  type ShardRead,
  type ShardReadValues,
} from '../../schema/shard-api.ts';
import { SHARD_STATE_NAMES } from '../../schema/topology.ts';
import type { Totals } from '../../schema/totals.ts';
import { anyId, anyKey, anyOffset, anyRow, anySum } from '../support/arbitraries.ts';

const anyPartition = fc.nat(65_534);
const anyLimit = fc.integer({ min: 1, max: PAGE_ROWS_MAX });

const ANY_READ: { readonly [Kind in ReadKind]: fc.Arbitrary<ShardRead> } = {
  rows: fc.record({
    kind: fc.constant('rows' as const),
    partition: anyPartition,
    keys: fc.array(anyKey, { maxLength: 4 }),
  }),
  totals: fc.record({ kind: fc.constant('totals' as const), partition: anyPartition }),
  status: fc.record({ kind: fc.constant('status' as const), partition: anyPartition }),
  storeTotals: fc.record({ kind: fc.constant('storeTotals' as const), partition: anyPartition, storeId: anyId }),
  itemTotals: fc.record({
    kind: fc.constant('itemTotals' as const),
    partition: anyPartition,
    itemId: anyId,
    scanRowsMax: fc.nat(),
  }),
  storePage: fc.record({
    kind: fc.constant('storePage' as const),
    partition: anyPartition,
    storeId: anyId,
    order: fc.constantFrom('ITEM_ID', 'ON_HAND_ASC', 'ON_HAND_DESC'),
    filter: fc.record(
      { onHandBelow: fc.integer(), onHandAbove: fc.integer(), oversold: fc.boolean(), itemIdPrefix: anyId },
      { requiredKeys: [], noNullPrototype: true },
    ),
    after: fc.option(fc.record({ itemId: anyId, onHand: anySum }), { nil: null }),
    limit: anyLimit,
    scanRowsMax: fc.nat(),
  }),
  itemPage: fc.record({
    kind: fc.constant('itemPage' as const),
    partition: anyPartition,
    itemId: anyId,
    afterStoreId: fc.option(anyId, { nil: null }),
    limit: anyLimit,
  }),
};

const anyTotals: fc.Arbitrary<Totals> = fc.record({
  items: fc.nat(),
  received: anySum,
  sold: anySum,
  oversoldItems: fc.nat(),
  outOfStockItems: fc.nat(),
});
const anyPage: fc.Arbitrary<Page> = fc.record({
  rows: fc.array(fc.record({ key: anyKey, row: anyRow }), { maxLength: 4 }),
  scannedTo: fc.option(anyId),
});
const anyProgress = fc.record({ nextOffset: anyOffset, endOffset: fc.option(anyOffset) });

const ANY_VALUE: { readonly [Kind in Exclude<ReadKind, 'rows'>]: fc.Arbitrary<ShardReadValues[Kind]> } = {
  totals: anyTotals,
  status: fc.record({
    state: fc.constantFrom(...SHARD_STATE_NAMES),
    shipments: anyProgress,
    sales: anyProgress,
  }),
  storeTotals: fc.option(anyTotals),
  itemTotals: fc.option(anyTotals),
  storePage: anyPage,
  itemPage: anyPage,
};

const anyRead = fc.oneof(...Object.values(ANY_READ));
const anyCode = fc.constantFrom(...(Object.keys({ ...PUBLIC_CODES, ...INTERNAL_CODES }) as ErrorCode[]));
const anyRefusal = fc.record({ ok: fc.constant(false as const), code: anyCode, message: fc.string() });
const anyExchange = anyRead.chain((read) => fc.tuple(fc.constant(read), fc.oneof(anyRefusal, anyAnswerTo(read))));

describe('a request', () => {
  test('of any reads of every kind comes back as it was', () => {
    fc.assert(
      fc.property(fc.string(), fc.array(anyRead, { maxLength: 6 }), (incarnation, reads) => {
        const request = { incarnation, reads };
        expect(decodeReadsRequest(encodeReadsRequest(request))).toEqual(request);
      }),
      { numRuns: 300 },
    );
  });

  test.each<[string, string]>([
    ['no JSON', '{'],
    ['nothing', ''],
    ['a list', '[]'],
    ['null', 'null'],
    ['no protocol', '{"incarnation":"i","reads":[]}'],
    ['another protocol', JSON.stringify({ protocol: PROTOCOL_VERSION + 1, incarnation: 'i', reads: [] })],
    ['no incarnation', JSON.stringify({ protocol: PROTOCOL_VERSION, reads: [] })],
    ['no reads', JSON.stringify({ protocol: PROTOCOL_VERSION, incarnation: 'i' })],
    ['reads that are no list', requestText({ length: 3 })],
    ['too many reads', requestText(Array.from({ length: READS_MAX + 1 }, () => ({ kind: 'totals', partition: 0 })))],
    ['nesting as deep as JSON.parse goes', '['.repeat(5_000) + ']'.repeat(5_000)],
  ])('is rejected with a TypeError: %s', (_, body) => {
    expect(() => decodeReadsRequest(body)).toThrow(TypeError);
  });

  const page = {
    kind: 'storePage',
    partition: 0,
    storeId: '10',
    order: 'ITEM_ID',
    filter: {},
    after: null,
    limit: 1,
    scanRowsMax: 1,
  };
  test.each<[string, unknown]>([
    ['null', null],
    ['an unknown kind', { kind: 'rowz', partition: 0 }],
    ['a kind out of the prototype', { kind: 'toString', partition: 0 }],
    ['no partition', { kind: 'totals' }],
    ['a negative partition', { kind: 'totals', partition: -1 }],
    ['half a partition', { kind: 'totals', partition: 0.5 }],
    ['a partition as text', { kind: 'totals', partition: '0' }],
    ['keys that are no list', { kind: 'rows', partition: 0, keys: '10/CA' }],
    ['a key that is none', { kind: 'rows', partition: 0, keys: ['10:CA'] }],
    ['a key that is no text', { kind: 'rows', partition: 0, keys: [10] }],
    ['too many keys', { kind: 'rows', partition: 0, keys: Array.from({ length: KEYS_MAX + 1 }, () => '10/CA') }],
    ['no store id', { kind: 'storeTotals', partition: 0 }],
    ['a store id that is none', { kind: 'storeTotals', partition: 0, storeId: '10/CA' }],
    ['an item id beyond ASCII', { kind: 'itemTotals', partition: 0, itemId: 'Größe', scanRowsMax: 1 }],
    ['no scan limit', { kind: 'itemTotals', partition: 0, itemId: 'CA' }],
    ['an unknown order', { ...page, order: 'ITEM' }],
    ['no filter', { ...page, filter: undefined }],
    ['a filter of half a unit', { ...page, filter: { onHandBelow: 0.5 } }],
    ['a filter that is neither true nor false', { ...page, filter: { oversold: 'yes' } }],
    ['a prefix that is no text', { ...page, filter: { itemIdPrefix: 1 } }],
    ['a place without its sum', { ...page, after: { itemId: 'CA' } }],
    ['a place without its item', { ...page, after: { onHand: 1 } }],
    ['no limit', { ...page, limit: undefined }],
    ['a limit of 0', { ...page, limit: 0 }],
    ['a limit too high', { ...page, limit: PAGE_ROWS_MAX + 1 }],
    ['an item page without its start', { kind: 'itemPage', partition: 0, itemId: 'CA', limit: 1 }],
    ['a start that is no id', { kind: 'itemPage', partition: 0, itemId: 'CA', limit: 1, afterStoreId: '' }],
  ])('with a malformed read is rejected with a TypeError: %s', (_, read) => {
    expect(() => decodeReadsRequest(requestText([read]))).toThrow(TypeError);
    expect(decodeReadsRequest(requestText([page])).reads).toEqual([page]);
  });

  test('of any JSON whatever is a request or a TypeError', () => {
    const anyFields = fc.dictionary(fc.constantFrom('kind', 'partition', 'keys', 'storeId', 'limit'), fc.jsonValue());
    const anyBody = fc.oneof(
      fc.json(),
      fc.string(),
      fc.array(fc.oneof(anyFields, fc.jsonValue()), { maxLength: 3 }).map(requestText),
    );
    fc.assert(
      fc.property(anyBody, (body) => {
        expect(() => decodeReadsRequest(body)).toSatisfy(isQuietOrTypeError);
      }),
      { numRuns: 500 },
    );
  });
});

describe('an answer', () => {
  test('to every kind of read comes back as it was, refusals too', () => {
    fc.assert(
      fc.property(fc.array(anyExchange, { maxLength: 6 }), (exchanges) => {
        const reads = exchanges.map(([read]) => read);
        const answers = exchanges.map(([, answer]) => answer);
        expect(decodeAnswers(reads, encodeAnswers(reads, answers))).toEqual(answers);
      }),
      { numRuns: 300 },
    );
  });

  const rowsRead: ShardRead = { kind: 'rows', partition: 0, keys: [fc.sample(anyKey, { numRuns: 1, seed: 1 })[0]!] };
  test.each<[string, string]>([
    ['no JSON', 'upstream connect error'],
    ['no answers', '{}'],
    ['too few', '{"answers":[]}'],
    ['too many', '{"answers":[{"code":"INTERNAL","message":""},{"code":"INTERNAL","message":""}]}'],
    ['null', '{"answers":[null]}'],
    ['neither value nor refusal', '{"answers":[{}]}'],
    ['no position', '{"answers":[{"at":null,"value":[null]}]}'],
    ['half a position', '{"answers":[{"at":[1],"value":[null]}]}'],
    ['a negative position', '{"answers":[{"at":[1,-1],"value":[null]}]}'],
    ['no value', '{"answers":[{"at":[1,1]}]}'],
    ['fewer rows than keys', '{"answers":[{"at":[1,1],"value":[]}]}'],
    ['more rows than keys', '{"answers":[{"at":[1,1],"value":[null,null]}]}'],
    ['a row cut short', '{"answers":[{"at":[1,1],"value":[[1,2,3]]}]}'],
    ['a row with a rounded sum', '{"answers":[{"at":[1,1],"value":[[9007199254740993,0,0,0,null,null]]}]}'],
  ])('is rejected with a TypeError: %s', (_, body) => {
    expect(() => decodeAnswers([rowsRead], body)).toThrow(TypeError);
    expect(decodeAnswers([rowsRead], '{"answers":[{"at":[1,1],"value":[null]}]}')).toHaveLength(1);
  });

  test('with a code that this version does not know is INTERNAL', () => {
    const body = '{"answers":[{"code":"FROM_THE_FUTURE","message":"x"}]}';
    expect(decodeAnswers([rowsRead], body)).toEqual([{ ok: false, code: 'INTERNAL', message: 'x' }]);
  });

  test('of any JSON whatever is an answer or a TypeError', () => {
    fc.assert(
      fc.property(anyRead, fc.jsonValue(), fc.jsonValue(), (read, at, value) => {
        const bodies = [
          { answers: [{ at: [0, 0], value }] },
          { answers: [{ at, value }] },
          { answers: [value] },
          value,
        ];
        for (const body of bodies) {
          expect(() => decodeAnswers([read], JSON.stringify(body))).toSatisfy(isQuietOrTypeError);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('without its read is a bug of ours', () => {
    expect(() => encodeAnswers([], [{ ok: false, code: 'INTERNAL', message: '' }])).toThrow(TypeError);
  });
});

function anyAnswerTo(read: ShardRead): fc.Arbitrary<ShardAnswer> {
  const value: fc.Arbitrary<ShardReadValues[ReadKind]> =
    read.kind === 'rows'
      ? fc.tuple(...read.keys.map(() => fc.option(anyRow)))
      : (ANY_VALUE[read.kind] as fc.Arbitrary<ShardReadValues[ReadKind]>);
  const position = fc.record({ shipments: anyOffset, sales: anyOffset });
  return fc.record({ ok: fc.constant(true as const), position, value });
}

function requestText(reads: unknown): string {
  return JSON.stringify({ protocol: PROTOCOL_VERSION, incarnation: 'i', reads });
}

function isQuietOrTypeError(decode: () => unknown): boolean {
  try {
    decode();
    return true;
  } catch (error) {
    return error instanceof TypeError;
  }
}
