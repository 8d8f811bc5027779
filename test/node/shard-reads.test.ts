import { setImmediate as nextTurn } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import { openMemoryStore } from '../../node/memory-store.ts';
import { ShardReads } from '../../node/shard-reads.ts';
import { Shard } from '../../node/shard.ts';
import type { ShardStateEvent } from '../../node/shard-state.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import { type InventoryKey, splitInventoryKey } from '../../schema/inventory-key.ts';
import type { ReadOf, ShardAnswer, ShardRead } from '../../schema/shard-api.ts';
import type { ShardStateName } from '../../schema/topology.ts';
import { batchOf, closedGate, keysOfPartition, MIB, openQueue, openShard, record } from '../support/shard-harness.ts';

const PARTITIONS = 4;
const INCARNATION = 'incarnation-1';
const KEYS = [0, 1, 2, 3].map((partition) => keysOfPartition(partition, PARTITIONS, { count: 4 }));
const [KEY, OTHER_KEY] = KEYS[0] as [InventoryKey, InventoryKey];
const [STRANGER] = KEYS[3] as [InventoryKey];

describe('reads of a node', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.open([0, 1]);
    await node.apply(0, [KEY, OTHER_KEY]);
    node.serve();
  });

  test('are answered in order, from memory and from the store alike', async () => {
    const answers = await node.read([
      { kind: 'rows', partition: 0, keys: [KEY] },
      { kind: 'itemTotals', partition: 0, itemId: itemOf(KEY), scanRowsMax: 10 },
      { kind: 'totals', partition: 0 },
      pageRead(storeOf(KEY)),
      { kind: 'storeTotals', partition: 1, storeId: 'nobody' },
      { kind: 'itemPage', partition: 0, itemId: itemOf(OTHER_KEY), afterStoreId: null, limit: 10 },
    ]);
    const position = { shipments: 2, sales: 0 };
    expect(answers).toMatchObject([
      { ok: true, position, value: [{ received: 1, sold: 0 }] },
      { ok: true, position, value: { items: 1 } },
      { ok: true, position, value: { items: 2, received: 2 } },
      { ok: true, position, value: { scannedTo: null } },
      { ok: true, position: { shipments: 0, sales: 0 }, value: null },
      { ok: true, position, value: { rows: [{ key: OTHER_KEY }], scannedTo: null } },
    ]);
  });

  test('answer null for a key that no event names, and align with duplicates', async () => {
    const unknown = KEYS[0]?.[3] ?? KEY;
    const [answer] = await node.read([{ kind: 'rows', partition: 0, keys: [unknown, KEY, unknown, KEY] }]);
    expect(answer).toMatchObject({ ok: true, value: [null, { received: 1 }, null, { received: 1 }] });
  });

  test('fail alone: the others of the request are answered', async () => {
    const answers = await node.read([
      { kind: 'rows', partition: 0, keys: [KEY, STRANGER] },
      { kind: 'rows', partition: 0, keys: [KEY] },
      { kind: 'rows', partition: 2, keys: [] },
      { kind: 'itemTotals', partition: 0, itemId: itemOf(KEY), scanRowsMax: 0 },
      { kind: 'totals', partition: 1 },
    ]);
    expect(answers.map((answer) => (answer.ok ? 'ok' : answer.code))).toEqual([
      'WRONG_PARTITION',
      'ok',
      'NOT_SERVING',
      'SCAN_LIMIT_EXCEEDED',
      'ok',
    ]);
    expect(node.internalErrors).toEqual([]);
  });

  test('refuse a key of another partition, even if this node holds that one too (I4)', async () => {
    const here = KEYS[1]?.[0] ?? KEY;
    const [answer] = await node.read([{ kind: 'rows', partition: 0, keys: [here] }]);
    expect(answer).toEqual({
      ok: false,
      code: 'WRONG_PARTITION',
      message: `${here} belongs to partition 1 of 4, not to 0`,
    });
  });

  test('refuse another incarnation as a whole, and take the one before until callers have heard', async () => {
    const reads: ShardRead[] = [{ kind: 'totals', partition: 0 }];
    const asked = node.reads.read({ incarnation: 'another', reads });
    await expect(asked).rejects.toMatchObject({ code: 'TOPOLOGY_MISMATCH' });
    await expect(asked).rejects.toThrow(/expected incarnation incarnation-1.*got another/);
    node.incarnations.unshift('incarnation-2');
    for (const incarnation of ['incarnation-1', 'incarnation-2']) {
      expect(await node.reads.read({ incarnation, reads })).toMatchObject([{ ok: true }]);
    }
  });

  test('no reads are no answers', async () => {
    expect(await node.read([])).toEqual([]);
  });
});

