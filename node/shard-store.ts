// The key-value port under the shards of one node: ordered bytes, atomic batches, snapshots. Adapters: rocksdb-store.ts and
// memory-store.ts (for tests); both pass test/suites/shard-store.suite.ts.
//
// One store per node, so that one atomic batch can carry several partitions and memory has one bound; each shard lives
// under a prefix of its own (I1).

/** Changes that are made together or not at all. */
export interface StoreBatch {
  put(key: Buffer, value: Buffer): void;
  delete(key: Buffer): void;
  /** Deletes every key with from ≤ key < to. */
  deleteRange(from: Buffer, to: Buffer): void;
  /** How many operations it holds. */
  readonly size: number;
}

export interface StoreEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface ScanRange {
  /** Keys with from ≤ key < to, in byte order. */
  readonly from: Buffer;
  readonly to: Buffer;
  /** At most so many entries. */
  readonly limit: number;
}

/** Reads of one moment. */
export interface StoreReader {
  /** Values aligned with `keys`, null where a key is absent; all of one moment. */
  getMany(keys: readonly Buffer[]): Promise<readonly (Buffer | null)[]>;
  scan(range: ScanRange): Promise<readonly StoreEntry[]>;
}

/** A frozen moment of the store; hold it briefly, it keeps old versions from being compacted away. */
export interface StoreSnapshot extends StoreReader {
  release(): Promise<void>;
}

export interface ShardStore extends StoreReader {
  /** Runs `fill`, then commits what it put into the batch atomically. Rejects, with nothing changed, if the disk fails. */
  write(fill: (batch: StoreBatch) => void): Promise<void>;
  snapshot(): StoreSnapshot;
  /** Bytes of memory and disk, for metrics. */
  stats(): Promise<{ readonly memoryBytes: number; readonly diskBytes: number }>;
  close(): Promise<void>;
}
