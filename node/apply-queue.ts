// The one writer of a node: every batch of every shard goes through it, in order, and many share one commit.
//
//   submit ─▶ decode ─▶ touch caches ─▶ one multi-get for the misses ─▶ fold ─▶ store batches ─▶ publish ─▶ resolve
//
// I1: a draft is published only after its batch has committed. Both topics of a partition go through here, so that no two
// drafts of a shard ever exist at once; all of a shard's draft is in one store batch, different shards may be in different
// ones. I9: a group holds at most GROUP_RECORDS_MAX records; reads and health checks get their turn between slices of
// SLICE_RECORDS and between commits.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LogBatch } from '../cluster/event-log.ts';
import type { TopicRole } from '../schema/events.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import { type DecodedBatch, decodeBatch } from './record-batch.ts';
import type { Shard, Touched } from './shard.ts';
import type { FoldCounts, ShardDraft } from './shard-draft.ts';
import type { ShardStore } from './shard-store.ts';
import type { OutboxEntry } from './dead-letters.ts';

/** Records taken at once: many, so that a busy row is written once for all its events; their memory is the limit. */
const GROUP_RECORDS_MAX = 65_536;
/** A store batch takes further shards until it holds so many rows: handing one over holds the event loop, 3–4 µs a row. */
const COMMIT_ROWS = 4_096;
/** Store batches under way at once: the next one is made while the store writes the one before. */
const COMMITS_MAX = 2;
/** Records handled before others get the event loop: about 5 ms. */
const SLICE_RECORDS = 2_048;

export interface ApplyListener {
  applied(shard: Shard, counts: FoldCounts): void;
  /** The outbox is full: these dead letters exist only in the log of this process. */
  dropped(shard: Shard, letters: readonly OutboxEntry[]): void;
}

interface Item {
  readonly shard: Shard;
  readonly role: TopicRole;
  readonly batch: LogBatch;
  /** Done by the last slice of a batch. */
  resolve(): void;
  /** Done by whichever slice fails. */
  reject(error: unknown): void;
}

/** Applies batches in the order of `submit`. */
export class ApplyQueue {
  readonly #store: ShardStore;
  readonly #partitions: number;
  readonly #listener: ApplyListener;
  #waiting: Item[] = [];
  #isRunning = false;
  #applying: Promise<void> = Promise.resolve();

  constructor(options: { readonly store: ShardStore; readonly partitions: number; readonly listener: ApplyListener }) {
    this.#store = options.store;
    this.#partitions = options.partitions;
    this.#listener = options.listener;
  }

  /**
   * Resolves once the batch is on disk and published, or passed over because the shard no longer applies. Records below
   * the shard's position are passed over. Rejects if the store failed: the shard is refused by then, for what follows a
   * failed batch must not be applied over the gap; what is stored of it is sound and can be opened again.
   */
  submit(shard: Shard, role: TopicRole, batch: LogBatch): Promise<void> {
    return new Promise((resolve, reject) => {
      const slices = sliceBatch(batch);
      slices.forEach((slice, i) => {
        const isLast = i === slices.length - 1;
        this.#waiting.push({ shard, role, batch: slice, resolve: isLast ? resolve : ignore, reject });
      });
      if (!this.#isRunning) void this.#run();
    });
  }

  /** Resolves once the group under way is done: after it nothing changes a shard that stopped applying before the call. */
  barrier(): Promise<void> {
    return this.#applying;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      this.#applying = this.#applyGroup(this.#takeGroup());
      await this.#applying;
    }
    this.#isRunning = false;
  }

