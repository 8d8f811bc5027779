// The part of rocksdb-native (which package.json calls `rocksdb`) that rocksdb-store.ts uses; the package has no types.

declare module 'rocksdb' {
  export interface ColumnFamilyOptions {
    tableBlockSize?: number;
    /** Index and filter blocks count against the block cache, so that they have its bound. */
    tableCacheIndexAndFilterBlocks?: boolean;
    filterPolicy?: FilterPolicy | null;
    topLevelIndexPinningTier?: number;
    partitionPinningTier?: number;
    unpartitionedPinningTier?: number;
    writeBufferSize?: number;
    maxWriteBufferNumber?: number;
  }

  export interface Options extends ColumnFamilyOptions {
    createIfMissing?: boolean;
    maxBackgroundJobs?: number;
    maxFileOpeningThreads?: number;
    /** −1 = all of them. */
    maxOpenFiles?: number;
  }

  export interface BatchOptions {
    /** Operations that fit without growing. */
    capacity?: number;
    /** Frees the batch after its flush; without it `destroy` must be called, or `close` never ends. */
    autoDestroy?: boolean;
  }

  export interface FilterPolicy {
    readonly type: number;
  }

  /** One MultiGet. */
  export interface ReadBatch {
    get(key: Buffer): Promise<Buffer | null>;
    tryFlush(): void;
  }

  /** One WriteBatch. It reads the bytes of keys and values during `flush`, on another thread: leave them alone till then. */
  export interface WriteBatch {
    tryPut(key: Buffer, value: Buffer): void;
    tryDelete(key: Buffer): void;
    tryDeleteRange(from: Buffer, to: Buffer): void;
    flush(): Promise<void>;
    destroy(): void;
  }

  export interface Entry {
    readonly key: Buffer;
    readonly value: Buffer;
  }

  export interface IteratorOptions {
    /** An empty buffer means no bound. */
    gte?: Buffer;
    lt?: Buffer;
    limit?: number;
    /** Entries fetched per round trip to the thread pool. */
    capacity?: number;
  }

  export default class RocksDB {
    constructor(path: string, options?: Options);
    static readonly BloomFilterPolicy: new (bitsPerKey: number) => FilterPolicy;
    static readonly constants: { readonly pinningTier: { NONE: 0; FLUSHED_AND_SIMILAR: 1; ALL: 2 } };
    ready(): Promise<void>;
    /** Of the root: waits for reads and writes under way, then closes the store. Of a session: lets its snapshot go. */
    close(): Promise<void>;
    read(options?: BatchOptions): ReadBatch;
    write(options?: BatchOptions): WriteBatch;
    /** A session that sees this moment for as long as it is open. */
    snapshot(): RocksDB;
    iterator(options: IteratorOptions): AsyncIterable<Entry>;
    /** RocksDB's own property, e.g. `rocksdb.block-cache-usage`; undefined where it does not know the name. */
    getProperty(name: string): Promise<string | number | undefined>;
  }
}
