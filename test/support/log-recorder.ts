// A reader of an event log that writes down what it is given and can hold its handlers, for the event log's tests.
import type { EventLog, LogBatch, LogReader, Misfit, TopicPartition } from '../../cluster/event-log.ts';
import type { LogRecord } from '../../schema/events.ts';

interface Hold {
  readonly promise: Promise<void>;
  release(): void;
}

export class LogRecorder implements AsyncDisposable {
  readonly batches: LogBatch[] = [];
  readonly misfits: { at: TopicPartition; misfit: Misfit }[] = [];
  readonly failures: Error[] = [];
  interruptions = 0;
  /** Topic partitions that were given a second batch while one was unresolved. */
  readonly overlaps: string[] = [];
  /** Called in the handler before a hold; may throw. */
  onBatch: (batch: LogBatch) => void = () => undefined;
  onInterrupted: () => void = () => undefined;
  reader!: LogReader;
  readonly #unresolved = new Set<string>();
  readonly #holds = new Map<string, Hold>();

  static async open(log: EventLog, topics: readonly string[]): Promise<LogRecorder> {
    const recorder = new LogRecorder();
    recorder.reader = await log.openReader({
      name: 'recorder',
      topics,
      handlers: {
        onBatch: (batch) => recorder.#handle(batch),
        onMisfit: (at, misfit) => recorder.misfits.push({ at, misfit }),
        onInterrupted: () => {
          recorder.interruptions += 1;
          recorder.onInterrupted();
        },
        onFailure: (error) => recorder.failures.push(error),
      },
    });
    return recorder;
  }

  /** Handlers of `at` do not resolve until the function given back is called. */
  hold(at: TopicPartition): () => void {
    let release = () => undefined as void;
    const promise = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.#holds.set(keyOf(at), { promise, release });
    return () => {
      this.#holds.delete(keyOf(at));
      release();
    };
  }

  batchesOf(at: TopicPartition): LogBatch[] {
    return this.batches.filter((batch) => keyOf(batch) === keyOf(at));
  }

  recordsOf(at: TopicPartition): LogRecord[] {
    return this.batchesOf(at).flatMap(({ records }) => records);
  }

  offsetsOf(at: TopicPartition): number[] {
    return this.recordsOf(at).map(({ offset }) => offset);
  }

  nextOffsetOf(at: TopicPartition): number | undefined {
    return this.batchesOf(at).at(-1)?.nextOffset;
  }

  get records(): LogRecord[] {
    return this.batches.flatMap(({ records }) => records);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const hold of this.#holds.values()) hold.release();
    await this.reader.close();
  }

  async #handle(batch: LogBatch): Promise<void> {
    const key = keyOf(batch);
    if (this.#unresolved.has(key)) this.overlaps.push(key);
    this.#unresolved.add(key);
    this.batches.push(batch);
    try {
      this.onBatch(batch);
      await this.#holds.get(key)?.promise;
    } finally {
      this.#unresolved.delete(key);
    }
  }
}

/** What is wrong with batches of one assignment that began at `fromOffset`; empty if the port's promise is kept. */
export function contiguityFaults(batches: readonly LogBatch[], fromOffset: number): string[] {
  const faults: string[] = [];
  let expected = fromOffset;
  for (const { firstOffset, nextOffset, endOffset, records } of batches) {
    if (firstOffset < expected) faults.push(`a batch begins at ${firstOffset}, below ${expected}`);
    if (nextOffset <= firstOffset || endOffset < nextOffset) {
      faults.push(`first ${firstOffset}, next ${nextOffset}, end ${endOffset}`);
    }
    let least = firstOffset;
    for (const { offset } of records) {
      if (offset < least || offset >= nextOffset) faults.push(`offset ${offset} in ${firstOffset}–${nextOffset}`);
      least = offset + 1;
    }
    expected = nextOffset;
  }
  return faults;
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}