/** How an opened shard comes into each state, and what each read of it is answered: null = an answer. */
const STATES: Record<
  Exclude<ShardStateName, 'opening'>,
  { readonly path: ShardStateEvent[]; readonly code: string | null }
> = {
  restoring: { path: [], code: 'RESTORING' },
  'catching-up': { path: [], code: 'RESTORING' },
  serving: { path: [{ kind: 'reached-end' }], code: null },
  draining: { path: [{ kind: 'reached-end' }, { kind: 'close' }], code: null },
  closed: { path: [{ kind: 'close' }], code: 'NOT_SERVING' },
  refused: { path: [{ kind: 'refuse', reason: 'the topic was recreated' }], code: 'NOT_SERVING' },
};
const EVERY_READ: ShardRead[] = [
  { kind: 'rows', partition: 0, keys: [KEY] },
  { kind: 'rows', partition: 0, keys: [] },
  { kind: 'totals', partition: 0 },
  { kind: 'storeTotals', partition: 0, storeId: 's0' },
  { kind: 'itemTotals', partition: 0, itemId: 'i0', scanRowsMax: 10 },
  { kind: 'itemPage', partition: 0, itemId: 'i0', afterStoreId: null, limit: 1 },
  pageRead('s0'),
];

describe.each(Object.entries(STATES))('a shard that is %s', (name, { path, code }) => {
  test(`${code === null ? 'answers' : `refuses with ${code}`} every read, and tells its status`, async () => {
    const node = await TestNode.open([0]);
    if (name === 'catching-up') await node.reopenComplete(0);
    for (const event of path) node.shard(0).change(event);
    const answers = await node.read(EVERY_READ);
    expect(answers.map((answer) => (answer.ok ? null : answer.code))).toEqual(EVERY_READ.map(() => code));
    expect(JSON.stringify(answers).includes('the topic was recreated')).toBe(name === 'refused');
    expect(await node.read([{ kind: 'status', partition: 0 }])).toMatchObject([{ ok: true, value: { state: name } }]);
  });
});

test('a shard that is opening refuses with RESTORING', async () => {
  const gate = closedGate();
  const store = openMemoryStore({ beforeRead: () => gate.opened });
  const shard = new Shard({ partition: 0, store, rowCacheBytes: 0, dedupeWindow: 100 });
  const opening = shard.open();
  const node = new TestNode(store, [shard]);
  expect(await node.read([{ kind: 'rows', partition: 0, keys: [KEY] }])).toMatchObject([
    { ok: false, code: 'RESTORING' },
  ]);
  gate.open();
  await opening;
  expect(shard.state.name).toBe('restoring');
});

describe('when the store fails', () => {
  test('the read is INTERNAL without its cause, which is told to the node', async () => {
    const fault = { armed: false };
    const beforeRead = (): void => {
      if (fault.armed) throw new Error('block checksum mismatch');
    };
    const node = await TestNode.open([0], openMemoryStore({ beforeRead }));
    await node.apply(0, [KEY]);
    // Opened anew, so that no row is cached and the read must go to the store.
    await node.reopen(0);
    node.serve();
    fault.armed = true;
    const answers = await node.read([
      { kind: 'rows', partition: 0, keys: [KEY] },
      { kind: 'totals', partition: 0 },
    ]);
    expect(answers).toMatchObject([{ ok: false, code: 'INTERNAL' }, { ok: true }]);
    expect(JSON.stringify(answers)).not.toContain('checksum');
    expect(node.internalErrors).toEqual([[0, 'block checksum mismatch']]);
  });
});

