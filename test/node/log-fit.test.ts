import { describe, expect, test } from 'vitest';
import { behindReason, changedReason, startOf, truncatedReason } from '../../node/log-fit.ts';
import type { ShardHead } from '../../node/shard-head.ts';
import type { RecordMark } from '../../schema/position.ts';
import type { StartAt } from '../../schema/topology.ts';
import { NO_TOTALS } from '../../schema/totals.ts';

const DIGEST = 'd'.repeat(32);
const AT = { topic: 'sales', partition: 3 };

describe('startOf', () => {
  test.each<[what: string, head: ShardHead, startOffset: number, startAt: StartAt, start: object]>([
    ['an untouched shard at the start of the log', headAt(0), 0, 'zero', { kind: 'position', fromOffset: 0 }],
    ['an untouched shard of a log that lost its beginning', headAt(0), 7, 'zero', { kind: 'truncated' }],
    ['the same, where that was meant', headAt(0), 7, 'log-start', { kind: 'log-start', fromOffset: 7 }],
    ['a log from 0, where less was allowed', headAt(0), 0, 'log-start', { kind: 'position', fromOffset: 0 }],
    ['the last record where it still exists', headAt(9, 8), 0, 'zero', { kind: 'mark', fromOffset: 8 }],
    ['the last record where it is the first one left', headAt(9, 8), 8, 'zero', { kind: 'mark', fromOffset: 8 }],
    [
      'the last record behind which only control records came',
      headAt(20, 8),
      3,
      'zero',
      { kind: 'mark', fromOffset: 8 },
    ],
    ['the position where the last record is gone', headAt(9, 8), 9, 'zero', { kind: 'position', fromOffset: 9 }],
    ['a position reached over control records alone', headAt(9), 4, 'zero', { kind: 'position', fromOffset: 9 }],
    ['records lost unread', headAt(9, 8), 10, 'zero', { kind: 'truncated' }],
    ['records lost unread by a view from log-start', headAt(9, 8), 10, 'log-start', { kind: 'truncated' }],
    ['records lost over which only control records had been read', headAt(9), 10, 'log-start', { kind: 'truncated' }],
  ])('%s', (_, head, startOffset, startAt, start) => {
    expect(startOf(head, 'sales', { startOffset, endOffset: 100 }, startAt)).toEqual(start);
  });

  test('does not begin anew in a topic never read, once the other one has been', () => {
    const head = headAt(0, undefined, { shipments: { offset: 5, digest: DIGEST } });
    expect(startOf(head, 'sales', { startOffset: 7, endOffset: 100 }, 'log-start')).toEqual({ kind: 'truncated' });
  });
});

describe('reasons name the place, both offsets and what to do', () => {
  test.each([
    [
      truncatedReason(AT, 0, { startOffset: 7, endOffset: 9 }),
      ['sales partition 3', '7', 'START_AT=log-start', 'APPLICATION_ID'],
    ],
    [
      truncatedReason(AT, 5, { startOffset: 7, endOffset: 9 }),
      ['sales partition 3', '7', '5', 'retention.ms=-1', 'DATA_DIR'],
    ],
    [
      behindReason(AT, 5, { startOffset: 0, endOffset: 2 }),
      ['sales partition 3', '2', '5', 'recreated', 'APPLICATION_ID'],
    ],
    [changedReason(AT, { offset: 4, digest: DIGEST }), ['sales partition 3', '4', 'recreated', 'APPLICATION_ID']],
  ])('%s', (reason, words) => {
    expect(words.filter((word) => !reason.includes(word))).toEqual([]);
  });
});

function headAt(sales: number, markOffset?: number, marks: { readonly shipments?: RecordMark } = {}): ShardHead {
  const mark = markOffset === undefined ? null : { offset: markOffset, digest: DIGEST };
  return {
    checkpoint: { position: { shipments: 0, sales }, marks: { shipments: marks.shipments ?? null, sales: mark } },
    totals: NO_TOTALS,
    complete: false,
  };
}
