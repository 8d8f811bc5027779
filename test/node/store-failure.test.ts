import { describe, expect, test } from 'vitest';
import { loadFailure, storeFailure } from '../../node/store-failure.ts';

describe('storeFailure', () => {
  // The texts as RocksDB 10.5 words them, each seen by provoking it.
  test.each([
    ['StoreLocked', 'While lock file: d1/LOCK: Resource temporarily unavailable'],
    ['StoreLocked', 'lock hold by current process, acquire time 1 acquiring thread 2: d1/LOCK: No locks available'],
    ['StoreUnavailable', 'While open a file for appending: d1/000009.log: No space left on device'],
    ['StoreUnavailable', 'While opening a file for sequentially reading: d1/CURRENT: Permission denied'],
    ['StoreUnavailable', 'While lock file: d1/LOCK: Permission denied'],
    ['StoreDamaged', 'CURRENT file corrupted'],
    ['StoreDamaged', 'no log_file_number, next_file_number, last_sequence entry in MANIFEST'],
    ['StoreDamaged', 'block checksum mismatch: stored = 1, computed = 2'],
    ['StoreDamaged', 'While open a file for random read: d1/000009.sst: No such file or directory'],
  ])('is %s for: %s', (name, text) => {
    const cause = new Error(text);
    const failure = storeFailure('/data', cause);
    expect(failure.name).toBe(name);
    expect(failure.message).toContain('/data');
    expect(failure.cause).toBe(cause);
  });

  test('reads the reason of a batch from its cause and from the first of several errors', () => {
    const full = new Error('No space left on device');
    expect(storeFailure('/data', new Error('Batch was not applied', { cause: full })).name).toBe('StoreUnavailable');
    const errors = new AggregateError([undefined, full], 'Batch was not applied');
    expect(storeFailure('/data', errors).message).toContain('No space left on device');
  });
});

describe('loadFailure', () => {
  test('names the package to install where libatomic is missing', () => {
    const linker = new Error('libatomic.so.1: cannot open shared object file: No such file or directory');
    const failure = loadFailure(new Error("Cannot load addon 'file:///x/rocksdb-native.node'", { cause: linker }));
    expect(failure.message).toContain('libatomic.so.1');
    expect(failure.message).toContain('apt-get install libatomic1');
  });

  test('passes any other reason on, with the platform', () => {
    const failure = loadFailure(new Error("Cannot find addon '.'", { cause: new Error('wrong ELF class') }));
    expect(failure.message).toContain(`${process.platform}-${process.arch}`);
    expect(failure.message).toContain('wrong ELF class');
    expect(failure.message).not.toContain('libatomic');
  });
});
