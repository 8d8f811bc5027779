// An event log that does only what a test tells it: ranges can be held back, batches arrive when the test delivers them,
// and a topic can be truncated, recreated or given another number of partitions. Reads only; nothing is appended through it.

import type {
  EventLog,
  LogBatch,
  LogRange,
  LogReader,
  LogReaderHandlers,
  LogWriter,
  Misfit,
  TopicPartition,
} from '../../cluster/event-log.ts';
import type { LogRecord } from '../../schema/events.ts';

interface FakePartition {
  startOffset: number;
  endOffset: number;
  records: LogRecord[];
}

export class FakeEventLog implements EventLog {
  readonly connected = true;
  /** How often the ranges of a topic were asked for. */
  probes = 0;
  /** What `ranges` waits for before it answers with what it saw when it was asked. */
  rangesGate: Promise<void> = Promise.resolve();
  rangesError: Error | undefined;
  readonly #topics = new Map<string, FakePartition[]>();
  #reader: FakeReader | undefined;

  constructor(topics: readonly string[], partitions: number) {
    for (const topic of topics) this.setPartitions(topic, partitions);
  }

  get reader(): FakeReader {
    if (this.#reader === undefined) throw new Error('no reader was opened');
    return this.#reader;
  }

  // ── What the test does to the log ─────────────────────────────────────────────────────────────────────────────────

  setPartitions(topic: string, count: number): void {
    const partitions = this.#topics.get(topic) ?? [];
    this.#topics.set(
      topic,
      Array.from({ length: count }, (_, i) => partitions[i] ?? { startOffset: 0, endOffset: 0, records: [] }),
    );
  }

  /** Puts records at the offsets that they name, and the end behind the last. */
  append(at: TopicPartition, records: readonly LogRecord[]): void {
    const partition = this.partition(at);
    partition.records.push(...records);
    partition.endOffset = Math.max(partition.endOffset, (records.at(-1)?.offset ?? -1) + 1);
  }

  /** Moves the end without a record, as control records do, or back, as a lost end does. */
  setEnd(at: TopicPartition, endOffset: number): void {
    const partition = this.partition(at);
    partition.endOffset = endOffset;
    partition.records = partition.records.filter(({ offset }) => offset < endOffset);
  }

  truncateBefore(at: TopicPartition, startOffset: number): void {
    const partition = this.partition(at);
    partition.startOffset = startOffset;
    partition.endOffset = Math.max(partition.endOffset, startOffset);
    partition.records = partition.records.filter(({ offset }) => offset >= startOffset);
  }

  /** Another log under the same name. */
  recreate(at: TopicPartition, records: readonly LogRecord[]): void {
    Object.assign(this.partition(at), { startOffset: 0, endOffset: 0, records: [] });
    this.append(at, records);
  }

  partition({ topic, partition }: TopicPartition): FakePartition {
    const found = this.#topics.get(topic)?.[partition];
    if (found === undefined) throw new Error(`no partition ${partition} of ${topic}`);
    return found;
  }

  // ── The port ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async ranges(topic: string): Promise<readonly LogRange[]> {
    this.probes++;
    const seen = (this.#topics.get(topic) ?? []).map(({ startOffset, endOffset }) => ({ startOffset, endOffset }));
    await this.rangesGate;
    if (this.rangesError !== undefined) throw this.rangesError;
    return seen;
  }

  openReader(options: { readonly handlers: LogReaderHandlers }): Promise<LogReader> {
    this.#reader = new FakeReader(this, options.handlers);
    return Promise.resolve(this.#reader);
  }

  describeTopic(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  createTopic(): Promise<boolean> {
    return Promise.resolve(false);
  }

  openWriter(): Promise<LogWriter> {
    return Promise.reject(new Error('the fake event log is read only'));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Hands out batches when told to. */
export class FakeReader implements LogReader {
  /** Every `assign` so far: `topic/partition` and where from. */
  readonly assigned: [place: string, fromOffset: number][] = [];
  isClosed = false;
  readonly #log: FakeEventLog;
  readonly #handlers: LogReaderHandlers;
  /** Where reading goes on; a new object for each assignment. */
  readonly #nexts = new Map<string, { offset: number }>();

  constructor(log: FakeEventLog, handlers: LogReaderHandlers) {
    this.#log = log;
    this.#handlers = handlers;
  }

  assign(at: TopicPartition, fromOffset: number): void {
    this.assigned.push([placeOf(at), fromOffset]);
    this.#nexts.set(placeOf(at), { offset: fromOffset });
  }

  release(at: TopicPartition): void {
    this.#nexts.delete(placeOf(at));
  }

  close(): Promise<void> {
    this.isClosed = true;
    this.#nexts.clear();
    return Promise.resolve();
  }

  reads(at: TopicPartition): boolean {
    return this.#nexts.has(placeOf(at));
  }

  /** Delivers what lies between the place to go on and the end, if the partition is assigned and there is anything. */
  async deliver(at: TopicPartition): Promise<void> {
    const next = this.#nexts.get(placeOf(at));
    const { records, endOffset } = this.#log.partition(at);
    if (next === undefined || next.offset >= endOffset) return;
    const from = next.offset;
    next.offset = endOffset;
    await this.push({
      ...at,
      records: records.filter(({ offset }) => offset >= from),
      firstOffset: from,
      nextOffset: endOffset,
      endOffset,
    });
  }

  /** Hands over this very batch, whatever is assigned. */
  push(batch: LogBatch): Promise<void> {
    return this.#handlers.onBatch(batch);
  }

  interrupt(): void {
    this.#handlers.onInterrupted();
  }

  /** Lets go of the partition, as a reader whose place is not in the log. */
  reportMisfit(at: TopicPartition, misfit: Misfit): void {
    this.release(at);
    this.#handlers.onMisfit(at, misfit);
  }

  fail(error: Error): void {
    this.#nexts.clear();
    this.#handlers.onFailure(error);
  }
}

function placeOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}
