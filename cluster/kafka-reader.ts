// Reads chosen topic partitions of Kafka from chosen offsets, keeping the promise of the port (I8): every fetch begins
// exactly where the last one ended, or the log's range decides again whether it still fits.
//
//   assign ──▶ checking ──the log fits──▶ reading ──joined again, cut, fetched elsewhere──▶ checking
//                 └──truncated, or behind for the grace time──▶ unassigned, onMisfit
//
// Hazards: kafkajs awaits all batches of a fetch before the next one, so a handler that takes longer than
// HANDLER_PATIENCE_MS has its partition paused and no longer holds the others up. A batch may be on its way while its
// partition is assigned anew: `fetchedOffset` tells.

import type { EachBatchPayload } from 'kafkajs';
import type { LogBatch, LogRange, LogReader, LogReaderHandlers, TopicPartition } from './event-log.ts';
import { fetchedOffsetOf, toLogBatch } from './kafka-batch.ts';
import type { KafkaConnection } from './kafka-connection.ts';
import { type EmptyStretch, KafkaConsumer } from './kafka-consumer.ts';
import { findMisfit, MISFIT_GRACE_MS } from './misfit.ts';

/** Longer than a handler usually takes, shorter than a reader of another partition would notice. */
const HANDLER_PATIENCE_MS = 50;
/** Between two looks at a log that cannot be reached or ends before the place to read from. */
const CHECK_RETRY_MS = 250;
const CLOSE_TIMEOUT_MS = 5_000;

export interface KafkaReaderOptions {
  readonly name: string;
  readonly topics: readonly string[];
  readonly handlers: LogReaderHandlers;
  readonly ranges: (topic: string) => Promise<readonly LogRange[]>;
  readonly misfitGraceMs?: number;
  readonly now?: () => number;
}

/** One call of `assign`; another one for the same topic partition replaces it. */
interface Assignment {
  readonly at: TopicPartition;
  /** First offset whose record the handler has not finished with. */
  nextOffset: number;
  /** Where kafkajs must fetch next; ahead of `nextOffset` while a handler is at work. */
  fetchOffset: number;
  reading: boolean;
  /** When the log was first found to end before `nextOffset`. */
  behindSince: number | undefined;
  /** An empty stretch that began past `fetchOffset`: believed when it comes a second time. */
  gapSeenAt: number | undefined;
}

export class KafkaReader implements LogReader {
  readonly #connection: KafkaConnection;
  readonly #options: KafkaReaderOptions;
  readonly #consumer: KafkaConsumer;
  readonly #assignments = new Map<string, Assignment>();
  /** The last batch handed out per topic partition, until its handler is through; outlives assignments. */
  readonly #unresolved = new Map<string, Promise<void>>();
  /** Per topic, what waits for the next look at its ranges. */
  readonly #toCheck = new Map<string, Set<Assignment>>();
  #interrupted = false;
  #closed = false;

