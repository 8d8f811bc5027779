// A program that a test kills: writes numbered batches into a RocksDB store for ever, and prints each number once its
// write has resolved. Batch n puts `head` = n and `slot-<n mod SLOTS>` = n, after whatever number the store ends with.
// Arguments: the directory of the store.

import { openRocksDbStore } from '../../node/rocksdb-store.ts';
import { HEAD_KEY, numberOf, SLOTS, slotKey } from './store-writer-keys.ts';

const store = await openRocksDbStore({ path: process.argv[2] ?? '', writeBufferBytes: 64 * 1024 });
const [stored] = await store.getMany([HEAD_KEY]);
for (let n = numberOf(stored) + 1; ; n++) {
  await store.write((batch) => {
    batch.put(HEAD_KEY, Buffer.from(String(n)));
    // Enough bytes that memtables become files while the test looks on.
    batch.put(slotKey(n % SLOTS), Buffer.from(String(n).padEnd(1_000)));
  });
  process.stdout.write(`${n}\n`);
}
