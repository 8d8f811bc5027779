import { performance } from 'node:perf_hooks';
import { describe, expect, test } from 'vitest';
import { ReadBatcher, REQUEST_BYTES_MAX } from '../../gateway/read-batcher.ts';
import { InventoryError } from '../../schema/errors.ts';
import type { InventoryKey } from '../../schema/inventory-key.ts';
import { emptyRow } from '../../schema/inventory-row.ts';
import {
  encodeReadsRequest,
  KEYS_MAX,
  READS_MAX,
  type ReadsRequest,
  type ShardAnswer,
  type ShardApi,
} from '../../schema/shard-api.ts';
import { NO_TOTALS } from '../../schema/totals.ts';

const position = { shipments: 5, sales: 6 };

/** A node that answers every key with a row and every sum with nothing, and keeps what it was asked. */
class EchoNode implements ShardApi {
  readonly requests: ReadsRequest[] = [];
  readonly deadlines: number[] = [];

  read(request: ReadsRequest, { deadlineMs }: { readonly deadlineMs: number }): Promise<readonly ShardAnswer[]> {
    this.requests.push(request);
    this.deadlines.push(deadlineMs);
    return Promise.resolve(
      request.reads.map((read) => ({
        ok: true,
        position,
        value: read.kind === 'rows' ? read.keys.map(() => emptyRow()) : NO_TOTALS,
      })),
    );
  }
}

function batcherOver(api: ShardApi, outcomes: string[] = []): ReadBatcher {
  const onRequestEnd = (outcome: string): void => void outcomes.push(outcome);
  return new ReadBatcher({ api, incarnation: 'one', now: () => performance.now(), onRequestEnd });
}

const key = (text: string): InventoryKey => text as InventoryKey;
const soon = (): number => Math.round(performance.now()) + 5_000;

describe('reads of one tick', () => {
  test('travel as one request: rows merged by partition, keys and equal reads once', async () => {
    const node = new EchoNode();
    const outcomes: string[] = [];
    const batcher = batcherOver(node, outcomes);
    const answers = await Promise.all([
      batcher.ask({ kind: 'row', partition: 3, key: key('10/CA') }, soon()),
      batcher.ask({ kind: 'row', partition: 7, key: key('10/CB') }, soon()),
      batcher.ask({ kind: 'totals', partition: 3 }, soon()),
      batcher.ask({ kind: 'row', partition: 3, key: key('10/CC') }, soon()),
      batcher.ask({ kind: 'row', partition: 3, key: key('10/CA') }, soon()),
      batcher.ask({ kind: 'totals', partition: 3 }, soon()),
      batcher.ask({ kind: 'totals', partition: 4 }, soon()),
    ]);
    expect(node.requests).toEqual([
      {
        incarnation: 'one',
        reads: [
          { kind: 'rows', partition: 3, keys: ['10/CA', '10/CC'] },
          { kind: 'rows', partition: 7, keys: ['10/CB'] },
          { kind: 'totals', partition: 3 },
          { kind: 'totals', partition: 4 },
        ],
      },
    ]);
    const [row, sum] = [
      { value: emptyRow(), position },
      { value: NO_TOTALS, position },
    ];
    expect(answers).toEqual([row, row, sum, row, row, sum, sum]);
    expect(outcomes).toEqual(['OK']);
  });

  test('and of the next tick travel apart', async () => {
    const node = new EchoNode();
    const batcher = batcherOver(node);
    await batcher.ask({ kind: 'totals', partition: 0 }, soon());
    await batcher.ask({ kind: 'totals', partition: 0 }, soon());
    expect(node.requests).toHaveLength(2);
  });

  test('are split so that no request exceeds what a node takes', async () => {
    const node = new EchoNode();
    const batcher = batcherOver(node);
    const store = 's'.repeat(64);
    const keys = Array.from({ length: 2 * KEYS_MAX + 1 }, (_, i) => key(`${store}/${'i'.repeat(58)}${i}`));
    const sums = Array.from({ length: READS_MAX + 1 }, (_, partition) => partition);
    await Promise.all([
      ...keys.map((one) => batcher.ask({ kind: 'row', partition: 0, key: one }, soon())),
      ...sums.map((partition) => batcher.ask({ kind: 'storeTotals', partition, storeId: store }, soon())),
    ]);
    for (const request of node.requests) {
      expect(request.reads.length).toBeLessThanOrEqual(READS_MAX);
      expect(Buffer.byteLength(encodeReadsRequest(request))).toBeLessThanOrEqual(REQUEST_BYTES_MAX);
      const keysPerRead = request.reads.map((read) => (read.kind === 'rows' ? read.keys.length : 0));
      expect(Math.max(...keysPerRead)).toBeLessThanOrEqual(KEYS_MAX);
    }
    const reads = node.requests.flatMap((request) => request.reads);
    expect(reads.flatMap((read) => (read.kind === 'rows' ? read.keys : []))).toEqual(keys);
    expect(reads.filter(({ kind }) => kind === 'storeTotals')).toHaveLength(READS_MAX + 1);
  });
});

