import { setImmediate as nextTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OUTBOX_MAX } from '../../node/dead-letters.ts';
import { type MemoryStoreHooks, openMemoryStore } from '../../node/memory-store.ts';
import type { Shard } from '../../node/shard.ts';
import { encodeHead } from '../../node/shard-head.ts';
import { ShardKeys } from '../../node/shard-keys.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import type { TopicRole } from '../../schema/events.ts';
import { encodeRow, type InventoryRow } from '../../schema/inventory-row.ts';
import { START_CHECKPOINT } from '../../schema/position.ts';
import { encodeTotals, type Totals } from '../../schema/totals.ts';
import {
  batchOf,
  closedGate,
  expectedStored,
  keyOf,
  keysOfPartition,
  openQueue,
  openShard,
  plainRow,
  plainTotals,
  readStored,
  record,
  recordOf,
} from '../support/shard-harness.ts';
import { foldModel, type ModelEvent } from '../support/shard-model.ts';
import { ShardRun } from '../support/shard-run.ts';
import { scenarios, SHARDS, type StoreHome } from '../support/shard-scenario.ts';

const KEYS = keysOfPartition(0, 1, { count: 50 });

describe('a batch', () => {
  test('larger than a slice and than a commit is applied whole, and others get the event loop in between', async () => {
    const commits: number[] = [];
    const { store, shard, queue } = await openCore({ beforeWrite: (size) => void commits.push(size) });
    const events = eventsFrom(0, 140_000);
    let turns = 0;
    const counting = setInterval(() => turns++, 0);
    await queue.submit(shard, 'shipments', batchOf('shipments', 0, events.map(recordOf), { nextOffset: 140_007 }));
    clearInterval(counting);
    expect(commits.length).toBe(3);
    expect(turns).toBeGreaterThan(5);
    const position = { shipments: 140_007, sales: 0 };
    expect(shard.position).toEqual(position);
    const model = foldModel({ shipments: events, sales: [] }, position, 100);
    expect(await readStored(store, 0)).toMatchObject(expectedStored(model, position));
  });

  test('of control records alone moves the position and keeps the mark', async () => {
    const { store, shard, queue } = await openCore();
    await queue.submit(shard, 'sales', batchOf('sales', 0, [record(0, '10/CA', 1)]));
    const { marks } = shard.head.checkpoint;
    await queue.submit(shard, 'sales', batchOf('sales', 0, [], { firstOffset: 1, nextOffset: 9 }));
    expect(shard.position).toEqual({ shipments: 0, sales: 9 });
    expect(shard.head.checkpoint.marks).toEqual(marks);
    expect((await readStored(store, 0)).position).toEqual(shard.position);
  });

  test('below the position changes nothing, and never moves it back', async () => {
    const { shard, queue, counts } = await openCore();
    await queue.submit(shard, 'sales', batchOf('sales', 0, eventsFrom(0, 10).map(recordOf)));
    const before = { head: shard.head, rows: await shard.rows(KEYS) };
    await queue.submit(shard, 'sales', batchOf('sales', 0, eventsFrom(3, 5).map(recordOf)));
    expect({ head: shard.head, rows: await shard.rows(KEYS) }).toEqual(before);
    expect(counts.applied).toBe(10);
  });

  test('is passed over when its shard does not apply (any more)', async () => {
    const { store, shard, queue } = await openCore();
    shard.change({ kind: 'refuse', reason: 'a test' });
    await queue.submit(shard, 'sales', batchOf('sales', 0, eventsFrom(0, 3).map(recordOf)));
    expect(shard.position).toEqual({ shipments: 0, sales: 0 });
    expect((await readStored(store, 0)).rows.size).toBe(0);
  });
});