  /** Never rejects: every item is settled. */
  async #applyGroup(group: readonly Item[]): Promise<void> {
    try {
      const drafts = await this.#fold(group.filter(({ shard }) => shard.applies));
      await this.#commitAll(drafts, group);
      for (const item of group) item.resolve();
    } catch (error) {
      this.#fail(group, error);
    }
  }

  /** Refuses the shards at once: their dedupe windows know ids that are not stored, and their next slices wait here. */
  #fail(group: readonly Item[], error: unknown): void {
    const reason = `the local store failed: ${error instanceof Error ? error.message : String(error)}`;
    for (const { shard } of group) if (shard.applies) shard.change({ kind: 'refuse', reason });
    for (const item of group) item.reject(error);
  }

  #takeGroup(): Item[] {
    let records = 0;
    let items = 0;
    for (const item of this.#waiting) {
      records += item.batch.records.length;
      if (items > 0 && records > GROUP_RECORDS_MAX) break;
      items++;
    }
    return this.#waiting.splice(0, items);
  }

  /** Decodes and folds, a slice at a time. */
  async #fold(group: readonly Item[]): Promise<Map<Shard, ShardDraft>> {
    const drafts = new Map<Shard, ShardDraft>();
    const parts: { shard: Shard; batch: DecodedBatch; touched: Touched }[] = [];
    for (const { shard, role, batch } of group) {
      const draft = drafts.get(shard) ?? shard.newDraft();
      drafts.set(shard, draft);
      const options = {
        role,
        partitions: this.#partitions,
        fromOffset: draft.decodedTo[role],
        holds: (key: InventoryKey) => shard.holds(key),
      };
      const decoded = decodeBatch(batch, options);
      parts.push({ shard, batch: decoded, touched: shard.touch(draft, decoded) });
      await nextTurn();
    }
    await this.#loadMissing(drafts, parts);
    for (const { shard, batch, touched } of parts) {
      drafts.get(shard)?.fold(batch, touched.rows);
      await nextTurn();
    }
    return drafts;
  }

  /** One multi-get for all shards of the group. */
  async #loadMissing(
    drafts: ReadonlyMap<Shard, ShardDraft>,
    parts: readonly { shard: Shard; touched: Touched }[],
  ): Promise<void> {
    const keys = parts.map(({ shard, touched }) => shard.missingKeys(touched));
    const values = keys.some((list) => list.length > 0) ? await this.#store.getMany(keys.flat()) : [];
    let from = 0;
    parts.forEach(({ shard, touched }, i) => {
      const to = from + (keys[i]?.length ?? 0);
      const draft = drafts.get(shard);
      if (draft !== undefined) shard.load(draft, touched, values.slice(from, to));
      from = to;
    });
  }

  /** A few shards at a time. A commit that fails is its own shards' affair. */
  async #commitAll(drafts: ReadonlyMap<Shard, ShardDraft>, group: readonly Item[]): Promise<void> {
    const underWay = new Set<Promise<void>>();
    for (const part of partsOf(drafts)) {
      const items = group.filter(({ shard }) => part.has(shard));
      const commit = this.#commit(part).then(
        () => items.forEach((item) => item.resolve()),
        (error: unknown) => this.#fail(items, error),
      );
      underWay.add(commit);
      void commit.then(() => underWay.delete(commit));
      await (underWay.size < COMMITS_MAX ? nextTurn() : Promise.race(underWay));
    }
    await Promise.all(underWay);
  }

  /** One store batch. */
  async #commit(drafts: ReadonlyMap<Shard, ShardDraft>): Promise<void> {
    for (const draft of drafts.values()) draft.seal();
    await this.#store.write((batch) => {
      for (const [shard, draft] of drafts) shard.write(draft, batch);
    });
    for (const [shard, draft] of drafts) {
      shard.publish(draft);
      this.#listener.applied(shard, draft.counts);
      if (draft.droppedLetters.length > 0) this.#listener.dropped(shard, draft.droppedLetters);
    }
  }
}

/** The drafts in parts that each make one store batch. */
function* partsOf(drafts: ReadonlyMap<Shard, ShardDraft>): Generator<ReadonlyMap<Shard, ShardDraft>> {
  let part = new Map<Shard, ShardDraft>();
  let rows = 0;
  for (const [shard, draft] of drafts) {
    part.set(shard, draft);
    rows += draft.rows.size;
    if (rows < COMMIT_ROWS) continue;
    yield part;
    part = new Map();
    rows = 0;
  }
  if (part.size > 0) yield part;
}

function ignore(): void {
  // Not the last slice of its batch.
}

/** The batch in slices of at most SLICE_RECORDS records; each but the last ends behind its own last record. */
function sliceBatch(batch: LogBatch): LogBatch[] {
  if (batch.records.length <= SLICE_RECORDS) return [batch];
  const slices: LogBatch[] = [];
  for (let from = 0; from < batch.records.length; from += SLICE_RECORDS) {
    const records = batch.records.slice(from, from + SLICE_RECORDS);
    const isLast = from + SLICE_RECORDS >= batch.records.length;
    const nextOffset = isLast ? batch.nextOffset : (records.at(-1)?.offset ?? batch.firstOffset) + 1;
    slices.push({ ...batch, records, nextOffset });
  }
  return slices;
}
