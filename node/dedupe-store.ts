// The stored side of a shard's dedupe windows: loads them on opening and drops chunks that have left the window.

import type { TopicRole } from '../schema/events.ts';
import { DedupeWindow, decodeSightings } from './dedupe-window.ts';
import type { DedupeChunk } from './shard-draft.ts';
import type { ShardKeys } from './shard-keys.ts';
import type { ShardStore, StoreBatch } from './shard-store.ts';

const LOAD_CHUNKS = 256;
/** Chunks dropped from the front of the list before its array is cut, so that cutting stays rare. */
const CUT_CHUNKS = 1_024;

/** Both windows of one shard, and which chunks lie on disk. */
export class DedupeStore {
  readonly windows: Readonly<Record<TopicRole, DedupeWindow>>;
  readonly #window: number;
  readonly #keys: ShardKeys;
  readonly #chunks: Record<TopicRole, { list: DedupeChunk[]; head: number }> = {
    shipments: { list: [], head: 0 },
    sales: { list: [], head: 0 },
  };

  constructor(window: number, keys: ShardKeys) {
    this.#window = window;
    this.#keys = keys;
    this.windows = { shipments: new DedupeWindow(window), sales: new DedupeWindow(window) };
  }

  /** Reads the stored chunks; once, before the first fold. */
  async load(store: ShardStore): Promise<void> {
    for (const role of ['shipments', 'sales'] as const) {
      for (let from = 0; ;) {
        const entries = await store.scan(this.#keys.dedupeChunks(role, from, LOAD_CHUNKS));
        for (const entry of entries) this.#restore(role, this.#keys.offsetOf(entry.key), entry.value);
        const last = entries.at(-1);
        if (last === undefined || entries.length < LOAD_CHUNKS) break;
        from = this.#keys.offsetOf(last.key) + 1;
      }
    }
  }

  #restore(role: TopicRole, firstOffset: number, bytes: Buffer): void {
    const sightings = decodeSightings(bytes);
    for (const sighting of sightings) this.windows[role].note(sighting);
    this.#chunks[role].list.push({ role, firstOffset, lastOffset: sightings.at(-1)?.offset ?? firstOffset });
  }

  /** Adds to `batch` the deletion of chunks that no record from `nextOffset` on can match any more. */
  deleteOutdated(batch: StoreBatch, role: TopicRole, nextOffset: number): void {
    const chunks = this.#chunks[role];
    for (let chunk = chunks.list[chunks.head]; chunk !== undefined; chunk = chunks.list[chunks.head]) {
      if (chunk.lastOffset >= nextOffset - this.#window) break;
      batch.delete(this.#keys.dedupeChunk(role, chunk.firstOffset));
      chunks.head++;
    }
    if (chunks.head < CUT_CHUNKS) return;
    chunks.list = chunks.list.slice(chunks.head);
    chunks.head = 0;
  }

  /** Notes chunks that a batch has written. */
  written(chunks: readonly DedupeChunk[]): void {
    for (const chunk of chunks) this.#chunks[chunk.role].list.push(chunk);
  }
}
