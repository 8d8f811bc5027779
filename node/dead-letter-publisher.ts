// Publishes the outboxes of the shards that this node owns and then deletes what was published (I8): at least once, since
// a crash in between publishes again under the same key.

import type { LogWriter } from '../cluster/event-log.ts';
import { type DeadLetter, deadLetterKey } from './dead-letters.ts';
import type { Shard } from './shard.ts';
import type { ShardStore } from './shard-store.ts';

/** Dead letters of one append. */
const PUBLISH_BATCH = 500;
const APPEND_TIMEOUT_MS = 10_000;
/** Wait between rounds, and after a failure. */
const ROUND_MS = 250;

export interface PublisherOptions {
  readonly store: ShardStore;
  readonly writer: LogWriter;
  /** `<applicationId>-dead-letters`. */
  readonly topic: string;
  /** Shards that this node owns now. */
  owned(): Iterable<Shard>;
  readonly published: (letters: readonly DeadLetter[]) => void;
  onFault(message: string, cause: unknown): void;
}

export class DeadLetterPublisher {
  readonly #options: PublisherOptions;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;

  constructor(options: PublisherOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#round ??= this.#publishAll().finally(() => {
        this.#round = undefined;
      });
    }, ROUND_MS);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#round;
  }

  async #publishAll(): Promise<void> {
    for (const shard of this.#options.owned()) {
      try {
        while (shard.outboxSize > 0 && (await this.#publishSome(shard)));
      } catch (error) {
        this.#options.onFault(
          `partition ${shard.partition}: ${shard.outboxSize} dead letters cannot be published to ${this.#options.topic}`,
          error,
        );
        return;
      }
    }
  }

  /** Answers whether there may be more. */
  async #publishSome(shard: Shard): Promise<boolean> {
    const { store, writer, topic, published } = this.#options;
    const entries = await store.scan(shard.keys.deadLetters(PUBLISH_BATCH));
    if (entries.length === 0) return false;
    const letters = entries.map((entry) => JSON.parse(entry.value.toString()) as DeadLetter);
    const records = letters.map((letter) => ({ topic, key: deadLetterKey(letter), value: JSON.stringify(letter) }));
    await writer.append(records, { timeoutMs: APPEND_TIMEOUT_MS });
    await store.write((batch) => {
      for (const entry of entries) batch.delete(entry.key);
    });
    shard.outboxSize -= entries.length;
    published(letters);
    return entries.length === PUBLISH_BATCH;
  }
}
