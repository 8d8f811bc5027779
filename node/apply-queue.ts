// The one writer of a node: every batch of every shard goes through it, in order, and many share one commit.
//
//   submit ─▶ decode ─▶ touch caches ─▶ one multi-get for the misses ─▶ fold ─▶ one store batch ─▶ publish ─▶ resolve
//
// I1: a draft is published only after its batch has committed. Both topics of a partition go through here, so that no two
// drafts of a shard ever exist at once. I9: a group holds at most GROUP_RECORDS_MAX records; reads and health checks get
// their turn between slices of SLICE_RECORDS.

import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LogBatch } from '../cluster/event-log.ts';
import type { TopicRole } from '../schema/events.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import { type DecodedBatch, decodeBatch } from './record-batch.ts';
import type { Missing, Shard } from './shard.ts';
import type { FoldCounts, ShardDraft } from './shard-draft.ts';
import type { ShardStore } from './shard-store.ts';
import type { OutboxEntry } from './dead-letters.ts';

/** Records of one commit: large enough to coalesce keys, small enough that memory and the wait for a commit stay small. */
const GROUP_RECORDS_MAX = 16_384;
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
  #running: Promise<void> | undefined;
  #committing: Promise<void> = Promise.resolve();

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
      this.#running ??= this.#run();
    });
  }

  /** Resolves once the group under way is done: after it nothing changes a shard that stopped applying before the call. */
  async barrier(): Promise<void> {
    await this.#committing.catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#takeGroup();
      try {
        this.#committing = this.#apply(group.filter(({ shard }) => shard.applies));
        await this.#committing;
        for (const item of group) item.resolve();
      } catch (error) {
        this.#fail(group, error);
      }
    }
    this.#running = undefined;
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

  async #apply(group: readonly Item[]): Promise<void> {
    const drafts = new Map<Shard, ShardDraft>();
    const decoded: { shard: Shard; batch: DecodedBatch }[] = [];
    const missing: { shard: Shard; missing: Missing }[] = [];
    for (const { shard, role, batch } of group) {
      const draft = drafts.get(shard) ?? shard.newDraft();
      drafts.set(shard, draft);
      const options = {
        role,
        partitions: this.#partitions,
        fromOffset: draft.decodedTo[role],
        holds: (key: InventoryKey) => shard.holds(key),
      };
      const part = decodeBatch(batch, options);
      decoded.push({ shard, batch: part });
      missing.push({ shard, missing: shard.touch(draft, part) });
      await nextTurn();
    }
    await this.#loadMissing(drafts, missing);
    for (const { shard, batch } of decoded) drafts.get(shard)?.fold(batch);
    await this.#commit(drafts);
  }

  /** One multi-get for all shards of the group. */
  async #loadMissing(
    drafts: ReadonlyMap<Shard, ShardDraft>,
    parts: readonly { shard: Shard; missing: Missing }[],
  ): Promise<void> {
    const keys = parts.map(({ shard, missing }) => shard.missingKeys(missing));
    const values = keys.some((list) => list.length > 0) ? await this.#store.getMany(keys.flat()) : [];
    let from = 0;
    parts.forEach(({ shard, missing }, i) => {
      const to = from + (keys[i]?.length ?? 0);
      const draft = drafts.get(shard);
      if (draft !== undefined) shard.load(draft, missing, values.slice(from, to));
      from = to;
    });
  }

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
