// The shards that this node holds: opens them, hands them to the ingest, and closes them. Ownership decides which
// (node/ownership.ts); a shard that fails to open is refused with its reason and harms no other.
//
// Closing keeps what is on disk: a partition that comes back catches up from there instead of replaying its log.

import type { TopicRole } from '../schema/events.ts';
import { TOPIC_ROLES } from '../schema/events.ts';
import type { ShardStateName } from '../schema/topology.ts';
import type { ApplyQueue } from './apply-queue.ts';
import type { Ingest } from './ingest.ts';
import { Shard } from './shard.ts';
import type { ShardHost } from './shard-host.ts';
import type { ShardState } from './shard-state.ts';
import type { ShardStore } from './shard-store.ts';

export interface ShardSetOptions {
  readonly store: ShardStore;
  readonly queue: ApplyQueue;
  readonly ingest: Ingest;
  /** Shared by all shards of the node. */
  readonly rowCacheBytes: number;
  readonly dedupeWindow: number;
  /** Every change of a shard's state, for the log. */
  readonly onShardState: (partition: number, state: ShardState) => void;
}

export class ShardSet implements ShardHost {
  readonly #options: ShardSetOptions;
  readonly #shards = new Map<number, Shard>();
  readonly #owned = new Map<number, { epoch: number }>();
  readonly #listeners = new Set<() => void>();

  constructor(options: ShardSetOptions) {
    this.#options = options;
  }

  get(partition: number): Shard | undefined {
    return this.#shards.get(partition);
  }

  all(): Iterable<Shard> {
    return this.#shards.values();
  }

  states(): ReadonlyMap<number, ShardStateName> {
    return new Map([...this.#shards].map(([partition, shard]) => [partition, shard.state.name]));
  }

  /** Shards that this node owns now. */
  *owned(): Generator<Shard> {
    for (const partition of this.#owned.keys()) {
      const shard = this.#shards.get(partition);
      if (shard !== undefined) yield shard;
    }
  }

  get ownedCount(): number {
    return this.#owned.size;
  }

  /** Begins to hold the partition; does nothing if it is held already. */
  open(partition: number): void {
    if (this.#shards.has(partition)) return;
    const { store, dedupeWindow, onShardState, ingest } = this.#options;
    const shard = new Shard({ partition, store, dedupeWindow, rowCacheBytes: this.#options.rowCacheBytes });
    this.#shards.set(partition, shard);
    this.#shareRowCache();
    shard.onStateChange((state) => {
      onShardState(partition, state);
      this.#changed();
    });
    this.#changed();
    shard.open().then(
      () => {
        if (this.#shards.get(partition) === shard && shard.applies) ingest.add(shard);
      },
      (error: unknown) => shard.change({ kind: 'refuse', reason: `the local store cannot be read: ${String(error)}` }),
    );
  }

  /** Stops holding it; resolves once nothing of it is written any more. */
  async close(partition: number): Promise<void> {
    const shard = this.#shards.get(partition);
    if (shard === undefined) return;
    shard.change({ kind: 'close' });
    this.#options.ingest.remove(partition);
    await this.#options.queue.barrier();
    shard.change({ kind: 'closed' });
    if (this.#shards.get(partition) === shard) this.#shards.delete(partition);
    this.#shareRowCache();
    this.#changed();
  }

  onStateChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  ownershipChanged(partition: number, ownership: { readonly epoch: number } | undefined): void {
    if (ownership === undefined) this.#owned.delete(partition);
    else this.#owned.set(partition, ownership);
  }

  epochOf(partition: number): number | undefined {
    return this.#owned.get(partition)?.epoch;
  }

  /** Records of each topic that the shard has still to apply; null before the first end offset was seen. */
  lagOf(shard: Shard): Record<TopicRole, number | null> {
    const lag: Record<TopicRole, number | null> = { shipments: null, sales: null };
    for (const role of TOPIC_ROLES) {
      const endOffset = this.#options.ingest.endOffset(shard.partition, role);
      if (endOffset !== null) lag[role] = Math.max(0, endOffset - shard.position[role]);
    }
    return lag;
  }

  #shareRowCache(): void {
    const share = this.#options.rowCacheBytes / Math.max(1, this.#shards.size);
    for (const shard of this.#shards.values()) shard.resizeRowCache(share);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