describe('a commit', () => {
  test('is shared by all batches that waited, of all shards', async () => {
    const commits: number[] = [];
    const gate = closedGate();
    const store = openMemoryStore({ beforeWrite: (size) => (commits.push(size), gate.opened) });
    const { queue } = openQueue(store, 4);
    const shards = await Promise.all([0, 1, 2, 3].map((partition) => openShard({ store, partition })));
    const submitAll = (from: number): Promise<void>[] =>
      shards.map((shard) => queue.submit(shard, 'sales', oneEachOf(shard, from)));
    const first = submitAll(0);
    const second = submitAll(5);
    gate.open();
    await Promise.all([...first, ...second]);
    expect(commits).toHaveLength(2);
    expect(shards.map(({ position }) => position.sales)).toEqual([10, 10, 10, 10]);
  });

  test('takes the two topics of a shard together', async () => {
    const { store, shard, queue } = await openCore();
    await queue.submit(shard, 'sales', batchOf('sales', 0, []));
    const both = (['shipments', 'sales'] as const).map((role) =>
      queue.submit(shard, role, batchOf(role, 0, [record(0, '10/CA', 5)])),
    );
    await Promise.all(both);
    const stored = await readStored(store, 0);
    expect(stored.rows.get('10/CA')).toMatchObject({ received: 5n, sold: 5n });
    expect(stored.totals).toMatchObject({ items: 1, oversoldItems: 0, outOfStockItems: 1 });
  });
});

describe('when the store fails', () => {
  test('nothing is published or stored, the shard is refused, and no later slice or batch of it is applied', async () => {
    const fault = { atCommit: 2 };
    let commits = 0;
    const { store, shard, queue } = await openCore({
      beforeWrite: () => {
        if (++commits === fault.atCommit) throw new Error('no space left');
      },
    });
    // Three commits' worth: the second fails, so the third must not be applied over the gap.
    const large = queue.submit(shard, 'shipments', batchOf('shipments', 0, eventsFrom(0, 140_000).map(recordOf)));
    const other = queue.submit(shard, 'sales', batchOf('sales', 0, eventsFrom(0, 10).map(recordOf)));
    await expect(large).rejects.toThrow('no space left');
    await other;
    expect(shard.state).toEqual({ name: 'refused', reason: expect.stringContaining('no space left') as string });
    const stored = await readStored(store, 0);
    expect(stored.position).toEqual(shard.position);
    expect(shard.position.sales).toBe(0);
    expect(shard.position.shipments).toBeGreaterThan(0);
    const model = foldModel({ shipments: eventsFrom(0, 140_000), sales: [] }, shard.position, 100);
    expect(stored).toMatchObject(expectedStored(model, shard.position));
    const rows = await shard.rows(KEYS);
    expect(rows.value.map((row) => row && plainRow(row))).toEqual(KEYS.map((key) => model.rows.get(key) ?? null));
  });

  test('on reading, too', async () => {
    const fault = { armed: false };
    const store = openMemoryStore({
      beforeRead: () => {
        if (fault.armed) throw new Error('a bad block');
      },
    });
    await applyOne(store, '10/CA');
    const { queue } = openQueue(store, 1);
    const shard = await openShard({ store });
    fault.armed = true;
    await expect(queue.submit(shard, 'sales', batchOf('sales', 0, [record(1, '10/CA', 1)]))).rejects.toThrow(
      'a bad block',
    );
    expect(shard.state.name).toBe('refused');
  });

  test('a shard that had nothing in the failed commit goes on', async () => {
    let commits = 0;
    const store = openMemoryStore({
      beforeWrite: () => {
        if (++commits === 1) throw new Error('no space left');
      },
    });
    const { queue } = openQueue(store, 4);
    const [first, second] = [await openShard({ store, partition: 0 }), await openShard({ store, partition: 1 })];
    const failing = queue.submit(first, 'sales', oneEachOf(first, 0));
    const waiting = queue.submit(second, 'sales', oneEachOf(second, 0));
    await expect(failing).rejects.toThrow('no space left');
    await waiting;
    expect([first.state.name, second.state.name]).toEqual(['refused', 'restoring']);
    expect(second.position.sales).toBe(5);
  });

  test('shards whose rows were in another commit of the same group go on', async () => {
    let commits = 0;
    const store = openMemoryStore({
      beforeWrite: () => {
        if (++commits === 2) throw new Error('no space left');
      },
    });
    const { queue } = openQueue(store, 3);
    const shards = await Promise.all([0, 1, 2].map((partition) => openShard({ store, partition })));
    // Each has rows enough for a commit of its own.
    const submitted = shards.map((shard) => {
      const keys = keysOfPartition(shard.partition, 3, { count: 5_000 });
      const records = keys.map((key, offset) => record(offset, key, 1));
      return queue.submit(shard, 'sales', batchOf('sales', shard.partition, records));
    });
    const results = await Promise.allSettled(submitted);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(shards.map(({ state }) => state.name)).toEqual(['restoring', 'refused', 'restoring']);
    expect(shards.map(({ position }) => position.sales)).toEqual([5_000, 0, 5_000]);
    for (const { partition, position } of shards)
      expect((await readStored(store, partition)).position).toEqual(position);
  });

  test(
    'what is stored is sound wherever it failed: opened again, the shards go on to the end',
    { timeout: 60_000 },
    async () => {
      let failures = 0;
      await fc.assert(
        fc.asyncProperty(scenarios(), fc.infiniteStream(fc.nat(3)), async (scenario, chances) => {
          await using home = failingMemoryHome(chances, () => failures++);
          const run = await ShardRun.open(home, scenario);
          for (let tries = 0; ; tries++) {
            const isDone = await run.apply().then(
              () => true,
              () => false,
            );
            await run.reopen();
            await run.check();
            if (isDone) break;
            run.rewind();
            expect(tries).toBeLessThan(1_000);
          }
          expect(SHARDS.map((partition) => run.shard(partition).position)).toEqual(
            SHARDS.map((partition) => run.end(partition)),
          );
        }),
        { numRuns: 60 },
      );
      expect(failures).toBeGreaterThan(10);
    },
  );
});

