// Applies a scenario to the shards of one store, as ingestion would, and compares them with the model on the way.

import assert from 'node:assert/strict';
import type { ApplyQueue } from '../../node/apply-queue.ts';
import type { Shard } from '../../node/shard.ts';
import type { FoldCounts } from '../../node/shard-draft.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import type { TopicRole } from '../../schema/events.ts';
import type { Position } from '../../schema/position.ts';
import {
  batchOf,
  cacheBytesFor,
  expectedStored,
  keyOf,
  openQueue,
  openShard,
  plainRow,
  plainTotals,
  readStored,
  recordOf,
} from './shard-harness.ts';
import { foldModel, type ModelLog, modelTotals } from './shard-model.ts';
import { KEYS, PARTITIONS, type Scenario, SHARDS, type StoreHome, type Stretch } from './shard-scenario.ts';

export const UNKNOWN_KEY = keyOf('nobody/nothing');

/** Two shards of one store, being fed. */
export class ShardRun {
  readonly shards = new Map<number, Shard>();
  store!: ShardStore;
  readonly #home: StoreHome;
  readonly #scenario: Scenario;
  /** Per shard and topic, how many events have been submitted. */
  readonly #cursors = new Map<string, number>();
  #pending: Promise<void>[] = [];
  #queue!: ApplyQueue;
  #counts: FoldCounts[] = [];

  private constructor(home: StoreHome, scenario: Scenario) {
    this.#home = home;
    this.#scenario = scenario;
  }

  static async open(home: StoreHome, scenario: Scenario): Promise<ShardRun> {
    const run = new ShardRun(home, scenario);
    await run.#open();
    return run;
  }

  async #open(): Promise<void> {
    this.store = await this.#home.open();
    const { queue, counts } = openQueue(this.store, PARTITIONS);
    this.#queue = queue;
    this.#counts.push(counts);
    const { dedupeWindow, cacheEntries } = this.#scenario;
    for (const partition of SHARDS) {
      const rowCacheBytes = cacheBytesFor(cacheEntries);
      this.shards.set(partition, await openShard({ store: this.store, partition, dedupeWindow, rowCacheBytes }));
    }
  }

  shard(partition: number): Shard {
    return this.shards.get(partition) as Shard;
  }

  log(partition: number): ModelLog {
    return this.#scenario.logs.get(partition) as ModelLog;
  }

  /** Applies the schedule, then whatever is left of the logs. `onPause` is called whenever nothing is under way. */
  async apply(onPause: () => Promise<void> | void = () => undefined): Promise<void> {
    for (const stretch of this.#scenario.schedule) {
      this.#submit(stretch);
      if (stretch.next === 'go on') continue;
      await this.settle();
      if (stretch.next === 'reopen') await this.reopen();
      await onPause();
    }
    for (const shard of SHARDS) {
      for (const role of ['shipments', 'sales'] as const) {
        this.#submit({ shard, role, back: 0, size: Number.POSITIVE_INFINITY, next: 'go on' });
      }
    }
    await this.settle();
    await onPause();
  }

  #submit({ shard, role, back, size }: Stretch): void {
    const name = `${shard}/${role}`;
    const events = this.log(shard)[role];
    const cursor = this.#cursors.get(name) ?? 0;
    const end = Math.min(events.length, cursor + size);
    this.#cursors.set(name, end);
    const records = events.slice(Math.max(0, cursor - back), end).map(recordOf);
    const before = (events[cursor - 1]?.offset ?? -1) + 1;
    const batch = batchOf(role, shard, records, records.length === 0 ? { firstOffset: before } : {});
    this.#pending.push(this.#queue.submit(this.shard(shard), role, batch));
  }

  /** Waits for everything submitted. Throws, once all of it has ended, if some of it failed. */
  async settle(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    const failed = (await Promise.allSettled(pending)).find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Goes on from where the shards stand, as ingestion does after a restart. */
  rewind(): void {
    for (const partition of SHARDS) {
      const { position } = this.shard(partition);
      for (const role of ['shipments', 'sales'] as const) {
        const applied = this.log(partition)[role].filter(({ offset }) => offset < position[role]).length;
        this.#cursors.set(`${partition}/${role}`, applied);
      }
    }
  }

  /** Closes the store and opens it and its shards anew; reading starts a little before where it ended. */
  async reopen(): Promise<void> {
    await this.settle();
    await this.#home.close(this.store);
    await this.#open();
  }

  get counts(): FoldCounts {
    const sum = (field: keyof FoldCounts): number => this.#counts.reduce((total, counts) => total + counts[field], 0);
    return { applied: sum('applied'), duplicates: sum('duplicates'), conflicts: sum('conflicts') };
  }

  /** What is stored and what is read of both shards equals the model at their position. */
  async check(): Promise<void> {
    for (const partition of SHARDS) {
      const shard = this.shard(partition);
      const model = foldModel(this.log(partition), shard.position, this.#scenario.dedupeWindow);
      const rest = { deadLetters: [], complete: false };
      const stored = { ...(await readStored(this.store, partition)), ...rest };
      assert.deepEqual(stored, { ...expectedStored(model, shard.position), ...rest });
      const keys = [...(KEYS.get(partition) ?? []), UNKNOWN_KEY];
      const rows = await shard.rows(keys);
      const expected = keys.map((key) => model.rows.get(key) ?? null);
      assert.deepEqual(rows.position, shard.position);
      assert.deepEqual(
        rows.value.map((row) => row && plainRow(row)),
        expected,
      );
      for (const storeId of ['s0', 's1', 's2', 'nobody']) {
        const { value } = await shard.storeTotals(storeId);
        assert.deepEqual(value && plainTotals(value), modelTotals(model.rows, `${storeId}/`));
      }
    }
  }

  /** The position behind everything in the partition's logs. */
  end(partition: number): Position {
    const end = (role: TopicRole): number => (this.log(partition)[role].at(-1)?.offset ?? -1) + 1;
    return { shipments: end('shipments'), sales: end('sales') };
  }

  /** Both shards have applied everything, and passed over what the model passes over. */
  checkAtEnd(): void {
    let [duplicates, conflicts] = [0, 0];
    for (const partition of SHARDS) {
      const position = this.end(partition);
      assert.deepEqual(this.shard(partition).position, position);
      const model = foldModel(this.log(partition), position, this.#scenario.dedupeWindow);
      duplicates += model.duplicates;
      conflicts += model.conflicts;
    }
    assert.deepEqual(this.counts, { ...this.counts, duplicates, conflicts });
  }
}
