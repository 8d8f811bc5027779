// What the tests of the node's core share: records and batches in short, a shard with its queue, and everything that a
// store holds of a shard in a form that can be compared with test/support/shard-model.ts.

import { ApplyQueue } from '../../node/apply-queue.ts';
import type { DeadLetter, OutboxEntry } from '../../node/dead-letters.ts';
import { Shard, type ShardOptions } from '../../node/shard.ts';
import type { FoldCounts } from '../../node/shard-draft.ts';
import { decodeHead } from '../../node/shard-head.ts';
import { ShardKeys } from '../../node/shard-keys.ts';
import type { ShardStore, StoreReader } from '../../node/shard-store.ts';
import type { LogBatch } from '../../cluster/event-log.ts';
import type { LogRecord, TopicRole } from '../../schema/events.ts';
import { type InventoryKey, parseInventoryKey } from '../../schema/inventory-key.ts';
import { decodeRow, type InventoryRow } from '../../schema/inventory-row.ts';
import { partitionOfKey } from '../../schema/partitioner.ts';
import type { Position } from '../../schema/position.ts';
import type { Sum } from '../../schema/sum.ts';
import { decodeTotals, NO_TOTALS, type Totals } from '../../schema/totals.ts';
import type { ModelEvent, ModelRow, ModelShard, ModelTotals } from './shard-model.ts';
import { modelTotals } from './shard-model.ts';

export const TOPICS: Readonly<Record<TopicRole, string>> = { shipments: 'shipments', sales: 'sales' };
export const MIB = 1024 * 1024;
/** More than the bytes that the cache reckons for `entries` rows, less than for one more. */
export function cacheBytesFor(entries: number): number {
  return entries * 256;
}

/** A record as the log delivers it. `value` and `key` as text; null, or bytes, as they are. */
export function record(
  offset: number,
  key: string | Buffer | null,
  value: string | number | Buffer | null,
  rest: { readonly timestamp?: number; readonly eventId?: string; readonly headers?: LogRecord['headers'] } = {},
): LogRecord {
  const headers = rest.headers ?? (rest.eventId === undefined ? undefined : { 'event-id': Buffer.from(rest.eventId) });
  return {
    offset,
    timestamp: rest.timestamp ?? 1_700_000_000_000 + offset,
    key: typeof key === 'string' ? Buffer.from(key) : key,
    value: value === null || Buffer.isBuffer(value) ? value : Buffer.from(String(value)),
    ...(headers === undefined ? {} : { headers }),
  };
}

/** The log record of an event of the model. */
export function recordOf(event: ModelEvent): LogRecord {
  const { offset, key, count, eventId, time } = event;
  return record(offset, key, count, { timestamp: time ?? -1, ...(eventId === null ? {} : { eventId }) });
}

/** A batch of `records`, which begins with the first and ends behind the last of them unless said otherwise. */
export function batchOf(
  role: TopicRole,
  partition: number,
  records: readonly LogRecord[],
  ends: { readonly firstOffset?: number; readonly nextOffset?: number; readonly endOffset?: number } = {},
): LogBatch {
  const firstOffset = ends.firstOffset ?? records[0]?.offset ?? 0;
  const nextOffset = ends.nextOffset ?? (records.at(-1)?.offset ?? firstOffset - 1) + 1;
  return { topic: TOPICS[role], partition, records, firstOffset, nextOffset, endOffset: ends.endOffset ?? nextOffset };
}

/** `count` keys of the partition, over `stores` stores, in the order found. */
export function keysOfPartition(
  partition: number,
  partitions: number,
  { count, stores = 3 }: { readonly count: number; readonly stores?: number },
): InventoryKey[] {
  const keys: InventoryKey[] = [];
  for (let item = 0; keys.length < count; item++) {
    const key = keyOf(`s${item % stores}/i${Math.floor(item / stores)}`);
    if (partitionOfKey(key, partitions) === partition) keys.push(key);
  }
  return keys;
}

export function keyOf(text: string): InventoryKey {
  const key = parseInventoryKey(text);
  if (key === undefined) throw new Error(`no key: ${text}`);
  return key;
}

/** Something to wait for until the test opens it. */
export function closedGate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}

