// A program that a test kills: applies the logs of shard-writer-log.ts to the shards of a RocksDB store from where the
// store says they stand, in batches of many sizes. Prints `opened`, then the positions after each commit, then `done`.
// Arguments: the directory of the store.

import { ApplyQueue } from '../../node/apply-queue.ts';
import { openRocksDbStore } from '../../node/rocksdb-store.ts';
import type { Shard } from '../../node/shard.ts';
import type { TopicRole } from '../../schema/events.ts';
import { batchOf, cacheBytesFor, openShard } from './shard-harness.ts';
import {
  DEDUPE_WINDOW,
  LOG_LENGTH,
  PARTITIONS,
  recordsBetween,
  SHARDS,
  type WrittenShard,
} from './shard-writer-log.ts';

const store = await openRocksDbStore({ path: process.argv[2] ?? '', writeBufferBytes: 64 * 1024 });
const shards = await Promise.all(
  SHARDS.map((partition) =>
    openShard({ store, partition, dedupeWindow: DEDUPE_WINDOW, rowCacheBytes: cacheBytesFor(40) }),
  ),
);
const listener = {
  applied: (shard: Shard) => print(`${shard.partition} ${shard.position.shipments} ${shard.position.sales}`),
  dropped: () => undefined,
};
const queue = new ApplyQueue({ store, partitions: PARTITIONS, listener });
print('opened');
await Promise.all(shards.flatMap((shard) => [follow(shard, 'shipments'), follow(shard, 'sales')]));
print('done');
await store.close();

/** One batch after the other, as a reader delivers them; the two topics of a shard run independently. */
async function follow(shard: Shard, role: TopicRole): Promise<void> {
  for (let from = shard.position[role]; from < LOG_LENGTH;) {
    const nextOffset = Math.min(LOG_LENGTH, from + 1 + ((from * 7) % 30));
    const records = recordsBetween(shard.partition as WrittenShard, role, { fromOffset: from, endOffset: nextOffset });
    await queue.submit(shard, role, batchOf(role, shard.partition, records, { firstOffset: from, nextOffset }));
    from = nextOffset;
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
