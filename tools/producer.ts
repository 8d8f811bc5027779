// Appends the events of a plan through a log writer: a bounded number of batches under way, at a bounded rate if asked,
// and an exact account of what the log acknowledged.

import { setTimeout as sleepMs } from 'node:timers/promises';
import type { LogWriter, OutgoingRecord } from '../cluster/event-log.ts';
import type { SourceTopics } from '../cluster/shared-settings.ts';
import { encodeCount } from '../schema/events.ts';
import { type EventPlan, type GeneratedEvent, generateEvents } from './event-generator.ts';

const BATCH_RECORDS_MAX = 5_000;
const BATCHES_PER_S = 10;
const BATCHES_UNDER_WAY_MAX = 3;
const APPEND_TIMEOUT_MS = 60_000;

export interface ProduceOptions {
  readonly writer: LogWriter;
  readonly plan: EventPlan;
  readonly topics: SourceTopics;
  /** Events per second at most; undefined: as fast as the log takes them. */
  readonly ratePerS: number | undefined;
  /** Aborting it ends the run after what is under way. */
  readonly signal: AbortSignal;
  /** Called for each batch that the log has acknowledged, once. */
  readonly onAcknowledged: (events: readonly GeneratedEvent[]) => void;
  readonly now?: () => number;
  readonly sleep?: (delayMs: number, signal: AbortSignal) => Promise<void>;
}

export interface ProduceResult {
  readonly acknowledged: number;
  /** Events in batches that failed: the log may hold some of them all the same. */
  readonly unsure: number;
  /** Why it stopped early, if a batch failed. */
  readonly error: unknown;
}

/** Never rejects for a failed append: the first one ends the run and stands in the result. */
export async function produceEvents(options: ProduceOptions): Promise<ProduceResult> {
  const { writer, topics, ratePerS, signal, onAcknowledged } = options;
  const pace = createPace(options);
  const underWay = new Set<Promise<void>>();
  const result = { acknowledged: 0, unsure: 0, error: undefined as unknown };
  const append = async (batch: readonly GeneratedEvent[]): Promise<void> => {
    try {
      const records = batch.map((event) => toRecord(event, topics));
      await writer.append(records, { timeoutMs: APPEND_TIMEOUT_MS });
      result.acknowledged += batch.length;
      onAcknowledged(batch);
    } catch (error) {
      result.unsure += batch.length;
      result.error ??= error;
    }
  };
  for (const batch of batches(generateEvents(options.plan), batchSize(ratePerS))) {
    await pace(batch.length);
    if (signal.aborted || result.error !== undefined) break;
    const appending = append(batch).finally(() => underWay.delete(appending));
    underWay.add(appending);
    if (underWay.size >= BATCHES_UNDER_WAY_MAX) await Promise.race(underWay);
  }
  await Promise.all(underWay);
  return result;
}

/** Small batches at a small rate, so that it stays even. */
function batchSize(ratePerS: number | undefined): number {
  if (ratePerS === undefined) return BATCH_RECORDS_MAX;
  return Math.min(BATCH_RECORDS_MAX, Math.max(1, Math.floor(ratePerS / BATCHES_PER_S)));
}

/** Waits until so many more events are due. */
function createPace(options: ProduceOptions): (events: number) => Promise<void> {
  const { ratePerS, signal, now = () => performance.now(), sleep = sleepUnlessAborted } = options;
  const startedAt = now();
  let started = 0;
  return async (events) => {
    if (ratePerS !== undefined) {
      const waitMs = startedAt + (started / ratePerS) * 1_000 - now();
      if (waitMs > 0) await sleep(waitMs, signal);
    }
    started += events;
  };
}

async function sleepUnlessAborted(delayMs: number, signal: AbortSignal): Promise<void> {
  await sleepMs(delayMs, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

function* batches<Item>(items: Iterable<Item>, size: number): Generator<Item[], void, void> {
  let batch: Item[] = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

function toRecord({ role, key, count, eventId }: GeneratedEvent, topics: SourceTopics): OutgoingRecord {
  const record = { topic: topics[role], key, value: encodeCount(count) };
  return eventId === undefined ? record : { ...record, headers: { 'event-id': eventId } };
}
