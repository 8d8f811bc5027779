// One idempotent kafkajs producer, used for one request at a time and given up after the first failure (why: see
// kafka-writer.ts). It retries what is safe to retry until it is abandoned; kafkajs's own retries repeat a request under
// the same number, so the broker stores it once.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka, Message, Producer, RecordMetadata, TopicMessages } from 'kafkajs';
import { partitionOf } from '../schema/partitioner.ts';

const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 1_000;
/** Whoever abandons the producer ends the retries; this only bounds one that is forgotten. */
const RETRIES_MAX = 1_000;

export class KafkaProducer {
  readonly #producer: Producer;
  #connected = false;
  #abandoned = false;
  #sending: Promise<unknown> = Promise.resolve();

  constructor(client: Kafka) {
    this.#producer = client.producer({
      idempotent: true,
      maxInFlightRequests: 1,
      allowAutoTopicCreation: false,
      retry: { initialRetryTime: RETRY_MIN_MS, maxRetryTime: RETRY_MAX_MS, retries: RETRIES_MAX },
      createPartitioner: () => (message) => this.#choosePartition(message),
    });
  }

  /** Resolves with the first offset of each partition's share. One call at a time. Rejects once abandoned. */
  send(topicMessages: TopicMessages[]): Promise<RecordMetadata[]> {
    const sending = this.#connect().then(() => this.#producer.sendBatch({ acks: -1, topicMessages }));
    this.#sending = sending;
    return sending;
  }

  /** Ends all retries and connections; what is on its way may be written all the same. */
  abandon(): void {
    this.#abandoned = true;
    const disconnect = () => this.#producer.disconnect().catch(() => undefined);
    void disconnect();
    // A send that was under way reconnects before it notices.
    void this.#sending.then(disconnect, disconnect);
  }

  async #connect(): Promise<void> {
    for (let attempt = 0; !this.#connected; attempt += 1) {
      this.#refuseIfAbandoned();
      try {
        await this.#producer.connect();
        this.#connected = true;
      } catch (error) {
        if (attempt >= RETRIES_MAX) throw error;
        await sleep(Math.min(RETRY_MIN_MS * 2 ** attempt, RETRY_MAX_MS));
      }
    }
  }

  /**
   * Java's partitioner (pinned by schema/partitioner.ts). kafkajs asks again at each retry: the choice is kept in the
   * message, since a changed partition count must not move it, and the place of the record is told by it.
   */
  #choosePartition(choice: { message: Message; partitionMetadata: readonly unknown[] }): number {
    this.#refuseIfAbandoned();
    choice.message.partition ??= partitionOf(choice.message.key as Buffer, choice.partitionMetadata.length);
    return choice.message.partition;
  }

  /** The error says in kafkajs's own terms that no retry will help. */
  #refuseIfAbandoned(): void {
    if (this.#abandoned) throw Object.assign(new Error('the producer was abandoned'), { retriable: false });
  }
}
