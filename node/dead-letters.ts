// Records that cannot be used (I8). The shard puts each into its outbox in the batch that moves past it, so that none is
// lost between reading and telling; the owner publishes the outbox, at least once, and then deletes it.
//
// Dead-letter record: topic `<applicationId>-dead-letters` (compacted), key `topic/partition/offset` (a repeat replaces
// itself), value JSON DeadLetter; written by the partition's owner; never deleted.

import type { LogRecord, TopicRole } from '../schema/events.ts';

/** Closed list: it is a metric label. */
export type DeadLetterReason = 'DECODE_FAILED' | 'WRONG_PARTITION' | 'TIMESTAMP_INVALID';

export interface DeadLetter {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: DeadLetterReason;
  /** What was expected and what came, for people. */
  readonly message: string;
  /** True where the count applies all the same (TIMESTAMP_INVALID). */
  readonly applied: boolean;
  readonly timestamp: number;
  /** The first BYTES_SHOWN_MAX bytes in base64. */
  readonly key: string | null;
  readonly value: string | null;
}

/** Most dead letters a shard keeps unpublished; further ones are counted and logged with their coordinates only. */
export const OUTBOX_MAX = 100_000;
const BYTES_SHOWN_MAX = 1_024;

/** Describes `record`, found at `place`. */
export function deadLetterOf(
  place: { readonly topic: string; readonly partition: number },
  record: LogRecord,
  fault: { readonly reason: DeadLetterReason; readonly message: string },
): DeadLetter {
  return {
    topic: place.topic,
    partition: place.partition,
    offset: record.offset,
    reason: fault.reason,
    message: fault.message,
    applied: fault.reason === 'TIMESTAMP_INVALID',
    timestamp: record.timestamp,
    key: shown(record.key),
    value: shown(record.value),
  };
}

/** Key of the published record. */
export function deadLetterKey(letter: DeadLetter): string {
  return `${letter.topic}/${letter.partition}/${letter.offset}`;
}

/** A dead letter in its shard's outbox. */
export interface OutboxEntry {
  readonly role: TopicRole;
  readonly letter: DeadLetter;
}

function shown(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString('base64', 0, Math.min(bytes.length, BYTES_SHOWN_MAX));
}
