// Random lives of two shards of one store, for properties: what their logs hold, and in which cuts and order it is applied.

import * as fc from 'fast-check';
import type { TopicRole } from '../../schema/events.ts';
import { openMemoryStore } from '../../node/memory-store.ts';
import { openRocksDbStore } from '../../node/rocksdb-store.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import { keysOfPartition } from './shard-harness.ts';
import type { ModelEvent, ModelLog } from './shard-model.ts';
import { tempDir } from './temp-dir.ts';

export const PARTITIONS = 3;
/** The two partitions whose shards are under test. */
export const SHARDS = [0, 2] as const;
export const KEYS = new Map(
  SHARDS.map((partition) => [partition, keysOfPartition(partition, PARTITIONS, { count: 7 })]),
);

/** One stretch of a shard's topic, `back` events before where the last one ended up to `size` events behind it. */
export interface Stretch {
  readonly shard: (typeof SHARDS)[number];
  readonly role: TopicRole;
  readonly back: number;
  readonly size: number;
  /** What happens once it is submitted: at once the next one, or first wait for all, or then open the shards anew. */
  readonly next: 'go on' | 'wait' | 'reopen';
}
export interface Scenario {
  readonly logs: ReadonlyMap<number, ModelLog>;
  readonly dedupeWindow: number;
  readonly cacheEntries: number;
  readonly schedule: readonly Stretch[];
}

export function scenarios(): fc.Arbitrary<Scenario> {
  return fc.record({
    logs: fc.tuple(logs(SHARDS[0]), logs(SHARDS[1])).map(
      ([a, b]) =>
        new Map([
          [SHARDS[0], a],
          [SHARDS[1], b],
        ] as const),
    ),
    dedupeWindow: fc.integer({ min: 1, max: 12 }),
    // Some evict with every look-up, some never.
    cacheEntries: fc.constantFrom(0, 2, 5, 1_000),
    schedule: schedules(),
  });
}

export function schedules(): fc.Arbitrary<Stretch[]> {
  const stretch = fc.record({
    shard: fc.constantFrom(...SHARDS),
    role: fc.constantFrom('shipments', 'sales'),
    back: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(6) }),
    size: fc.nat(9),
    next: fc.oneof(
      { weight: 5, arbitrary: fc.constant('go on' as const) },
      { weight: 2, arbitrary: fc.constant('wait' as const) },
      { weight: 1, arbitrary: fc.constant('reopen' as const) },
    ),
  });
  return fc.array(stretch, { maxLength: 30 });
}

function logs(partition: (typeof SHARDS)[number]): fc.Arbitrary<ModelLog> {
  return fc.record({ shipments: events(partition), sales: events(partition) });
}

/** Few keys and few ids, so that they meet; offsets with gaps, as transactions leave them. */
function events(partition: (typeof SHARDS)[number]): fc.Arbitrary<ModelEvent[]> {
  const event = fc.record({
    gap: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(4) }),
    key: fc.constantFrom(...(KEYS.get(partition) ?? [])),
    count: fc.oneof(fc.integer({ min: -4, max: 4 }), fc.constantFrom(1_000_000_000, -1_000_000_000)),
    eventId: fc.option(fc.constantFrom('a', 'b', 'c'), { freq: 2 }),
    time: fc.option(fc.nat(1_000_000), { freq: 4 }),
  });
  return fc.array(event, { maxLength: 40 }).map((list) => {
    let offset = -1;
    return list.map(({ gap, ...rest }) => ({ ...rest, offset: (offset += 1 + gap) }));
  });
}

/** Where a store lives over several openings. */
export interface StoreHome extends AsyncDisposable {
  open(): Promise<ShardStore>;
  /** Closes the store as a stop of the node does, keeping what it holds. */
  close(store: ShardStore): Promise<void>;
}

export const STORE_HOMES: Readonly<Record<string, () => Promise<StoreHome>>> = {
  memory: () => {
    const store = openMemoryStore();
    const nothing = (): Promise<void> => Promise.resolve();
    return Promise.resolve({
      open: () => Promise.resolve(store),
      close: nothing,
      [Symbol.asyncDispose]: () => store.close(),
    });
  },
  RocksDB: async () => {
    const folder = await tempDir('shard');
    let opened: ShardStore | undefined;
    return {
      open: async () => (opened = await openRocksDbStore({ path: folder.path })),
      close: (store) => store.close(),
      [Symbol.asyncDispose]: async () => {
        await opened?.close();
        await folder[Symbol.asyncDispose]();
      },
    };
  },
};
