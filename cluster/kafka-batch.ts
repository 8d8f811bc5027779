// What kafkajs delivers, as the port delivers it. Once per record: no promise, no copy of bytes.

import type { Batch, KafkaMessage } from 'kafkajs';
import type { LogRecord } from '../schema/events.ts';
import type { LogBatch } from './event-log.ts';

/** The offset that the fetch asked for. Public in kafkajs's Batch, missing in its types. */
export function fetchedOffsetOf(batch: Batch): number {
  return Number((batch as Batch & { readonly fetchedOffset: string }).fetchedOffset);
}

/** The offsets of control and aborted records at its end are part of the stretch. */
export function toLogBatch(batch: Batch): LogBatch {
  const { topic, partition, messages } = batch;
  const nextOffset = Number(batch.lastOffset()) + 1;
  return {
    topic,
    partition,
    records: messages.map(toLogRecord),
    firstOffset: Number(batch.firstOffset()),
    nextOffset,
    endOffset: Math.max(Number(batch.highWatermark), nextOffset),
  };
}

function toLogRecord({ offset, timestamp, key, value, headers }: KafkaMessage): LogRecord {
  const record = { offset: Number(offset), timestamp: Number(timestamp), key, value };
  for (const _ in headers) return { ...record, headers };
  return record;
}
