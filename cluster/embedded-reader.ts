// Reads chosen topic partitions of the embedded event log: one loop per assignment, asleep at the end of its log until
// something is appended. The same promises as kafka-reader.ts (I8).

import type { EmbeddedTopic } from './embedded-topic.ts';
import type { LogBatch, LogRange, LogReader, LogReaderHandlers, Misfit, TopicPartition } from './event-log.ts';
import { findMisfit, MISFIT_GRACE_MS } from './misfit.ts';

const CLOSE_TIMEOUT_MS = 5_000;

export interface EmbeddedReaderOptions {
  readonly handlers: LogReaderHandlers;
  /** The topic as it is now; undefined while there is none. */
  readonly findTopic: (topic: string) => EmbeddedTopic | undefined;
  readonly onClose: (reader: EmbeddedReader) => void;
  readonly misfitGraceMs?: number;
  readonly now?: () => number;
}

/** One call of `assign`; another one for the same topic partition replaces it. */
interface Assignment {
  readonly at: TopicPartition;
  nextOffset: number;
  /** When the log was first found to end before `nextOffset`. */
  behindSince: number | undefined;
  /** Ends the sleep at the end of the log. */
  wake: () => void;
}

export class EmbeddedReader implements LogReader {
  readonly #options: EmbeddedReaderOptions;
  readonly #assignments = new Map<string, Assignment>();
  /** The batch that a handler is at work on, per topic partition; outlives assignments. */
  readonly #unresolved = new Map<string, Promise<void>>();
  #closed = false;

  constructor(options: EmbeddedReaderOptions) {
    this.#options = options;
  }

  assign(at: TopicPartition, fromOffset: number): void {
    if (this.#closed) return;
    this.release(at);
    const assignment: Assignment = { at, nextOffset: fromOffset, behindSince: undefined, wake: () => undefined };
    this.#assignments.set(keyOf(at), assignment);
    void this.#follow(assignment);
  }

  release(at: TopicPartition): void {
    const assignment = this.#assignments.get(keyOf(at));
    this.#assignments.delete(keyOf(at));
    assignment?.wake();
  }

  /** The topic partition has changed. */
  wake(at: TopicPartition): void {
    this.#assignments.get(keyOf(at))?.wake();
  }

  /** The topic is another one now; called before anything of it can be read. */
  interrupt(topic: string): void {
    if (this.#closed) return;
    this.#options.handlers.onInterrupted();
    for (const assignment of this.#assignments.values()) {
      if (assignment.at.topic === topic) assignment.wake();
    }
  }

  async close(): Promise<void> {
    this.#stop();
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    await Promise.race([Promise.all(this.#unresolved.values()), expired]);
    clearTimeout(timer);
  }

  async #follow(assignment: Assignment): Promise<void> {
    try {
      await this.#unresolved.get(keyOf(assignment.at));
      while (this.#isCurrent(assignment)) {
        const batch = await this.#nextBatch(assignment);
        if (batch !== undefined && this.#isCurrent(assignment)) await this.#deliver(assignment, batch);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Undefined after something has changed: look again. */
  async #nextBatch(assignment: Assignment): Promise<LogBatch | undefined> {
    const { topic: name, partition } = assignment.at;
    const topic = this.#options.findTopic(name);
    const range = topic?.ranges[partition];
    if (topic === undefined || range === undefined) return await this.#changed(assignment);
    const { nextOffset } = assignment;
    const misfit = findMisfit(nextOffset, range);
    if (misfit !== undefined) return await this.#judge(assignment, misfit);
    assignment.behindSince = undefined;
    if (nextOffset === range.endOffset) return await this.#changed(assignment);
    const stretch = await topic.read(partition, nextOffset);
    const { startOffset, endOffset } = topic.ranges[partition] as LogRange;
    // While we were reading the topic may have become another, or its start may have moved past us.
    if (stretch === undefined || this.#options.findTopic(name) !== topic || startOffset > nextOffset) return undefined;
    return { topic: name, partition, ...stretch, endOffset };
  }

  async #judge(assignment: Assignment, misfit: Misfit): Promise<undefined> {
    const { misfitGraceMs = MISFIT_GRACE_MS, now = performance.now.bind(performance) } = this.#options;
    assignment.behindSince ??= now();
    const remainingMs = assignment.behindSince + misfitGraceMs - now();
    if (misfit.kind === 'behind' && remainingMs > 0) return await this.#changed(assignment, remainingMs);
    this.release(assignment.at);
    this.#options.handlers.onMisfit(assignment.at, misfit);
    return undefined;
  }

  /** Sleeps until `wake`, or for `timeoutMs`. */
  async #changed(assignment: Assignment, timeoutMs?: number): Promise<undefined> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      assignment.wake = resolve;
      if (timeoutMs !== undefined) timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
  }

  async #deliver(assignment: Assignment, batch: LogBatch): Promise<void> {
    const key = keyOf(assignment.at);
    const handled = this.#options.handlers.onBatch(batch);
    const settled = handled.then(
      () => undefined,
      () => undefined,
    );
    this.#unresolved.set(key, settled);
    try {
      await handled;
      assignment.nextOffset = batch.nextOffset;
    } finally {
      if (this.#unresolved.get(key) === settled) this.#unresolved.delete(key);
    }
  }

  #isCurrent(assignment: Assignment): boolean {
    return this.#assignments.get(keyOf(assignment.at)) === assignment;
  }

  #stop(): void {
    this.#closed = true;
    for (const { at } of this.#assignments.values()) this.release(at);
    this.#options.onClose(this);
  }

  #fail(error: unknown): void {
    if (this.#closed) return;
    this.#stop();
    this.#options.handlers.onFailure(error instanceof Error ? error : new Error(String(error)));
  }
}

function keyOf({ topic, partition }: TopicPartition): string {
  return `${topic}/${partition}`;
}