/** An apply queue that remembers what it told. */
export function openQueue(
  store: ShardStore,
  partitions: number,
): { readonly queue: ApplyQueue; readonly counts: FoldCounts; readonly dropped: OutboxEntry[] } {
  const counts: FoldCounts = { applied: 0, duplicates: 0, conflicts: 0 };
  const dropped: OutboxEntry[] = [];
  const listener = {
    applied(_: Shard, group: FoldCounts) {
      counts.applied += group.applied;
      counts.duplicates += group.duplicates;
      counts.conflicts += group.conflicts;
    },
    dropped(_: Shard, letters: readonly OutboxEntry[]) {
      dropped.push(...letters);
    },
  };
  return { queue: new ApplyQueue({ store, partitions, listener }), counts, dropped };
}

/** A shard read from its store, ready to apply. */
export async function openShard(options: Partial<ShardOptions> & Pick<ShardOptions, 'store'>): Promise<Shard> {
  const shard = new Shard({ partition: 0, rowCacheBytes: MIB, dedupeWindow: 100, ...options });
  await shard.open();
  return shard;
}

/** All that a store holds of a shard, the dedupe chunks aside: their cut depends on the batches. */
export interface StoredShard {
  readonly position: Position;
  readonly rows: ReadonlyMap<string, ModelRow>;
  readonly totals: ModelTotals;
  readonly storeTotals: ReadonlyMap<string, ModelTotals>;
  /** `itemId/storeId`, sorted. */
  readonly itemIndex: readonly string[];
  readonly deadLetters: readonly DeadLetter[];
  readonly complete: boolean;
}

const KINDS = { head: 'c', row: 'r', storeTotals: 's', itemIndex: 'i', dedupeChunk: 'w', deadLetter: 'o' };

/** Reads every record of the shard in one moment. Throws on a record that nobody should have written. */
export async function readStored(store: StoreReader, partition: number): Promise<StoredShard> {
  const keys = new ShardKeys(partition);
  const entries = await store.scan({ ...keys.all, limit: 1_000_000 });
  const of = (kind: keyof typeof KINDS): typeof entries =>
    entries.filter(({ key }) => String.fromCharCode(key[2] ?? 0) === KINDS[kind]);
  const known = Object.values(KINDS).join('');
  const stray = entries.find(({ key }) => !known.includes(String.fromCharCode(key[2] ?? 0)));
  if (stray !== undefined) throw new Error(`a stray record: ${stray.key.toString('hex')}`);
  const head = of('head')[0];
  const { checkpoint, totals, complete } =
    head === undefined
      ? { checkpoint: { position: { shipments: 0, sales: 0 } }, totals: NO_TOTALS, complete: false }
      : decodeHead(head.value);
  return {
    position: checkpoint.position,
    rows: new Map(of('row').map(({ key, value }) => [keys.textOf(key), plainRow(decodeRow(value))])),
    totals: plainTotals(totals),
    storeTotals: new Map(
      of('storeTotals').map(({ key, value }) => [
        keys.textOf(key),
        plainTotals(decodeTotals(JSON.parse(String(value)))),
      ]),
    ),
    itemIndex: of('itemIndex').map(({ key }) => keys.textOf(key)),
    deadLetters: of('deadLetter').map(({ value }) => JSON.parse(String(value)) as DeadLetter),
    complete,
  };
}

/** What the store must hold of a shard whose model is `model`. */
export function expectedStored(model: ModelShard, position: Position): Omit<StoredShard, 'deadLetters' | 'complete'> {
  const stores = [...new Set([...model.rows.keys()].map((key) => key.slice(0, key.indexOf('/'))))].sort();
  return {
    position,
    rows: new Map([...model.rows].sort(([a], [b]) => (a < b ? -1 : 1))),
    totals: modelTotals(model.rows) ?? plainTotals(NO_TOTALS),
    storeTotals: new Map(stores.map((store) => [store, modelTotals(model.rows, `${store}/`) as ModelTotals])),
    itemIndex: [...model.rows.keys()].map((key) => key.split('/').toReversed().join('/')).sort(),
  };
}

/** With every sum as a bigint. Throws where a number is one that the product must not hold. */
export function plainRow(row: InventoryRow): ModelRow {
  return { ...row, received: plainSum(row.received), sold: plainSum(row.sold) };
}

export function plainTotals(totals: Totals): ModelTotals {
  return { ...totals, received: plainSum(totals.received), sold: plainSum(totals.sold) };
}

/** A sum is a number if and only if it is safe. */
function plainSum(sum: Sum): bigint {
  const big = BigInt(sum);
  const isSafe = big >= BigInt(Number.MIN_SAFE_INTEGER) && big <= BigInt(Number.MAX_SAFE_INTEGER);
  if (isSafe !== (typeof sum === 'number')) throw new Error(`${typeof sum} ${sum} in the wrong form`);
  return big;
}
