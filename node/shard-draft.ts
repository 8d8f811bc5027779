// What one commit will change in one shard: copies of the rows it touches, totals, index entries, dedupe sightings, dead
// letters and the position. Nothing published changes until the batch is on disk (I1): rows changed in the cache before
// the commit would be counted twice after a failed write.
//
//   touch(batch) ──▶ load what is missing ──▶ fold(batch)… ──▶ seal() ──▶ write(storeBatch) ──▶ published by the shard

import type { InventoryEvent, TopicRole } from '../schema/events.ts';
import { type InventoryKey, splitInventoryKey, storeOfKey } from '../schema/inventory-key.ts';
import { applyEvent, type DraftRow, emptyRow, encodeRow, type InventoryRow } from '../schema/inventory-row.ts';
import { advance, type Checkpoint } from '../schema/position.ts';
import { addTotals, changeTotals, encodeTotals, NO_TOTALS, type Totals } from '../schema/totals.ts';
import type { OutboxEntry } from './dead-letters.ts';
import { type DedupeWindow, encodeSightings, fingerprint, type Sighting } from './dedupe-window.ts';
import type { DecodedBatch } from './record-batch.ts';
import { encodeHead, type ShardHead } from './shard-head.ts';
import type { ShardKeys } from './shard-keys.ts';
import type { StoreBatch } from './shard-store.ts';

/** A row that the draft touches. */
export interface TouchedRow {
  /** As published; null where no event named the key before. Set by whoever loads, before the first fold. */
  before: InventoryRow | null;
  /** Our copy, made by the first event that changes it. */
  after: DraftRow | null;
}

/** What happened while folding, for metrics. */
export interface FoldCounts {
  applied: number;
  duplicates: number;
  /** Duplicates whose count differs from the first one's. */
  conflicts: number;
}

/** A stretch of sightings as stored, so that it can be deleted once it leaves the window. */
export interface DedupeChunk {
  readonly role: TopicRole;
  readonly firstOffset: number;
  readonly lastOffset: number;
}

/** The uncommitted changes of one shard. Made, filled, written and published by the apply queue alone. */
export class ShardDraft {
  readonly rows = new Map<InventoryKey, TouchedRow>();
  /** Totals of the stores that it touches, as published until `seal`, then as they will be. */
  readonly storeTotals = new Map<string, Totals>();
  /** Behind the last stretch that was decoded for this draft, folded or not. */
  readonly decodedTo: Record<TopicRole, number>;
  readonly counts: FoldCounts = { applied: 0, duplicates: 0, conflicts: 0 };
  readonly deadLetters: OutboxEntry[] = [];
  /** Those for which the outbox has no room: to be counted and logged. */
  readonly droppedLetters: OutboxEntry[] = [];
  readonly #windows: Readonly<Record<TopicRole, DedupeWindow>>;
  readonly #sightings: Record<TopicRole, Sighting[]> = { shipments: [], sales: [] };
  readonly #outboxRoom: number;
  readonly #complete: boolean;
  #totals: Totals;
  #checkpoint: Checkpoint;

  constructor(
    head: ShardHead,
    limits: { readonly windows: Readonly<Record<TopicRole, DedupeWindow>>; readonly outboxRoom: number },
  ) {
    this.#windows = limits.windows;
    this.#outboxRoom = limits.outboxRoom;
    this.#totals = head.totals;
    this.#checkpoint = head.checkpoint;
    this.decodedTo = { ...head.checkpoint.position };
    this.#complete = head.complete;
  }

  /** What the shard's head will be. */
  get head(): ShardHead {
    return { checkpoint: this.#checkpoint, totals: this.#totals, complete: this.#complete };
  }

  /** Where the draft leaves the topic in `role`. */
  nextOffset(role: TopicRole): number {
    return this.#checkpoint.position[role];
  }

  /** Folds a decoded stretch; `touched` are its events' rows, loaded. Stretches of one topic must come in offset order. */
  fold(batch: DecodedBatch, touched: readonly TouchedRow[]): void {
    batch.events.forEach((event, i) => this.#foldEvent(event, touched[i]));
    for (const letter of batch.deadLetters) {
      const outbox = this.deadLetters.length < this.#outboxRoom ? this.deadLetters : this.droppedLetters;
      outbox.push({ role: batch.role, letter });
    }
    const { position, marks } = this.#checkpoint;
    this.#checkpoint = {
      position: advance(position, batch.role, Math.max(position[batch.role], batch.nextOffset)),
      marks: batch.mark === null ? marks : { ...marks, [batch.role]: batch.mark },
    };
  }

  #foldEvent(event: InventoryEvent, touched: TouchedRow | undefined): void {
    if (event.eventId !== null && this.#isDuplicate(event, event.eventId)) return;
    if (touched === undefined) throw new Error(`a bug: ${event.key} was not loaded before folding`);
    touched.after ??= touched.before === null ? emptyRow() : { ...touched.before };
    if (applyEvent(touched.after, event)) this.counts.applied++;
  }

  #isDuplicate(event: InventoryEvent, eventId: string): boolean {
    const { high, low } = fingerprint(event.key, eventId);
    const sighting = { high, low, offset: event.offset, count: event.count };
    const verdict = this.#windows[event.role].note(sighting);
    this.#sightings[event.role].push(sighting);
    if (verdict === 'first') return false;
    this.counts.duplicates++;
    if (verdict === 'conflict') this.counts.conflicts++;
    return true;
  }

  /** Brings the totals up to date with the rows; once, after the last fold. */
  seal(): void {
    const changes = new Map<string, Totals>();
    for (const [key, { before, after }] of this.rows) {
      if (after === null) continue;
      const storeId = storeOfKey(key);
      changes.set(storeId, changeTotals(changes.get(storeId) ?? NO_TOTALS, before, after));
    }
    for (const [storeId, change] of changes) {
      this.storeTotals.set(storeId, addTotals(this.storeTotals.get(storeId) ?? NO_TOTALS, change));
      this.#totals = addTotals(this.#totals, change);
    }
    // A store is stored once a row of it is: totals of nothing would make an unknown store exist.
    for (const [storeId, totals] of this.storeTotals) if (totals.items === 0) this.storeTotals.delete(storeId);
  }

  /** Puts everything into the store's batch and answers the dedupe chunks that this makes. */
  write(batch: StoreBatch, keys: ShardKeys): DedupeChunk[] {
    for (const [key, { before, after }] of this.rows) {
      if (after === null) continue;
      batch.put(keys.row(key), encodeRow(after));
      if (before === null) batch.put(keys.itemIndex(splitInventoryKey(key)), EMPTY);
    }
    for (const [storeId, totals] of this.storeTotals)
      batch.put(keys.storeTotals(storeId), jsonBytes(encodeTotals(totals)));
    for (const { role, letter } of this.deadLetters) batch.put(keys.deadLetter(role, letter.offset), jsonBytes(letter));
    batch.put(keys.head, encodeHead(this.head));
    return [...this.#writeSightings(batch, keys, 'shipments'), ...this.#writeSightings(batch, keys, 'sales')];
  }

  #writeSightings(batch: StoreBatch, keys: ShardKeys, role: TopicRole): DedupeChunk[] {
    const sightings = this.#sightings[role];
    const first = sightings[0];
    const last = sightings.at(-1);
    if (first === undefined || last === undefined) return [];
    batch.put(keys.dedupeChunk(role, first.offset), encodeSightings(sightings));
    return [{ role, firstOffset: first.offset, lastOffset: last.offset }];
  }
}

const EMPTY = Buffer.alloc(0);

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