describe('barrier', () => {
  test('after it nothing changes a shard that was closed before', async () => {
    const gate = closedGate();
    const { store, shard, queue } = await openCore({ beforeWrite: () => gate.opened });
    const underWay = queue.submit(shard, 'sales', batchOf('sales', 0, eventsFrom(0, 5).map(recordOf)));
    const waiting = queue.submit(shard, 'sales', batchOf('sales', 0, eventsFrom(5, 5).map(recordOf)));
    shard.change({ kind: 'close' });
    const barrier = queue.barrier();
    let passed = false;
    void barrier.then(() => (passed = true));
    for (let turns = 0; turns < 10; turns++) await nextTurn();
    expect(passed).toBe(false);
    gate.open();
    await barrier;
    const moment = await readStored(store, 0);
    await Promise.all([underWay, waiting]);
    await queue.submit(shard, 'sales', batchOf('sales', 0, eventsFrom(5, 5).map(recordOf)));
    expect(await readStored(store, 0)).toEqual(moment);
    expect(moment.position.sales).toBe(5);
  });
});

describe('sums', () => {
  const EDGE = Number.MAX_SAFE_INTEGER;

  test.each([
    ['up', EDGE - 3, [1, 1, 1, 1, 1_000_000_000, -1_000_000_000, -1, -1]],
    ['down', -EDGE + 3, [-1, -1, -1, -1, -1_000_000_000, 1_000_000_000, 1, 1]],
  ])('go past 2^53 %s and come back exactly, in rows and totals, each step over a restart', async (_, start, steps) => {
    const store = openMemoryStore();
    await seedRow(store, start);
    let expected = BigInt(start);
    for (const [i, count] of steps.entries()) {
      const { queue } = openQueue(store, 1);
      const shard = await openShard({ store });
      await queue.submit(shard, 'shipments', batchOf('shipments', 0, [record(100 + i, '10/CA', count)]));
      expected += BigInt(count);
      const { rows, totals, storeTotals } = await readStored(store, 0);
      expect([rows.get('10/CA')?.received, totals.received, storeTotals.get('10')?.received]).toEqual([
        expected,
        expected,
        expected,
      ]);
      const read = await shard.rows([keyOf('10/CA')]);
      expect(read.value.map((row) => row && plainRow(row).received)).toEqual([expected]);
      expect(plainTotals(shard.head.totals).received).toBe(expected);
    }
  });
});

