// One shard: one replica of a partition's rows on this node. Published state (head, caches) changes only after the batch
// that holds it is on disk; reads answer from published state or from one moment of the store, never from a mix (I1).
//
//   apply queue ──▶ draft ──▶ store ──▶ publish ──▶ reads
//
// I4: whoever reads asks `state` first. I5: an answer read from the store waits until its position is published, so that
// a later answer from the cache is never older.

import { InventoryError } from '../schema/errors.ts';
import { type InventoryKey, storeOfKey } from '../schema/inventory-key.ts';
import { decodeRow, type InventoryRow } from '../schema/inventory-row.ts';
import { covers, type Position, START_CHECKPOINT } from '../schema/position.ts';
import { decodeTotals, NO_TOTALS, type Totals } from '../schema/totals.ts';
import { OUTBOX_MAX } from './dead-letters.ts';
import { DedupeStore } from './dedupe-store.ts';
import { GenerationCache } from './generation-cache.ts';
import type { DecodedBatch } from './record-batch.ts';
import { ShardDraft, type TouchedRow } from './shard-draft.ts';
import { decodeHead, type ShardHead } from './shard-head.ts';
import { ShardKeys } from './shard-keys.ts';
import { nextShardState, type ShardState, type ShardStateEvent } from './shard-state.ts';
import type { ShardStore, StoreBatch } from './shard-store.ts';

/** What a cached row costs, with its key and its place in the Map (measured: 5 M rows, heap before and after). */
const ROW_CACHE_ENTRY_BYTES = 256;
/** Stores whose totals stay in memory per shard. */
const STORE_TOTALS_MAX = 10_000;
/** Dead letters read at once while they are counted. */
const COUNT_CHUNK = 256;

export interface ShardOptions {
  readonly partition: number;
  readonly store: ShardStore;
  readonly rowCacheBytes: number;
  readonly dedupeWindow: number;
}

/** A value with the position it reflects. */
export interface At<Value> {
  readonly position: Position;
  readonly value: Value;
}

/** What a batch touches, and what of it the draft still needs from the store before it can fold. */
export interface Touched {
  /** Aligned with the batch's events, so that folding needs no look-up. */
  readonly rows: readonly TouchedRow[];
  readonly missingRows: readonly InventoryKey[];
  readonly missingStoreIds: readonly string[];
}

/** A read whose rows are on disk and not published yet. */
interface Waiter {
  readonly position: Position;
  resolve(): void;
  reject(error: InventoryError): void;
}

export class Shard {
  readonly partition: number;
  readonly keys: ShardKeys;
  /** Dead letters that are not published yet. */
  outboxSize = 0;
  readonly #store: ShardStore;
  readonly #rows: GenerationCache<InventoryKey, InventoryRow>;
  readonly #storeTotals = new GenerationCache<string, Totals>(STORE_TOTALS_MAX);
  readonly #dedupe: DedupeStore;
  readonly #waiters = new Set<Waiter>();
  readonly #stateListeners = new Set<(state: ShardState) => void>();
  #head: ShardHead = { checkpoint: START_CHECKPOINT, totals: NO_TOTALS, complete: false };
  /** Whether nothing was stored when it opened: then a complete cache knows every row. */
  #startedEmpty = false;
  #state: ShardState = { name: 'opening' };

  constructor(options: ShardOptions) {
    this.partition = options.partition;
    this.keys = new ShardKeys(options.partition);
    this.#store = options.store;
    this.#rows = new GenerationCache(options.rowCacheBytes / ROW_CACHE_ENTRY_BYTES);
    this.#dedupe = new DedupeStore(options.dedupeWindow, this.keys);
  }

  get state(): ShardState {
    return this.#state;
  }

  /** Published head: what every cached answer reflects. */
  get head(): ShardHead {
    return this.#head;
  }

  get position(): Position {
    return this.#head.checkpoint.position;
  }