  constructor(connection: KafkaConnection, options: KafkaReaderOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#consumer = new KafkaConsumer(connection, options, {
      onJoined: (again) => (again ? this.#interrupt() : this.#recheckAll()),
      onBatch: (payload) => this.#onBatch(payload),
      onEmptyStretch: (stretch) => this.#onEmptyStretch(stretch),
      // Either records were removed before we read them, or the topic was made anew between two fetches.
      onOutOfRange: () => this.#interrupt(),
      onCut: () => this.#interrupt(),
    });
  }

  assign(at: TopicPartition, fromOffset: number): void {
    const assignment: Assignment = {
      at,
      nextOffset: fromOffset,
      fetchOffset: fromOffset,
      reading: false,
      behindSince: undefined,
      gapSeenAt: undefined,
    };
    this.#assignments.set(keyOf(at), assignment);
    this.#recheck(assignment);
  }

  release(at: TopicPartition): void {
    this.#assignments.delete(keyOf(at));
    this.#consumer.pause(at);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#assignments.clear();
    const quiet = Promise.all([this.#consumer.close(), ...this.#unresolved.values()]);
    await settlesWithin(quiet, CLOSE_TIMEOUT_MS);
  }

  async #onBatch(payload: EachBatchPayload): Promise<void> {
    const { batch } = payload;
    const assignment = this.#assignments.get(keyOf(batch));
    if (assignment?.reading !== true || payload.isStale()) return;
    if (fetchedOffsetOf(batch) !== assignment.fetchOffset) {
      this.#recheck(assignment);
      return;
    }
    const done = this.#deliver(assignment, toLogBatch(batch));
    if (!(await settlesWithin(done, HANDLER_PATIENCE_MS))) this.#pauseUntil(done, assignment);
    else if (assignment.reading && this.#isCurrent(assignment)) payload.resolveOffset(batch.lastOffset());
  }

  /** kafkajs has moved past the stretch already: it neither waits nor says from where it fetched. */
  #onEmptyStretch({ topic, partition, firstOffset, nextOffset, endOffset }: EmptyStretch): void {
    const assignment = this.#assignments.get(keyOf({ topic, partition }));
    if (assignment?.reading !== true) return;
    const begin = firstOffset ?? nextOffset - 1;
    if (begin !== assignment.fetchOffset && begin !== assignment.gapSeenAt) {
      assignment.gapSeenAt = begin;
      this.#recheck(assignment);
      return;
    }
    const busy = this.#unresolved.has(keyOf(assignment.at));
    const done = this.#deliver(assignment, {
      topic,
      partition,
      records: [],
      firstOffset: begin,
      nextOffset,
      endOffset: Math.max(endOffset, nextOffset),
    });
    if (busy) this.#pauseUntil(done, assignment);
  }

  /** Resolves when the handler is through with the batch, also when it failed. One batch per topic partition at a time. */
  #deliver(assignment: Assignment, batch: LogBatch): Promise<void> {
    const key = keyOf(assignment.at);
    assignment.fetchOffset = batch.nextOffset;
    assignment.gapSeenAt = undefined;
    const done = this.#handle(assignment, batch, this.#unresolved.get(key)).finally(() => {
      if (this.#unresolved.get(key) === done) this.#unresolved.delete(key);
    });
    this.#unresolved.set(key, done);
    return done;
  }

  async #handle(assignment: Assignment, batch: LogBatch, earlier: Promise<void> | undefined): Promise<void> {
    if (earlier !== undefined) await earlier;
    if (!this.#isCurrent(assignment)) return;
    try {
      await this.#options.handlers.onBatch(batch);
      assignment.nextOffset = batch.nextOffset;
    } catch (error) {
      this.#fail(error);
    }
  }

  #pauseUntil(done: Promise<void>, assignment: Assignment): void {
    if (this.#isCurrent(assignment)) this.#consumer.pause(assignment.at);
    void done.then(() => (assignment.reading ? this.#read(assignment) : undefined));
  }

  /** Lets kafkajs fetch from `nextOffset`, once nothing that was handed out can still move it. */
  #read(assignment: Assignment): void {
    if (!this.#isCurrent(assignment) || !this.#consumer.joined) return;
    const unresolved = this.#unresolved.get(keyOf(assignment.at));
    if (unresolved !== undefined) {
      void unresolved.then(() => this.#read(assignment));
      return;
    }
    assignment.reading = true;
    assignment.fetchOffset = assignment.nextOffset;
    this.#consumer.readFrom(assignment.at, assignment.nextOffset);
  }

  /** Our connection, and so perhaps the log behind it, is another one. Nothing arrives before `onInterrupted` was called. */
  #interrupt(): void {
    for (const assignment of this.#assignments.values()) this.#suspend(assignment);
    if (this.#interrupted || this.#closed) return;
    this.#interrupted = true;
    setImmediate(() => {
      this.#interrupted = false;
      if (this.#closed) return;
      this.#options.handlers.onInterrupted();
      this.#recheckAll();
    });
  }

  #recheckAll(): void {
    for (const assignment of this.#assignments.values()) this.#recheck(assignment);
  }

  #recheck(assignment: Assignment): void {
    this.#suspend(assignment);
    this.#checkSoon(assignment);
  }

  #suspend(assignment: Assignment): void {
    assignment.reading = false;
    this.#consumer.pause(assignment.at);
  }

  /** What asks within one turn is answered by one look at the topic. Before the first join there is nothing to start. */
  #checkSoon(assignment: Assignment): void {
    if (this.#closed || !this.#consumer.joined) return;
    const { topic } = assignment.at;
    const waiting = this.#toCheck.get(topic);
    if (waiting !== undefined) {
      waiting.add(assignment);
      return;
    }
    this.#toCheck.set(topic, new Set([assignment]));
    setImmediate(() => void this.#check(topic));
  }

  async #check(topic: string): Promise<void> {
    const waiting = [...(this.#toCheck.get(topic) ?? [])];
    this.#toCheck.delete(topic);
    try {
      const ranges = await this.#options.ranges(topic);
      for (const assignment of waiting) this.#judge(assignment, ranges[assignment.at.partition]);
    } catch (error) {
      this.#connection.log('warn', 'the range of a topic cannot be read yet', { topic, error });
      for (const assignment of waiting) this.#checkLater(assignment);
    }
  }

  #judge(assignment: Assignment, range: LogRange | undefined): void {
    if (!this.#isCurrent(assignment)) return;
    const misfit = range === undefined ? undefined : findMisfit(assignment.nextOffset, range);
    if (range === undefined || (misfit?.kind === 'behind' && this.#mayStillGrow(assignment))) {
      this.#checkLater(assignment);
    } else if (misfit === undefined) {
      assignment.behindSince = undefined;
      this.#read(assignment);
    } else {
      this.release(assignment.at);
      this.#options.handlers.onMisfit(assignment.at, misfit);
    }
  }

  #mayStillGrow(assignment: Assignment): boolean {
    const { now = performance.now.bind(performance), misfitGraceMs = MISFIT_GRACE_MS } = this.#options;
    assignment.behindSince ??= now();
    return now() - assignment.behindSince < misfitGraceMs;
  }

  #checkLater(assignment: Assignment): void {
    setTimeout(() => {
      if (this.#isCurrent(assignment)) this.#checkSoon(assignment);
    }, CHECK_RETRY_MS).unref();
  }

  #isCurrent(assignment: Assignment): boolean {
    return this.#assignments.get(keyOf(assignment.at)) === assignment;
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#assignments.clear();
    void this.#consumer.close();
    this.#options.handlers.onFailure(error instanceof Error ? error : new Error(String(error)));
  }
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}

/** Whether `work` settles in time; it goes on in any case. */
async function settlesWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const expired = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  const settled = work.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([settled, expired]);
  } finally {
    clearTimeout(timer);
  }
}
