// All reads that are issued in one tick and go to one node travel as one request, whichever GraphQL request they come
// from. Lookups of one partition become one `rows` read, equal reads are asked once.
//
//   row(3, 10/CA) row(3, 10/CA) row(7, 10/CB) totals(3)   one tick
//        └─────────────┬───────────────┴────────┘
//        read([rows 3: 10/CA] [rows 7: 10/CB] [totals 3])  one request, one answer per read
//
// I9: a request is split at READS_MAX reads, ROWS_PER_REQUEST_MAX rows and REQUEST_BYTES_MAX bytes; every read is given up at its own deadline,
// even if it shares a request with one that may wait longer.

import { InventoryError, toInventoryError } from '../schema/errors.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import type { InventoryRow } from '../schema/inventory-row.ts';
import type { Position } from '../schema/position.ts';
import { KEYS_MAX, READS_MAX, type ShardAnswer, type ShardApi, type ShardRead } from '../schema/shard-api.ts';

/** Most rows that one request to a node may bring back. Keeps a response well below the client's byte limit. */
export const ROWS_PER_REQUEST_MAX = 65_536;
/** Most bytes of one request's body, reckoned from above. Below what a node accepts. */
export const REQUEST_BYTES_MAX = 3 * 1024 * 1024;
const BYTES_PER_READ = 512;
/** Two ids of 64 characters, slash, quotes, comma. */
const BYTES_PER_KEY = 132;

/** The row of one key: many of a partition travel as one `rows` read. */
export interface RowLookup {
  readonly kind: 'row';
  readonly partition: number;
  readonly key: InventoryKey;
}
/** One thing to ask a shard. */
export type Lookup = RowLookup | Exclude<ShardRead, { kind: 'rows' }>;

/** A value, as of a position of its partition. */
export interface LookupAnswer {
  readonly value: unknown;
  readonly position: Position;
}

export interface ReadBatcherOptions {
  readonly api: ShardApi;
  readonly incarnation: string;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Told the code of each request's end, OK included. */
  readonly onRequestEnd: (outcome: string) => void;
}

/** Somebody who waits for one lookup. */
interface Waiter {
  readonly deadlineAt: number;
  readonly resolve: (answer: LookupAnswer) => void;
  readonly reject: (error: Error) => void;
}

/** A read to be sent, with what it may bring back and who waits for which part of it. */
interface PlannedRead {
  readonly read: ShardRead;
  readonly rows: number;
  /** Of the request, from above. */
  readonly bytes: number;
  /** Waiters per key of a `rows` read; a single list for any other read. */
  readonly waiters: readonly (readonly Waiter[])[];
}

/** Collects the reads for one node under one incarnation. */
export class ReadBatcher {
  readonly #options: ReadBatcherOptions;
  #rows = new Map<number, Map<InventoryKey, Waiter[]>>();
  #others = new Map<string, { read: ShardRead; waiters: Waiter[] }>();
  #scheduled = false;

  constructor(options: ReadBatcherOptions) {
    this.#options = options;
  }