// Between the moment a commit can be read from the store and the moment it is published, an answer from the store would be
// newer than the next one from the cache.
describe('a read of rows that are stored and not published yet', () => {
  const reads: ShardRead[] = [
    { kind: 'itemTotals', partition: 0, itemId: itemOf(KEY), scanRowsMax: 9 },
    pageRead(storeOf(KEY)),
  ];

  test('waits until they are (I5)', async () => {
    const { node, gate, applying } = await storedAndHeldBack();
    const reading = node.read(reads);
    let isAnswered = false;
    void reading.then(() => (isAnswered = true));
    for (let turns = 0; turns < 10; turns++) await nextTurn();
    expect(isAnswered).toBe(false);
    gate.open();
    expect(await reading).toMatchObject(reads.map(() => ({ ok: true, position: { shipments: 1, sales: 0 } })));
    expect(node.shard(0).position).toEqual({ shipments: 1, sales: 0 });
    await applying;
  });

  test.each<ShardStateEvent>([{ kind: 'closed' }, { kind: 'refuse', reason: 'a test' }])(
    'is refused, not left waiting, on $kind',
    async (event) => {
      const { node, gate, applying } = await storedAndHeldBack();
      const waiting = node.read(reads);
      for (let turns = 0; turns < 10; turns++) await nextTurn();
      const beginning = node.read(reads);
      node.shard(0).change(event);
      for (const reading of [waiting, beginning]) {
        expect(await reading).toMatchObject(reads.map(() => ({ ok: false, code: 'NOT_SERVING' })));
      }
      gate.open();
      await applying;
    },
  );
});

describe('an answer of the store that is late', () => {
  test('is of the start if nothing was stored when it was read, even if the first commit came meanwhile', async () => {
    const gate = closedGate();
    const node = await TestNode.open([0], answeringLate(openMemoryStore(), { snapshots: gate.opened }));
    node.serve();
    const reading = node.read([pageRead(storeOf(KEY))]);
    await node.apply(0, [KEY]);
    gate.open();
    const start = { ok: true, position: { shipments: 0, sales: 0 }, value: { rows: [], scannedTo: null } };
    expect(await reading).toEqual([start]);
  });

  test('does not put an older row over a newer one in the cache', async () => {
    const gate = closedGate();
    const inner = openMemoryStore();
    await (await TestNode.open([0], inner)).apply(0, [KEY]);
    const late = { reads: gate.opened };
    const node = await TestNode.open([0], answeringLate(inner, late));
    node.serve();
    const rows: ShardRead[] = [{ kind: 'rows', partition: 0, keys: [KEY] }];
    const reading = node.read(rows);
    await node.apply(0, [OTHER_KEY, KEY]);
    gate.open();
    expect(await reading).toMatchObject([{ position: { shipments: 1 }, value: [{ received: 1 }] }]);
    expect(await node.read(rows)).toMatchObject([{ position: { shipments: 2 }, value: [{ received: 2 }] }]);
  });
});

/** Shards of one store behind ShardReads. */
class TestNode {
  readonly incarnations = [INCARNATION];
  readonly internalErrors: [number, string][] = [];
  readonly reads: ShardReads;
  readonly #store: ShardStore;
  readonly #shards: Map<number, Shard>;

  constructor(store: ShardStore, shards: readonly Shard[]) {
    this.#store = store;
    this.#shards = new Map(shards.map((shard) => [shard.partition, shard]));
    this.reads = new ShardReads({
      incarnations: () => this.incarnations,
      partitions: PARTITIONS,
      shard: (partition) => this.#shards.get(partition),
      status: ({ state, position }) => ({
        state: state.name,
        shipments: { nextOffset: position.shipments, endOffset: null },
        sales: { nextOffset: position.sales, endOffset: null },
      }),
      onInternalError: (error, partition) => this.internalErrors.push([partition, (error as Error).message]),
    });
  }

