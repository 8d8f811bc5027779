// The shard and its apply queue against the model: whatever the cut, order, repetition and interleaving of what is applied,
// however small the cache, and wherever the node was restarted (I1, I2, I3, I5).

import { setImmediate as nextTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { openMemoryStore } from '../../node/memory-store.ts';
import type { At, Shard } from '../../node/shard.ts';
import { itemTotals, storePage } from '../../node/shard-scan.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import { covers, type Position } from '../../schema/position.ts';
import { plainRow, plainTotals, readStored } from '../support/shard-harness.ts';
import { foldModel, type ModelShard, modelTotals } from '../support/shard-model.ts';
import { ShardRun } from '../support/shard-run.ts';
import {
  KEYS,
  scenarios,
  schedules,
  SHARDS,
  STORE_HOMES,
  type StoreHome,
  type Stretch,
} from '../support/shard-scenario.ts';

const RUNS = { memory: 100, RocksDB: 8 };

describe.each(Object.entries(RUNS))('shards on the %s store', (adapter, numRuns) => {
  const openHome = STORE_HOMES[adapter] as () => Promise<StoreHome>;

  test(
    'equal the model at their position, whatever the batches, caches and restarts',
    { timeout: 60_000 },
    async () => {
      await fc.assert(
        fc.asyncProperty(scenarios(), async (scenario) => {
          await using home = await openHome();
          const run = await ShardRun.open(home, scenario);
          await run.apply(() => run.check());
          run.checkAtEnd();
          await run.reopen();
          await run.check();
          run.checkAtEnd();
          expect(SHARDS.map((partition) => run.shard(partition).position)).toEqual(
            SHARDS.map((partition) => run.end(partition)),
          );
        }),
        { numRuns },
      );
    },
  );

  test('are equal on two replicas that took the same logs in other cuts (I3)', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(
        scenarios(),
        schedules(),
        fc.constantFrom(0, 3, 1_000),
        async (scenario, schedule, cacheEntries) => {
          await using homes = await twoHomes(openHome);
          const first = await ShardRun.open(homes.a, scenario);
          const second = await ShardRun.open(homes.b, { ...scenario, schedule, cacheEntries });
          await Promise.all([first.apply(), second.apply()]);
          for (const partition of SHARDS) {
            expect(await readStored(first.store, partition)).toEqual(await readStored(second.store, partition));
          }
          expect(first.counts).toEqual(second.counts);
        },
      ),
      { numRuns },
    );
  });

  test(
    'answer, while they are being changed, of exactly the position they state, and never go back',
    { timeout: 60_000 },
    async () => {
      let moments = 0;
      await fc.assert(
        fc.asyncProperty(scenarios(), fc.infiniteStream(fc.nat(3)), async (scenario, delays) => {
          await using home = adapter === 'memory' ? slowMemoryHome(delays) : await openHome();
          const underWay = scenario.schedule.map((stretch) => ({ ...stretch, next: 'go on' as const }));
          const run = await ShardRun.open(home, { ...scenario, schedule: [...REOPENED, ...underWay] });
          const reading = { done: false };
          let readers: Promise<Answer[]>[] = [];
          await run.apply(() => {
            if (readers.length > 0) return;
            readers = SHARDS.flatMap((partition) => [0, 1].map((salt) => readAlong(run, partition, { salt, reading })));
          });
          reading.done = true;
          for (const answers of await Promise.all(readers)) {
            checkAnswers(run, answers, scenario.dedupeWindow);
            moments += new Set(answers.map(({ position }) => JSON.stringify(position))).size;
          }
        }),
        { numRuns },
      );
      expect(moments).toBeGreaterThan(numRuns * 4);
    },
  );
});

/** Leaves both shards with something stored and nothing cached, so that reads go to the store as well as to the cache. */
const REOPENED: readonly Stretch[] = SHARDS.map((shard, i) => ({
  shard,
  role: 'sales',
  back: 0,
  size: 3,
  next: i < SHARDS.length - 1 ? 'go on' : 'reopen',
}));

async function twoHomes(openHome: () => Promise<StoreHome>): Promise<AsyncDisposable & { a: StoreHome; b: StoreHome }> {
  const [a, b] = await Promise.all([openHome(), openHome()]);
  const dispose = async (): Promise<void> => {
    await Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()]);
  };
  return { a, b, [Symbol.asyncDispose]: dispose };
}

