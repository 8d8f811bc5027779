// Decodes what the log delivered for one shard: events to fold, records for the dead letters, and where it leaves the
// position. Pure, so that it can run ahead of the batch before it.

import { createHash } from 'node:crypto';
import type { LogBatch } from '../cluster/event-log.ts';
import { decodeEvent, type InventoryEvent, type LogRecord, type TopicRole } from '../schema/events.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import { partitionOf } from '../schema/partitioner.ts';
import type { RecordMark } from '../schema/position.ts';
import { type DeadLetter, type DeadLetterReason, deadLetterOf } from './dead-letters.ts';

/** One stretch of one topic of one partition, decoded. */
export interface DecodedBatch {
  readonly role: TopicRole;
  readonly events: readonly InventoryEvent[];
  readonly deadLetters: readonly DeadLetter[];
  /** Position in this topic after the stretch. */
  readonly nextOffset: number;
  /** The last record of the stretch; null where it holds none. */
  readonly mark: RecordMark | null;
}

export interface DecodeOptions {
  readonly role: TopicRole;
  /** Partition count of the topology. */
  readonly partitions: number;
  /** Records below it are passed over: they are applied already. */
  readonly fromOffset: number;
  /** Whether this shard holds a row of the key, which proves its partition and saves the hash. */
  holds(key: InventoryKey): boolean;
}

/** Decodes the records of `batch` from `options.fromOffset` on. Never throws: bad records become dead letters. */
export function decodeBatch(batch: LogBatch, options: DecodeOptions): DecodedBatch {
  const events: InventoryEvent[] = [];
  const deadLetters: DeadLetter[] = [];
  for (const record of batch.records) {
    if (record.offset < options.fromOffset) continue;
    const event = decodeEvent(options.role, record);
    if (event.kind === 'failure') {
      deadLetters.push(deadLetterOf(batch, record, { reason: 'DECODE_FAILED', message: event.message }));
      continue;
    }
    const fault = misplacement(batch, record, options, event.key) ?? invalidTimestamp(record, event);
    if (fault !== undefined) deadLetters.push(deadLetterOf(batch, record, fault));
    if (fault === undefined || fault.reason === 'TIMESTAMP_INVALID') events.push(event);
  }
  const last = batch.records.at(-1);
  const mark = last === undefined || last.offset < options.fromOffset ? null : markOf(last);
  return { role: options.role, events, deadLetters, nextOffset: batch.nextOffset, mark };
}

interface Fault {
  readonly reason: DeadLetterReason;
  readonly message: string;
}

function misplacement(
  batch: LogBatch,
  record: LogRecord,
  options: DecodeOptions,
  key: InventoryKey,
): Fault | undefined {
  if (record.key === null || options.holds(key)) return undefined;
  const expected = partitionOf(record.key, options.partitions);
  if (expected === batch.partition) return undefined;
  const message =
    `${key} belongs to partition ${expected} of ${options.partitions} and was written to ${batch.partition}: ` +
    "its producer must partition like Java's murmur2 (librdkafka and kcat: partitioner=murmur2_random; kafkajs: the default)";
  return { reason: 'WRONG_PARTITION', message };
}

function invalidTimestamp(record: LogRecord, event: InventoryEvent): Fault | undefined {
  if (!event.timestampInvalid) return undefined;
  const message = `the timestamp ${record.timestamp} is no date between 1970 and 9999; the count is applied without a time`;
  return { reason: 'TIMESTAMP_INVALID', message };
}

/** Names a record by its place and bytes, so that another log under the same name is told apart. */
export function markOf(record: LogRecord): RecordMark {
  const hash = createHash('sha256').update(
    `${record.timestamp}|${record.key?.length ?? -1}|${record.value?.length ?? -1}|`,
  );
  if (record.key !== null) hash.update(record.key);
  if (record.value !== null) hash.update(record.value);
  return { offset: record.offset, digest: hash.digest('hex').slice(0, 32) };
}
