// The shard store in memory, for tests and simulations: same order, atomicity and snapshots as RocksDB, nothing kept.
// Hooks let a test fail a write, or hold a read or a write back to force an interleaving.

import type { ScanRange, ShardStore, StoreBatch, StoreEntry, StoreReader, StoreSnapshot } from './shard-store.ts';

export interface MemoryStoreHooks {
  /** Runs before a batch of `size` operations commits; what it throws is the write's failure, and nothing changes. */
  readonly beforeWrite?: (size: number) => void | Promise<void>;
  /** Runs before a read outside a snapshot takes its moment; what it throws is the read's failure. */
  readonly beforeRead?: () => void | Promise<void>;
}

/** An empty store. Unlike RocksDB's, its close forgets everything. */
export function openMemoryStore(hooks: MemoryStoreHooks = {}): ShardStore {
  return new MemoryStore(hooks);
}

type Operation = (version: Version) => void;

class MemoryStore implements ShardStore {
  readonly #hooks: MemoryStoreHooks;
  #version = new Version();
  #closed = false;

  constructor(hooks: MemoryStoreHooks) {
    this.#hooks = hooks;
  }

  async getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | null)[]> {
    return (await this.#readVersion()).getMany(keys);
  }

  async scan(range: ScanRange): Promise<readonly StoreEntry[]> {
    return (await this.#readVersion()).scan(range);
  }

  async write(fill: (batch: StoreBatch) => void): Promise<void> {
    this.#checkOpen();
    const batch = new MemoryBatch();
    fill(batch);
    await this.#hooks.beforeWrite?.(batch.size);
    if (this.#version.frozen) this.#version = this.#version.copy();
    for (const apply of batch.operations) apply(this.#version);
  }

  snapshot(): StoreSnapshot {
    this.#checkOpen();
    this.#version.frozen = true;
    return new MemorySnapshot(this.#version);
  }

  async stats(): Promise<{ memoryBytes: number; diskBytes: number }> {
    this.#checkOpen();
    return Promise.resolve({ memoryBytes: this.#version.bytes(), diskBytes: 0 });
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#version = new Version();
    return Promise.resolve();
  }

  async #readVersion(): Promise<Version> {
    this.#checkOpen();
    await this.#hooks.beforeRead?.();
    return this.#version;
  }

  #checkOpen(): void {
    if (this.#closed) throw new Error('the store is closed');
  }
}

class MemorySnapshot implements StoreSnapshot {
  #version: Version | undefined;

  constructor(version: Version) {
    this.#version = version;
  }

  async getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | null)[]> {
    return this.#held().getMany(keys);
  }

  async scan(range: ScanRange): Promise<readonly StoreEntry[]> {
    return this.#held().scan(range);
  }

  release(): Promise<void> {
    this.#version = undefined;
    return Promise.resolve();
  }

  #held(): Version {
    if (this.#version === undefined) throw new Error('the snapshot has been released');
    return this.#version;
  }
}

class MemoryBatch implements StoreBatch {
  readonly operations: Operation[] = [];

  get size(): number {
    return this.operations.length;
  }

  put(key: Buffer, value: Buffer): void {
    const [text, copy] = [textOf(key), Buffer.from(value)];
    this.operations.push((version) => version.put(text, copy));
  }

  delete(key: Buffer): void {
    const text = textOf(key);
    this.operations.push((version) => version.delete(text));
  }

  deleteRange(from: Buffer, to: Buffer): void {
    const [first, end] = [textOf(from), textOf(to)];
    this.operations.push((version) => version.deleteRange(first, end));
  }
}

/** The contents at one moment. Keys are Latin-1 text, which orders like its bytes. */
class Version implements StoreReaderNow {
  /** A snapshot holds it: the next write goes into a copy. */
  frozen = false;
  readonly #values: Map<string, Buffer>;
  /** The keys in order, made when a scan wants them and void when a key comes or goes. */
  #sorted: string[] | undefined;

  constructor(values = new Map<string, Buffer>()) {
    this.#values = values;
  }

  copy(): Version {
    return new Version(new Map(this.#values));
  }

  getMany(keys: readonly Buffer[]): (Buffer | null)[] {
    return keys.map((key) => {
      const value = this.#values.get(textOf(key));
      return value === undefined ? null : Buffer.from(value);
    });
  }

  scan({ from, to, limit }: ScanRange): StoreEntry[] {
    const keys = this.#keysIn(textOf(from), textOf(to)).slice(0, Math.max(0, limit));
    return keys.map((key) => ({
      key: Buffer.from(key, 'latin1'),
      value: Buffer.from(this.#values.get(key) ?? Buffer.alloc(0)),
    }));
  }

  put(key: string, value: Buffer): void {
    if (!this.#values.has(key)) this.#sorted = undefined;
    this.#values.set(key, value);
  }

  delete(key: string): void {
    if (this.#values.delete(key)) this.#sorted = undefined;
  }

  deleteRange(from: string, to: string): void {
    for (const key of this.#keysIn(from, to)) this.delete(key);
  }

  bytes(): number {
    let bytes = 0;
    for (const [key, value] of this.#values) bytes += key.length + value.length;
    return bytes;
  }

  #keysIn(from: string, to: string): string[] {
    this.#sorted ??= [...this.#values.keys()].sort(compareText);
    return this.#sorted.slice(indexOf(this.#sorted, from), indexOf(this.#sorted, to));
  }
}

/** The reader's methods, answered at once. */
type StoreReaderNow = {
  [Method in keyof StoreReader]: (...args: Parameters<StoreReader[Method]>) => Awaited<ReturnType<StoreReader[Method]>>;
};

/** Index of the first key that is not below `bound`. */
function indexOf(sorted: readonly string[], bound: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? '') < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function textOf(bytes: Buffer): string {
  return bytes.toString('latin1');
}