/** A memory store whose every read and write takes turns of the event loop, as `delays` says, before and after its moment. */
function slowMemoryHome(delays: Iterable<number>): StoreHome {
  const next = delays[Symbol.iterator]();
  const pause = async (): Promise<void> => {
    for (let turns = (next.next().value as number | undefined) ?? 0; turns > 0; turns--) await nextTurn();
  };
  const inner = openMemoryStore({ beforeRead: pause, beforeWrite: pause });
  const slow = async <Value>(answer: Promise<Value>): Promise<Value> => {
    const value = await answer;
    await pause();
    return value;
  };
  const store: ShardStore = {
    getMany: (keys) => slow(inner.getMany(keys)),
    scan: (range) => slow(inner.scan(range)),
    write: (fill) => slow(inner.write(fill)),
    snapshot: () => inner.snapshot(),
    stats: () => inner.stats(),
    close: () => inner.close(),
  };
  const nothing = (): Promise<void> => Promise.resolve();
  return { open: () => Promise.resolve(store), close: nothing, [Symbol.asyncDispose]: () => store.close() };
}

interface Answer {
  readonly partition: number;
  readonly position: Position;
  check(model: ModelShard): void;
}

/** One reader that asks one thing after the other until `reading.done`. */
async function readAlong(
  run: ShardRun,
  partition: number,
  { salt, reading }: { readonly salt: number; readonly reading: { readonly done: boolean } },
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let turn = salt; !reading.done; turn++) {
    const answer = READS[turn % READS.length]?.(run.shard(partition), turn);
    if (answer !== undefined) answers.push({ partition, ...(await answer) });
    await nextTurn();
  }
  return answers;
}

type ReadOnce = (shard: Shard, turn: number) => Promise<Omit<Answer, 'partition'>>;

const READS: readonly ReadOnce[] = [
  async (shard, turn) => {
    const keys = (KEYS.get(shard.partition as 0) ?? []).filter((_, i) => i % 2 === (turn >> 2) % 2);
    const { position, value } = await shard.rows(keys);
    return {
      position,
      check: (model) =>
        expect(value.map((row) => row && plainRow(row))).toEqual(keys.map((key) => model.rows.get(key) ?? null)),
    };
  },
  async (shard) => {
    const { position, value } = await shard.storeTotals('s1');
    return { position, check: (model) => expect(value && plainTotals(value)).toEqual(modelTotals(model.rows, 's1/')) };
  },
  async (shard) => {
    const at: At<unknown> = { position: shard.position, value: plainTotals(shard.head.totals) };
    return {
      position: at.position,
      check: (model) => expect(at.value).toMatchObject(modelTotals(model.rows) ?? { items: 0 }),
    };
  },
  async (shard) => {
    const storeId = 's0';
    const { position, value } = await shard.atSnapshot((reader) =>
      storePage(reader, shard.keys, {
        kind: 'storePage',
        partition: shard.partition,
        storeId,
        order: 'ITEM_ID',
        filter: {},
        after: null,
        limit: 500,
        scanRowsMax: 1_000,
      }),
    );
    return {
      position,
      check: (model) => {
        const expected = [...model.rows].filter(([key]) => key.startsWith('s0/')).sort(([a], [b]) => (a < b ? -1 : 1));
        expect(value.rows.map(({ key, row }) => [key, plainRow(row)])).toEqual(expected);
      },
    };
  },
  async (shard) => {
    const { position, value } = await shard.atSnapshot((reader) =>
      itemTotals(reader, shard.keys, {
        kind: 'itemTotals',
        partition: shard.partition,
        itemId: 'i0',
        scanRowsMax: 100,
      }),
    );
    return {
      position,
      check: (model) => {
        const rows = new Map([...model.rows].filter(([key]) => key.endsWith('/i0')));
        expect(value && plainTotals(value)).toEqual(modelTotals(rows));
      },
    };
  },
];

function checkAnswers(run: ShardRun, answers: readonly Answer[], dedupeWindow: number): void {
  const models = new Map<string, ModelShard>();
  let before: Position = { shipments: 0, sales: 0 };
  for (const answer of answers) {
    const { partition, position } = answer;
    expect(covers(position, before), `${JSON.stringify(position)} after ${JSON.stringify(before)}`).toBe(true);
    before = position;
    const moment = JSON.stringify(position);
    const model = models.get(moment) ?? foldModel(run.log(partition), position, dedupeWindow);
    models.set(moment, model);
    answer.check(model);
  }
}