  static async open(partitions: readonly number[], store = openMemoryStore()): Promise<TestNode> {
    const shards = partitions.map((partition) => openShard({ store, partition, rowCacheBytes: MIB }));
    return new TestNode(store, await Promise.all(shards));
  }

  shard(partition: number): Shard {
    return this.#shards.get(partition) as Shard;
  }

  async reopen(partition: number): Promise<void> {
    this.#shards.set(partition, await openShard({ store: this.#store, partition }));
  }

  /** Lets the shard serve, stores that with a next commit, and opens it anew. */
  async reopenComplete(partition: number): Promise<void> {
    this.serve();
    await this.apply(partition, [KEY]);
    await this.reopen(partition);
  }

  /** A shipment of 1 for each key. */
  async apply(partition: number, keys: readonly string[]): Promise<void> {
    const { queue } = openQueue(this.#store, PARTITIONS);
    const records = keys.map((key, offset) => record(offset, key, 1));
    await queue.submit(this.shard(partition), 'shipments', batchOf('shipments', partition, records));
  }

  serve(): void {
    for (const shard of this.#shards.values()) shard.change({ kind: 'reached-end' });
  }

  read(reads: readonly ShardRead[]): Promise<readonly ShardAnswer[]> {
    return this.reads.read({ incarnation: INCARNATION, reads });
  }
}

/** `inner`, but that what its snapshots read, and the first read of a head with one row, is answered only once that resolves. */
function answeringLate(
  inner: ShardStore,
  late: { readonly snapshots?: Promise<void>; reads?: Promise<void> | undefined },
): ShardStore {
  const hold = async <Value>(answer: Promise<Value>, until: Promise<void> | undefined): Promise<Value> => {
    const value = await answer;
    await until;
    return value;
  };
  const holdFirst = <Value>(answer: Promise<Value>): Promise<Value> => {
    const until = late.reads;
    late.reads = undefined;
    return hold(answer, until);
  };
  return {
    getMany: (keys) => (keys.length === 2 ? holdFirst(inner.getMany(keys)) : inner.getMany(keys)),
    scan: (range) => inner.scan(range),
    write: (fill) => inner.write(fill),
    snapshot: () => {
      const snapshot = inner.snapshot();
      return {
        getMany: (keys) => hold(snapshot.getMany(keys), late.snapshots),
        scan: (range) => snapshot.scan(range),
        release: () => snapshot.release(),
      };
    },
    stats: () => inner.stats(),
    close: () => inner.close(),
  };
}

/** A serving node whose first commit can be read from the store and has not returned. */
async function storedAndHeldBack(): Promise<{
  node: TestNode;
  gate: ReturnType<typeof closedGate>;
  applying: Promise<void>;
}> {
  const [gate, stored] = [closedGate(), closedGate()];
  const inner = openMemoryStore();
  const store: ShardStore = {
    getMany: (keys) => inner.getMany(keys),
    scan: (range) => inner.scan(range),
    write: async (fill) => {
      await inner.write(fill);
      stored.open();
      await gate.opened;
    },
    snapshot: () => inner.snapshot(),
    stats: () => inner.stats(),
    close: () => inner.close(),
  };
  const node = await TestNode.open([0], store);
  node.serve();
  const applying = node.apply(0, [KEY]);
  await stored.opened;
  return { node, gate, applying };
}

function pageRead(storeId: string): ReadOf<'storePage'> {
  return {
    kind: 'storePage',
    partition: 0,
    storeId,
    order: 'ITEM_ID',
    filter: {},
    after: null,
    limit: 10,
    scanRowsMax: 10,
  };
}

function storeOf(key: InventoryKey): string {
  return splitInventoryKey(key).storeId;
}

function itemOf(key: InventoryKey): string {
  return splitInventoryKey(key).itemId;
}