  /**
   * Asks with the next request to the node. Rejects with the shard's refusal, with what the port rejects with, or with
   * DEADLINE_EXCEEDED once `deadlineAt` has passed.
   */
  ask(lookup: Lookup, deadlineAt: number): Promise<LookupAnswer> {
    return new Promise((resolve, reject) => {
      this.#add(lookup, { deadlineAt, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    });
  }

  #add(lookup: Lookup, waiter: Waiter): void {
    if (lookup.kind === 'row') {
      const keys = getOrAdd(this.#rows, lookup.partition, () => new Map<InventoryKey, Waiter[]>());
      getOrAdd(keys, lookup.key, () => []).push(waiter);
    } else {
      getOrAdd(this.#others, JSON.stringify(lookup), () => ({ read: lookup, waiters: [] })).waiters.push(waiter);
    }
  }

  #flush(): void {
    const planned = [...planRows(this.#rows), ...planOthers(this.#others)];
    this.#rows = new Map();
    this.#others = new Map();
    this.#scheduled = false;
    for (const reads of splitRequests(planned)) void this.#send(reads);
  }

  async #send(planned: readonly PlannedRead[]): Promise<void> {
    const { api, incarnation, now, onRequestEnd } = this.#options;
    const deadlines = startDeadlines(planned, now());
    try {
      const reads = planned.map(({ read }) => read);
      const answers = await api.read({ incarnation, reads }, { deadlineMs: deadlines.longestMs });
      onRequestEnd('OK');
      for (const [i, one] of planned.entries()) deliver(one, answers[i]);
    } catch (error) {
      const known = toInventoryError(error);
      onRequestEnd(known.code);
      for (const { waiters } of planned) for (const waiter of waiters.flat()) waiter.reject(known);
    } finally {
      for (const timer of deadlines.timers) clearTimeout(timer);
    }
  }
}

/** One read per partition with lookups, or several where it has more than KEYS_MAX keys. */
function* planRows(rows: ReadonlyMap<number, ReadonlyMap<InventoryKey, Waiter[]>>): Generator<PlannedRead> {
  for (const [partition, waitersByKey] of rows) {
    const all = [...waitersByKey.keys()];
    for (let start = 0; start < all.length; start += KEYS_MAX) {
      const keys = all.slice(start, start + KEYS_MAX);
      const waiters = keys.map((key) => waitersByKey.get(key) ?? []);
      yield {
        read: { kind: 'rows', partition, keys },
        rows: keys.length,
        bytes: BYTES_PER_READ + keys.length * BYTES_PER_KEY,
        waiters,
      };
    }
  }
}

function* planOthers(others: ReadonlyMap<string, { read: ShardRead; waiters: Waiter[] }>): Generator<PlannedRead> {
  for (const { read, waiters } of others.values()) {
    yield { read, rows: 'limit' in read ? read.limit : 1, bytes: BYTES_PER_READ, waiters: [waiters] };
  }
}

/** The reads in as few requests as the limits allow. */
function splitRequests(planned: readonly PlannedRead[]): PlannedRead[][] {
  const requests: PlannedRead[][] = [];
  let current: PlannedRead[] = [];
  let rows = 0;
  let bytes = 0;
  for (const one of planned) {
    rows += one.rows;
    bytes += one.bytes;
    if (current.length >= READS_MAX || rows > ROWS_PER_REQUEST_MAX || bytes > REQUEST_BYTES_MAX) current = [];
    if (current.length === 0) {
      requests.push(current);
      ({ rows, bytes } = one);
    }
    current.push(one);
  }
  return requests;
}

/** Starts one timer per distinct deadline: requests that arrived together share it. */
function startDeadlines(planned: readonly PlannedRead[], now: number): { timers: NodeJS.Timeout[]; longestMs: number } {
  const byDeadline = new Map<number, Waiter[]>();
  for (const { waiters } of planned) {
    for (const waiter of waiters.flat()) getOrAdd(byDeadline, waiter.deadlineAt, () => []).push(waiter);
  }
  const timers: NodeJS.Timeout[] = [];
  let longestMs = 1;
  for (const [deadlineAt, waiters] of byDeadline) {
    const leftMs = Math.max(1, deadlineAt - now);
    longestMs = Math.max(longestMs, leftMs);
    timers.push(setTimeout(() => rejectLate(waiters), leftMs));
  }
  return { timers, longestMs };
}

function rejectLate(waiters: readonly Waiter[]): void {
  const error = new InventoryError('DEADLINE_EXCEEDED', 'the node did not answer before the deadline of the request');
  for (const waiter of waiters) waiter.reject(error);
}

/** Hands an answer to everybody who waits for it. */
function deliver({ read, waiters }: PlannedRead, answer: ShardAnswer | undefined): void {
  if (answer?.ok !== true) {
    const refusal = new InventoryError(answer?.code ?? 'INTERNAL', answer?.message ?? 'a read was left unanswered');
    for (const waiter of waiters.flat()) waiter.reject(refusal);
    return;
  }
  const { position } = answer;
  const values = read.kind === 'rows' ? (answer.value as readonly (InventoryRow | null)[]) : [answer.value];
  for (const [i, waiting] of waiters.entries()) {
    const value = values[i];
    for (const waiter of waiting) {
      if (value === undefined) waiter.reject(new InventoryError('INTERNAL', 'a key was left unanswered'));
      else waiter.resolve({ value, position });
    }
  }
}

function getOrAdd<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const present = map.get(key);
  if (present !== undefined) return present;
  const made = make();
  map.set(key, made);
  return made;
}
