// The shard store on RocksDB; the only importer of `rocksdb`, which package.json points at the maintained rocksdb-native.
//
// I1: a write is one WriteBatch in the write-ahead log, so it is there after kill -9 or not at all. It is not synced: what
// a power cut takes is the newest batches, positions included, and the log is read again from there.
// I9: memory has a bound whatever the number of keys: memtables (WRITE_BUFFER_BYTES × WRITE_BUFFERS_MAX), and one block
// cache of 32 MiB (the binding's fixed size) that index and filter blocks live in too.

import { mkdir, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { default as RocksDB, Options, WriteBatch } from 'rocksdb';
import { loadFailure, storeFailure, StoreUnavailable } from './store-failure.ts';
import type { ScanRange, ShardStore, StoreBatch, StoreEntry, StoreSnapshot } from './shard-store.ts';

/** Size at which a memtable becomes a file. */
const WRITE_BUFFER_BYTES = 32 * 1024 * 1024;
/** Memtables at most: one that is filled while the other becomes a file; then writers wait. */
const WRITE_BUFFERS_MAX = 2;
const BACKGROUND_JOBS_MAX = 2;
const OPEN_FILES_MAX = 512;
const TABLE_BLOCK_BYTES = 8 * 1024;
/** About 1% false positives: most absent keys cost no read. */
const BLOOM_BITS_PER_KEY = 10;
/** Keys of one native read; longer lists take several, so that no single call holds the event loop for long. */
const READ_KEYS_MAX = 1_000;
/** Entries of one step of an iterator. */
const SCAN_STEP_ENTRIES = 500;
/** First size of a write batch; it doubles as needed. */
const WRITE_CAPACITY = 256;

export interface RocksDbStoreOptions {
  /** Directory of the store; made where it is missing. */
  readonly path: string;
  /** Size of one memtable; two at most exist. Default 32 MiB. */
  readonly writeBufferBytes?: number;
}

/**
 * Opens or creates the store in `path`. Rejects with StoreLocked, StoreDamaged or StoreUnavailable, or with an Error that
 * says why the native library does not load.
 *
 * Writes that are under way together commit in any order: await one before the next where the order matters. The bytes
 * of keys and values must stay as they are until the write has resolved.
 */
export async function openRocksDbStore(options: RocksDbStoreOptions): Promise<ShardStore> {
  const path = resolve(options.path);
  const library = await import('rocksdb').catch((cause: unknown) => {
    throw loadFailure(cause);
  });
  await mkdir(path, { recursive: true }).catch((cause: unknown) => {
    throw new StoreUnavailable(path, { cause });
  });
  try {
    const db = new library.default(path, rocksDbOptions(library.default, options));
    await db.ready();
    return new RocksDbStore(db, path);
  } catch (cause) {
    throw storeFailure(path, cause);
  }
}

function rocksDbOptions(library: typeof RocksDB, options: RocksDbStoreOptions): Options {
  const { FLUSHED_AND_SIMILAR, NONE } = library.constants.pinningTier;
  return {
    createIfMissing: true,
    maxBackgroundJobs: BACKGROUND_JOBS_MAX,
    maxFileOpeningThreads: BACKGROUND_JOBS_MAX,
    maxOpenFiles: OPEN_FILES_MAX,
    writeBufferSize: options.writeBufferBytes ?? WRITE_BUFFER_BYTES,
    maxWriteBufferNumber: WRITE_BUFFERS_MAX,
    tableBlockSize: TABLE_BLOCK_BYTES,
    tableCacheIndexAndFilterBlocks: true,
    filterPolicy: new library.BloomFilterPolicy(BLOOM_BITS_PER_KEY),
    // Pinned are those of young, small files only: pinning all would grow with the number of keys.
    topLevelIndexPinningTier: FLUSHED_AND_SIMILAR,
    partitionPinningTier: NONE,
    unpartitionedPinningTier: FLUSHED_AND_SIMILAR,
  };
}

class RocksDbStore implements ShardStore {
  readonly #db: RocksDB;
  readonly #path: string;
  #closing: Promise<void> | undefined;

  constructor(db: RocksDB, path: string) {
    this.#db = db;
    this.#path = path;
  }

  async getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | null)[]> {
    this.#checkOpen();
    if (keys.length <= READ_KEYS_MAX) return this.#report(readBatch(this.#db, keys));
    const snapshot = this.snapshot();
    try {
      return await snapshot.getMany(keys);
    } finally {
      await snapshot.release();
    }
  }

  async scan(range: ScanRange): Promise<readonly StoreEntry[]> {
    this.#checkOpen();
    return this.#report(readRange(this.#db, range));
  }

  async write(fill: (batch: StoreBatch) => void): Promise<void> {
    this.#checkOpen();
    const native = this.#db.write({ capacity: WRITE_CAPACITY });
    try {
      const batch = new RocksDbBatch(native);
      fill(batch);
      if (batch.size > 0) await this.#report(native.flush());
    } finally {
      native.destroy();
    }
  }

  snapshot(): StoreSnapshot {
    this.#checkOpen();
    return new RocksDbSnapshot(this.#db.snapshot(), (read) => this.#report(read));
  }

  async stats(): Promise<{ memoryBytes: number; diskBytes: number }> {
    this.#checkOpen();
    const [memory, diskBytes] = await Promise.all([
      Promise.all(MEMORY_PROPERTIES.map((name) => this.#db.getProperty(name))),
      bytesOfFiles(this.#path),
    ]);
    return { memoryBytes: memory.reduce<number>((sum, bytes) => sum + Number(bytes ?? 0), 0), diskBytes };
  }

  /** Lets what is under way end, then closes; snapshots still held end with it. Callers may share one closing. */
  close(): Promise<void> {
    this.#closing ??= this.#db.close();
    return this.#closing;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new Error(`the store in ${this.#path} is closed`);
  }

  async #report<T>(operation: Promise<T>): Promise<T> {
    try {
      return await operation;
    } catch (cause) {
      throw storeFailure(this.#path, cause);
    }
  }
}

class RocksDbSnapshot implements StoreSnapshot {
  readonly #session: RocksDB;
  readonly #report: <T>(read: Promise<T>) => Promise<T>;
  #released = false;

  constructor(session: RocksDB, report: <T>(read: Promise<T>) => Promise<T>) {
    this.#session = session;
    this.#report = report;
  }

  async getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | null)[]> {
    const values: (Buffer | null)[] = [];
    for (let from = 0; from < keys.length; from += READ_KEYS_MAX) {
      this.#checkHeld();
      values.push(...(await this.#report(readBatch(this.#session, keys.slice(from, from + READ_KEYS_MAX)))));
    }
    return values;
  }

  async scan(range: ScanRange): Promise<readonly StoreEntry[]> {
    this.#checkHeld();
    return this.#report(readRange(this.#session, range));
  }

  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    await this.#session.close();
  }

  #checkHeld(): void {
    if (this.#released) throw new Error('the snapshot has been released');
  }
}

class RocksDbBatch implements StoreBatch {
  size = 0;
  readonly #native: WriteBatch;

  constructor(native: WriteBatch) {
    this.#native = native;
  }

  put(key: Buffer, value: Buffer): void {
    this.#native.tryPut(key, value);
    this.size++;
  }

  delete(key: Buffer): void {
    this.#native.tryDelete(key);
    this.size++;
  }

  deleteRange(from: Buffer, to: Buffer): void {
    // RocksDB refuses a batch that holds a range with its ends reversed; in this port such a range is empty.
    if (from.compare(to) >= 0) return;
    this.#native.tryDeleteRange(from, to);
    this.size++;
  }
}

/** One MultiGet: of one moment even beside concurrent writes (test/suites/shard-store.suite.ts). */
async function readBatch(db: RocksDB, keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
  if (keys.length === 0) return [];
  const batch = db.read({ capacity: keys.length, autoDestroy: true });
  const values = Promise.all(keys.map((key) => batch.get(key)));
  batch.tryFlush();
  return values;
}

async function readRange(db: RocksDB, { from, to, limit }: ScanRange): Promise<StoreEntry[]> {
  // To the iterator an empty bound means none, and a limit below 0 no limit.
  if (limit <= 0 || from.compare(to) >= 0) return [];
  const entries: StoreEntry[] = [];
  // One more than wanted: the step that comes back short is the last one, without a further round trip.
  const capacity = Math.min(limit + 1, SCAN_STEP_ENTRIES);
  for await (const entry of db.iterator({ gte: from, lt: to, limit, capacity })) entries.push(entry);
  return entries;
}

const MEMORY_PROPERTIES = [
  'rocksdb.size-all-mem-tables',
  'rocksdb.block-cache-usage',
  'rocksdb.estimate-table-readers-mem',
] as const;

/** Files come and go while they are counted. */
async function bytesOfFiles(directory: string): Promise<number> {
  const sizes = (await readdir(directory)).map(async (name) => {
    const file = await stat(join(directory, name)).catch(() => undefined);
    return file?.size ?? 0;
  });
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
