// What can be wrong with a store on disk, told apart by what the operator has to do. RocksDB's binding gives every fault
// the code EIO and drops the kind of its status, so the text decides; pinned by test/node/store-failure.test.ts.

/** Another process, or this one, has the store open. */
export class StoreLocked extends Error {
  constructor(path: string, options?: { readonly cause: unknown }) {
    super(`${path} is in use by another process; each node needs a directory of its own`, options);
    this.name = 'StoreLocked';
  }
}

/** The files are there and are no longer what was written: set them aside and build the shards again from the log. */
export class StoreDamaged extends Error {
  constructor(path: string, options: { readonly cause: unknown }) {
    super(
      `the store in ${path} is damaged (${textOf(options.cause)}); move it away and the node builds it again`,
      options,
    );
    this.name = 'StoreDamaged';
  }
}

/** The directory cannot be used: permissions, space, open files. Nothing says that its contents are bad. */
export class StoreUnavailable extends Error {
  constructor(path: string, options: { readonly cause: unknown }) {
    super(`the store in ${path} cannot be used: ${textOf(options.cause)}`, options);
    this.name = 'StoreUnavailable';
  }
}

export type StoreFailure = StoreLocked | StoreDamaged | StoreUnavailable;

/** What RocksDB says when somebody holds its LOCK file: another process, or this process. */
const LOCK_HELD =
  /lock hold by current process|While lock file: .*(?:Resource temporarily unavailable|No locks available)/;
/** Faults of the machine, as strerror words them. */
const MACHINE_FAULT =
  /Permission denied|Operation not permitted|Read-only file system|No space left|Disk quota exceeded|Too many open files|Cannot allocate memory/;

/** The failure behind an error of RocksDB, opening, reading or writing the store in `path`. */
export function storeFailure(path: string, cause: unknown): StoreFailure {
  const text = textOf(cause);
  if (LOCK_HELD.test(text)) return new StoreLocked(path, { cause });
  if (MACHINE_FAULT.test(text)) return new StoreUnavailable(path, { cause });
  return new StoreDamaged(path, { cause });
}

/** Why the native part of the package `rocksdb` did not load, and what to do. */
export function loadFailure(cause: unknown): Error {
  const text = textOf(cause);
  if (text.includes('libatomic.so.1')) {
    return new Error(
      'RocksDB needs the system library libatomic.so.1, which is missing; on Debian and Ubuntu: apt-get install libatomic1',
      { cause },
    );
  }
  return new Error(`RocksDB cannot be loaded on ${process.platform}-${process.arch}: ${text}`, { cause });
}

/** The messages of an error and of its causes; the loader of native parts keeps the linker's words in the cause. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError) return error.errors.filter(Boolean).map(textOf).slice(0, 1).join('');
  return error.cause === undefined ? error.message : `${error.message}: ${textOf(error.cause)}`;
}