describe('the outbox', () => {
  test('full, it takes no more; the dropped letters are told with their places, and the shard goes on', async () => {
    const { store, shard, queue, dropped } = await openCore();
    shard.outboxSize = OUTBOX_MAX - 2;
    const bad = [0, 1, 2, 3].map((offset) => record(offset, '10/CA', 'no count'));
    await queue.submit(shard, 'sales', batchOf('sales', 0, [...bad, record(4, '10/CA', 5)]));
    expect(shard.outboxSize).toBe(OUTBOX_MAX);
    const stored = await readStored(store, 0);
    expect(stored.deadLetters.map(({ offset }) => offset)).toEqual([0, 1]);
    expect(
      dropped.map(({ role, letter }) => [role, letter.topic, letter.partition, letter.offset, letter.reason]),
    ).toEqual([
      ['sales', 'sales', 0, 2, 'DECODE_FAILED'],
      ['sales', 'sales', 0, 3, 'DECODE_FAILED'],
    ]);
    expect(stored.rows.get('10/CA')).toMatchObject({ sold: 5n });
  });

  test('is counted again on opening, both topics, more than one read brings', async () => {
    const { store, shard, queue } = await openCore();
    for (const role of ['shipments', 'sales'] as const) {
      const bad = Array.from({ length: 700 }, (_, offset) => record(offset, '10/CA', 'no count'));
      await queue.submit(shard, role, batchOf(role, 0, bad));
    }
    expect(shard.outboxSize).toBe(1_400);
    expect((await openShard({ store })).outboxSize).toBe(1_400);
  });
});

interface Core {
  readonly store: ShardStore;
  readonly shard: Shard;
  readonly queue: ReturnType<typeof openQueue>['queue'];
  readonly counts: ReturnType<typeof openQueue>['counts'];
  readonly dropped: ReturnType<typeof openQueue>['dropped'];
}

/** Shard 0 of one partition on a memory store. */
async function openCore(hooks: MemoryStoreHooks = {}): Promise<Core> {
  const store = openMemoryStore(hooks);
  return { store, ...openQueue(store, 1), shard: await openShard({ store }) };
}

function eventsFrom(first: number, count: number): ModelEvent[] {
  return Array.from({ length: count }, (_, i) => {
    const offset = first + i;
    return {
      offset,
      key: KEYS[(offset * 7) % KEYS.length] ?? '',
      count: (offset % 5) - 1,
      eventId: null,
      time: offset,
    };
  });
}

/** Five sales of one key of the shard, from `first` on. */
function oneEachOf(shard: Shard, first: number): ReturnType<typeof batchOf> {
  const [key] = keysOfPartition(shard.partition, 4, { count: 1 });
  const offsets = [0, 1, 2, 3, 4].map((i) => first + i);
  return batchOf(
    'sales',
    shard.partition,
    offsets.map((offset) => record(offset, key ?? null, 1)),
  );
}

async function applyOne(store: ShardStore, key: string, role: TopicRole = 'sales'): Promise<void> {
  const { queue } = openQueue(store, 1);
  await queue.submit(await openShard({ store }), role, batchOf(role, 0, [record(0, key, 1)]));
}

/** As if events had added up to `received` already. */
async function seedRow(store: ShardStore, received: number): Promise<void> {
  const keys = new ShardKeys(0);
  const row: InventoryRow = {
    received,
    sold: 0,
    shipmentsStamp: 99,
    salesStamp: -1,
    lastShipmentAt: 1,
    lastSaleAt: null,
  };
  const isShort = Number(received <= 0);
  const totals: Totals = { items: 1, received, sold: 0, oversoldItems: isShort, outOfStockItems: isShort };
  const checkpoint = { ...START_CHECKPOINT, position: { shipments: 100, sales: 0 } };
  await store.write((batch) => {
    batch.put(keys.row(keyOf('10/CA')), encodeRow(row));
    batch.put(keys.itemIndex({ itemId: 'CA', storeId: '10' }), Buffer.alloc(0));
    batch.put(keys.storeTotals('10'), Buffer.from(JSON.stringify(encodeTotals(totals))));
    batch.put(keys.head, encodeHead({ checkpoint, totals, complete: false }));
  });
}

/** Fails each write for which `chances` says 0. */
function failingMemoryHome(chances: Iterable<number>, onFailure: () => void): StoreHome {
  const next = chances[Symbol.iterator]();
  const store = openMemoryStore({
    beforeWrite: async () => {
      await nextTurn();
      if (next.next().value !== 0) return;
      onFailure();
      throw new Error('no space left');
    },
  });
  const nothing = (): Promise<void> => Promise.resolve();
  return { open: () => Promise.resolve(store), close: nothing, [Symbol.asyncDispose]: () => store.close() };
}
