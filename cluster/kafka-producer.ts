// One idempotent kafkajs producer, used for one request at a time and given up after the first failure (why: see
// kafka-writer.ts). It retries what is safe to retry until it is abandoned; kafkajs's own retries repeat a request under
// the same number, so the broker stores it once.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Message, Producer, RecordMetadata, RetryOptions, TopicMessages } from 'kafkajs';
import { partitionOf } from '../schema/partitioner.ts';
import type { KafkaConnection } from './kafka-connection.ts';

/** Whoever abandons the producer ends the retries; the number only bounds one that is forgotten. */
const RETRY_UNTIL_ABANDONED: RetryOptions = { initialRetryTime: 50, maxRetryTime: 1_000, retries: 1_000 };
const CONNECT_RETRY_MS = 250;
const CONNECT_ATTEMPTS_MAX = 1_000;

export class KafkaProducer {
  readonly #producer: Producer;
  readonly #abandoned = new AbortController();
  #connected = false;

  constructor(connection: KafkaConnection) {
    const client = connection.createClient({ retry: RETRY_UNTIL_ABANDONED, abandoned: this.#abandoned.signal });
    this.#producer = client.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      retry: RETRY_UNTIL_ABANDONED,
      createPartitioner: () => choosePartition,
    });
  }

  /**
   * Resolves with the first offset of each partition's share. One call at a time. Rejects where no retry can help; may
   * never settle once abandoned.
   */
  async send(topicMessages: TopicMessages[]): Promise<RecordMetadata[]> {
    await this.#connect();
    return await this.#producer.sendBatch({ acks: -1, topicMessages });
  }

  /** Ends all retries and connections; what is on its way may be written all the same. */
  abandon(): void {
    this.#abandoned.abort();
  }

  async #connect(): Promise<void> {
    for (let attempt = 1; !this.#connected; attempt += 1) {
      try {
        await this.#producer.connect();
        this.#connected = true;
      } catch (error) {
        if (attempt >= CONNECT_ATTEMPTS_MAX || this.#abandoned.signal.aborted) throw error;
        await sleep(CONNECT_RETRY_MS);
      }
    }
  }
}

/**
 * Java's partitioner (pinned by schema/partitioner.ts). kafkajs asks again at each retry: the choice is kept in the
 * message, since a changed partition count must not move it, and the place of the record is told by it.
 */
function choosePartition(choice: { message: Message; partitionMetadata: readonly unknown[] }): number {
  choice.message.partition ??= partitionOf(choice.message.key as Buffer, choice.partitionMetadata.length);
  return choice.message.partition;
}