  /** Reads what the store holds of this shard. Throws where it is damaged. */
  async open(): Promise<void> {
    const [bytes] = await this.#store.getMany([this.keys.head]);
    if (bytes === null || bytes === undefined) this.#startedEmpty = true;
    else this.#head = decodeHead(bytes);
    await this.#dedupe.load(this.#store);
    this.outboxSize = await this.#countDeadLetters();
    this.change({ kind: 'opened', complete: this.#head.complete });
  }

  /** In chunks: a full outbox is hundreds of megabytes. */
  async #countDeadLetters(): Promise<number> {
    const range = this.keys.deadLetters(COUNT_CHUNK);
    let count = 0;
    for (let from = range.from; ;) {
      const entries = await this.#store.scan({ ...range, from });
      count += entries.length;
      const last = entries.at(-1);
      if (last === undefined || entries.length < COUNT_CHUNK) return count;
      from = Buffer.concat([last.key, Buffer.alloc(1)]);
    }
  }

  /** Sets the position of an empty shard whose log begins above 0; only before the first draft. */
  startAt(position: Position): void {
    this.#head = { ...this.#head, checkpoint: { ...this.#head.checkpoint, position } };
  }

  /** Moves the state machine; listeners hear of a change. */
  change(event: ShardStateEvent): void {
    const state = nextShardState(this.#state, event);
    if (state === this.#state) return;
    this.#state = state;
    // In memory only: a write beside the apply queue could put an old checkpoint over a new one. The next draft stores it.
    if (state.name === 'serving') this.#head = { ...this.#head, complete: true };
    if (this.#isOver) {
      for (const waiter of this.#waiters) waiter.reject(this.#endedError());
      this.#waiters.clear();
    }
    for (const listener of this.#stateListeners) listener(state);
  }

  onStateChange(listener: (state: ShardState) => void): void {
    this.#stateListeners.add(listener);
  }

  resizeRowCache(bytes: number): void {
    this.#rows.resize(bytes / ROW_CACHE_ENTRY_BYTES);
  }

  /** Whether batches still change it: not any more once it ends or refuses. */
  get applies(): boolean {
    return this.#state.name === 'restoring' || this.#state.name === 'catching-up' || this.#state.name === 'serving';
  }

  // ── Applying: the apply queue only ────────────────────────────────────────────────────────────────────────────────

  newDraft(): ShardDraft {
    return new ShardDraft(this.#head, { windows: this.#dedupe.windows, outboxRoom: OUTBOX_MAX - this.outboxSize });
  }

  /** Whether a row of the key is at hand, which proves that the key belongs here. */
  holds(key: InventoryKey): boolean {
    return this.#rows.get(key) !== undefined;
  }

  /** Takes what `batch` touches into the draft from the caches and answers what the store must give. */
  touch(draft: ShardDraft, batch: DecodedBatch): Touched {
    const rows: TouchedRow[] = [];
    const missingRows: InventoryKey[] = [];
    const missingStoreIds: string[] = [];
    draft.decodedTo[batch.role] = Math.max(draft.decodedTo[batch.role], batch.nextOffset);
    for (const { key } of batch.events) {
      let row = draft.rows.get(key);
      if (row === undefined) {
        row = { before: this.#rows.get(key) ?? null, after: null };
        draft.rows.set(key, row);
        if (row.before === null && !this.#knowsAllRows) missingRows.push(key);
        this.#touchStore(draft, storeOfKey(key), missingStoreIds);
      }
      rows.push(row);
    }
    return { rows, missingRows, missingStoreIds };
  }

  /** Whether a row that is not cached does not exist. Asked after each look-up: what is gone by then makes it false. */
  get #knowsAllRows(): boolean {
    return this.#startedEmpty && this.#rows.complete;
  }

  #touchStore(draft: ShardDraft, storeId: string, missing: string[]): void {
    if (draft.storeTotals.has(storeId)) return;
    const totals = this.#storeTotals.get(storeId);
    draft.storeTotals.set(storeId, totals ?? NO_TOTALS);
    if (totals === undefined && !(this.#startedEmpty && this.#storeTotals.complete)) missing.push(storeId);
  }

  /** Store keys of what is missing, rows first. */
  missingKeys(touched: Touched): Buffer[] {
    return [
      ...touched.missingRows.map((key) => this.keys.row(key)),
      ...touched.missingStoreIds.map((id) => this.keys.storeTotals(id)),
    ];
  }

  /** Hands the draft the stored values of `missingKeys(touched)`, aligned. */
  load(draft: ShardDraft, touched: Touched, values: readonly (Buffer | null)[]): void {
    touched.missingRows.forEach((key, i) => {
      const bytes = values[i] ?? null;
      const row = draft.rows.get(key);
      if (bytes !== null && row !== undefined) row.before = decodeRow(bytes);
    });
    touched.missingStoreIds.forEach((storeId, i) => {
      const bytes = values[touched.missingRows.length + i] ?? null;
      if (bytes !== null) draft.storeTotals.set(storeId, decodeStoredTotals(bytes));
    });
  }

  /** Writes a sealed draft into the store's batch. */
  write(draft: ShardDraft, batch: StoreBatch): void {
    this.#dedupe.written(draft.write(batch, this.keys));
    for (const role of ['shipments', 'sales'] as const)
      this.#dedupe.deleteOutdated(batch, role, draft.nextOffset(role));
  }

  /** Makes a draft that is on disk visible. */
  publish(draft: ShardDraft): void {
    for (const [key, { after }] of draft.rows) if (after !== null) this.#rows.set(key, after);
    for (const [storeId, totals] of draft.storeTotals) this.#storeTotals.set(storeId, totals);
    this.outboxSize += draft.deadLetters.length;
    this.#head = { ...draft.head, complete: this.#head.complete };
    for (const waiter of this.#waiters) {
      if (!covers(this.position, waiter.position)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  // ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Rows aligned with `keys`, null where no event names the key. Synchronous where the cache knows all of them. */
  rows(keys: readonly InventoryKey[]): At<(InventoryRow | null)[]> | Promise<At<(InventoryRow | null)[]>> {
    const rows: (InventoryRow | null)[] = [];
    for (const key of keys) {
      const row = this.#rows.get(key);
      if (row === undefined && !this.#knowsAllRows) return this.#storedRows(keys);
      rows.push(row ?? null);
    }
    return { position: this.position, value: rows };
  }

  /** All of them from one moment of the store: a mix with cached rows could be of two positions. */
  async #storedRows(keys: readonly InventoryKey[]): Promise<At<(InventoryRow | null)[]>> {
    const start = this.position;
    const [head, ...values] = await this.#store.getMany([this.keys.head, ...keys.map((key) => this.keys.row(key))]);
    const position = positionIn(head ?? null, start);
    await this.#published(position);
    const rows = values.map((bytes) => (bytes === null ? null : decodeRow(bytes)));
    if (position.shipments === this.position.shipments && position.sales === this.position.sales)
      this.#remember(keys, rows);
    return { position, value: rows };
  }

  #remember(keys: readonly InventoryKey[], rows: readonly (InventoryRow | null)[]): void {
    keys.forEach((key, i) => {
      const row = rows[i] ?? null;
      if (row !== null) this.#rows.set(key, row);
    });
  }

  /** Totals of a store, null where no event of this partition names it. */
  storeTotals(storeId: string): At<Totals | null> | Promise<At<Totals | null>> {
    const totals = this.#storeTotals.get(storeId);
    const known = totals !== undefined || (this.#startedEmpty && this.#storeTotals.complete);
    return known ? { position: this.position, value: totals ?? null } : this.#storedStoreTotals(storeId);
  }

  async #storedStoreTotals(storeId: string): Promise<At<Totals | null>> {
    const start = this.position;
    const [head, bytes] = await this.#store.getMany([this.keys.head, this.keys.storeTotals(storeId)]);
    const position = positionIn(head ?? null, start);
    await this.#published(position);
    return { position, value: bytes === null || bytes === undefined ? null : decodeStoredTotals(bytes) };
  }

  /** Runs `read` on a frozen moment of the store; its answer is of the position stored in that moment. */
  async atSnapshot<Value>(
    read: (snapshot: Pick<ShardStore, 'getMany' | 'scan'>) => Promise<Value>,
  ): Promise<At<Value>> {
    const start = this.position;
    const snapshot = this.#store.snapshot();
    try {
      const [head] = await snapshot.getMany([this.keys.head]);
      const position = positionIn(head ?? null, start);
      const value = await read(snapshot);
      await this.#published(position);
      return { position, value };
    } finally {
      await snapshot.release();
    }
  }

  /**
   * Resolves once `position`, which is on disk, is published: as soon as the running commit has returned. Rejects with
   * NOT_SERVING where that cannot happen any more.
   */
  #published(position: Position): Promise<void> {
    if (covers(this.position, position)) return Promise.resolve();
    if (this.#isOver) return Promise.reject(this.#endedError());
    return new Promise((resolve, reject) => this.#waiters.add({ position, resolve, reject }));
  }

  get #isOver(): boolean {
    return this.#state.name === 'refused' || this.#state.name === 'closed';
  }

  #endedError(): InventoryError {
    return new InventoryError('NOT_SERVING', `partition ${this.partition} is ${this.#state.name} on this node`);
  }
}

/** The position of a stored head. Where nothing is stored yet, `start`: published before the read, so that no commit came between. */
function positionIn(head: Buffer | null, start: Position): Position {
  return head === null ? start : decodeHead(head).checkpoint.position;
}

function decodeStoredTotals(bytes: Buffer): Totals {
  return decodeTotals(JSON.parse(bytes.toString()));
}