describe('failures', () => {
  test('of one read reach only who waits for it', async () => {
    const api: ShardApi = {
      read: ({ reads }) =>
        Promise.resolve(
          reads.map((read) =>
            read.partition === 1
              ? { ok: false, code: 'NOT_SERVING', message: 'gone' }
              : { ok: true, position, value: NO_TOTALS },
          ),
        ),
    };
    const batcher = batcherOver(api);
    const settled = await Promise.allSettled(
      [0, 1, 1].map((partition) => batcher.ask({ kind: 'totals', partition }, soon())),
    );
    expect(settled).toMatchObject([
      { status: 'fulfilled' },
      { reason: { code: 'NOT_SERVING' } },
      { reason: { code: 'NOT_SERVING' } },
    ]);
  });

  test('of the request reach all, an unforeseen one as INTERNAL', async () => {
    const outcomes: string[] = [];
    const errors = [new InventoryError('OVERLOADED', 'too much'), new TypeError('a bug')];
    const batcher = batcherOver({ read: () => Promise.reject(errors.shift()) }, outcomes);
    const ask = (): Promise<unknown> => batcher.ask({ kind: 'totals', partition: 0 }, soon());
    await expect(ask()).rejects.toMatchObject({ code: 'OVERLOADED' });
    await expect(ask()).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(outcomes).toEqual(['OVERLOADED', 'INTERNAL']);
  });

  test('a node that leaves reads or keys unanswered is INTERNAL, not "unknown"', async () => {
    const value: readonly null[] = [];
    const batcher = batcherOver({
      read: ({ reads }) => Promise.resolve(reads.length > 1 ? [] : [{ ok: true, position, value }]),
    });
    const row = batcher.ask({ kind: 'row', partition: 0, key: key('10/CA') }, soon());
    await expect(row).rejects.toMatchObject({ code: 'INTERNAL' });
    const two = [0, 1].map((partition) => batcher.ask({ kind: 'totals', partition }, soon()));
    await expect(Promise.any(two)).rejects.toBeInstanceOf(AggregateError);
  });
});

describe('deadlines', () => {
  test('each read is given up at its own, although the request goes on for another', async () => {
    let answer: (answers: readonly ShardAnswer[]) => void = () => {};
    const deadlines: number[] = [];
    const batcher = batcherOver({
      read: (_, { deadlineMs }) => {
        deadlines.push(deadlineMs);
        return new Promise((resolve) => {
          answer = resolve;
        });
      },
    });
    const patient = batcher.ask({ kind: 'totals', partition: 0 }, soon());
    const hasty = batcher.ask({ kind: 'totals', partition: 1 }, Math.round(performance.now()) + 5);
    await expect(hasty).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    answer([0, 1].map(() => ({ ok: true, position, value: NO_TOTALS })));
    await expect(patient).resolves.toEqual({ value: NO_TOTALS, position });
    expect(deadlines[0]).toBeGreaterThan(1_000);
  });

  test('one that has passed already still asks for at least a millisecond', async () => {
    const node = new EchoNode();
    await batcherOver(node).ask({ kind: 'totals', partition: 0 }, Math.round(performance.now()) - 100);
    expect(node.deadlines).toEqual([1]);
  });
});
