// The logs that shard-writer.ts applies and its test folds: the same record at the same place every time, so that both
// make them for themselves.

import type { LogRecord, TopicRole } from '../../schema/events.ts';
import { keysOfPartition, record, recordOf } from './shard-harness.ts';
import type { ModelEvent } from './shard-model.ts';

export const PARTITIONS = 4;
/** The partitions whose shards are written. */
export const SHARDS = [0, 1, 3] as const;
export type WrittenShard = (typeof SHARDS)[number];
export const DEDUPE_WINDOW = 50;
/** Offsets of each topic of each shard. */
export const LOG_LENGTH = 20_000;

const KEYS = new Map(
  SHARDS.map((partition) => [partition, keysOfPartition(partition, PARTITIONS, { count: 60, stores: 4 })]),
);

/** What lies at one offset: an event, a record that is none, or nothing, as where a transaction was committed. */
export type Place = { readonly kind: 'event'; readonly event: ModelEvent } | { readonly kind: 'bad' | 'gap' };

export function placeAt(partition: WrittenShard, role: TopicRole, offset: number): Place {
  const chance = chanceOf(`${partition}/${role}/${offset}`);
  if (chance % 101 === 0) return { kind: 'bad' };
  if (chance % 17 === 0) return { kind: 'gap' };
  const keys = KEYS.get(partition) ?? [];
  const event = {
    offset,
    key: keys[(chance >>> 4) % keys.length] ?? '',
    count: ((chance >>> 8) % 9) - 3,
    eventId: chance % 3 === 0 ? `e${(chance >>> 12) % 4}` : null,
    time: chance % 5 === 0 ? null : offset,
  };
  return { kind: 'event', event };
}

/** The records with `fromOffset` ≤ offset < `endOffset`. */
export function recordsBetween(
  partition: WrittenShard,
  role: TopicRole,
  { fromOffset, endOffset }: { readonly fromOffset: number; readonly endOffset: number },
): LogRecord[] {
  const records: LogRecord[] = [];
  for (let offset = fromOffset; offset < endOffset; offset++) {
    const place = placeAt(partition, role, offset);
    if (place.kind === 'event') records.push(recordOf(place.event));
    else if (place.kind === 'bad') records.push(record(offset, 'no key', 1));
  }
  return records;
}

/** 32 bits that look random: FNV-1a, finished by murmur3's mixer. */
function chanceOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
