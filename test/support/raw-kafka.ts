// Kafka as a stranger with every right uses it: any bytes into any partition, topics deleted and made again, records
// removed. Shares no code with the product's own adapter.
import { Kafka, type Admin, logLevel, type Message } from 'kafkajs';
import type { RecordHeaders } from '../../schema/events.ts';
import { eventually } from './eventually.ts';
import { javaPartitionOf } from './oracle.ts';
import { uniqueId } from './unique.ts';

const READ_TIMEOUT_MS = 30_000;
const TOPIC_TIMEOUT_MS = 30_000;
/** Of one request. */
const RECORDS_PER_SEND = 10_000;

export interface RawRecord {
  readonly topic: string;
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  /** Without it Java's choice for the key. */
  readonly partition?: number;
  /** Milliseconds since 1970, instead of now. */
  readonly timestamp?: number;
  readonly headers?: Readonly<Record<string, string | string[]>>;
}

/** A record as it lies in the log. */
export interface ReadRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: RecordHeaders;
}

export class RawKafka {
  readonly #kafka: Kafka;

  /** `brokers` is `host:port`. Connects anew for each call: clients that have seen a topic deleted are of no more use. */
  constructor(brokers: string) {
    const retry = { initialRetryTime: 20, retries: 8 };
    this.#kafka = new Kafka({ brokers: [brokers], clientId: 'raw-kafka', logLevel: logLevel.NOTHING, retry });
  }

  /** Resolves, when all are acknowledged, with their offsets in the order given. `partitions` is the topics' count. */
  async write(records: readonly RawRecord[], { partitions }: { readonly partitions: number }): Promise<number[]> {
    const producer = this.#kafka.producer({ allowAutoTopicCreation: false });
    await producer.connect();
    try {
      const offsets: number[] = [];
      for (let i = 0; i < records.length; i += RECORDS_PER_SEND) {
        const chunk = records.slice(i, i + RECORDS_PER_SEND);
        const messages = chunk.map((record) => ({ topic: record.topic, message: toMessage(record, partitions) }));
        const topics = [...new Set(chunk.map(({ topic }) => topic))];
        const written = await producer.sendBatch({
          topicMessages: topics.map((topic) => ({
            topic,
            messages: messages.filter((each) => each.topic === topic).map(({ message }) => message),
          })),
        });
        const nextOffsets = new Map(written.map((at) => [`${at.topicName}/${at.partition}`, Number(at.baseOffset)]));
        for (const { topic, message } of messages) {
          const place = `${topic}/${message.partition}`;
          const offset = nextOffsets.get(place) as number;
          nextOffsets.set(place, offset + 1);
          offsets.push(offset);
        }
      }
      return offsets;
    } finally {
      await producer.disconnect();
    }
  }

  /** Every committed record of the topic as it stands now, by partition and offset. */
  async read(topic: string): Promise<ReadRecord[]> {
    const ends = await this.endOffsets(topic);
    const missing = new Set([...ends.keys()].filter((partition) => (ends[partition] as number) > 0));
    const records: ReadRecord[] = [];
    if (missing.size === 0) return records;
    const consumer = this.#kafka.consumer({ groupId: uniqueId('raw'), maxWaitTimeInMs: 50 });
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload: { partition, lastOffset } }) => {
      if (Number(lastOffset) + 1 >= (ends[partition] as number)) missing.delete(partition);
    });
    await consumer.connect();
    try {
      await consumer.subscribe({ topic, fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachMessage: ({ partition, message }) => {
          const { offset, timestamp, key, value, headers = {} } = message;
          const place = { topic, partition, offset: Number(offset), timestamp: Number(timestamp) };
          records.push({ ...place, key, value, headers });
          return Promise.resolve();
        },
      });
      await eventually(`${topic} is read to its end`, () => missing.size === 0, { timeoutMs: READ_TIMEOUT_MS });
    } finally {
      await consumer.disconnect();
    }
    return records.sort((a, b) => a.partition - b.partition || a.offset - b.offset);
  }

  /** Exclusive ends by partition. */
  async endOffsets(topic: string): Promise<number[]> {
    return this.#ask(async (admin) => {
      const offsets = await admin.fetchTopicOffsets(topic);
      return offsets.sort((a, b) => a.partition - b.partition).map(({ high }) => Number(high));
    });
  }

  /** `config` as Kafka spells it. Resolves when every partition answers. */
  async createTopic(topic: string, partitions: number, config: Readonly<Record<string, string>> = {}): Promise<void> {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }));
    const spec = { topic, numPartitions: partitions, replicationFactor: 1, configEntries };
    await eventually(
      `${topic} is made`,
      () => this.#ask((admin) => admin.createTopics({ topics: [spec], waitForLeaders: false })),
      { timeoutMs: TOPIC_TIMEOUT_MS },
    );
    await eventually(`${topic} answers`, async () => (await this.endOffsets(topic)).length === partitions, {
      timeoutMs: TOPIC_TIMEOUT_MS,
    });
  }

  /** Deletes the topic and makes an empty one of the same name and partition count. */
  async recreateTopic(topic: string): Promise<void> {
    const partitions = (await this.endOffsets(topic)).length;
    await this.#ask((admin) => admin.deleteTopics({ topics: [topic] }));
    await this.createTopic(topic, partitions);
  }

  /** More partitions, as an operator would. */
  async growTopic(topic: string, count: number): Promise<void> {
    await this.#ask((admin) => admin.createPartitions({ topicPartitions: [{ topic, count }] }));
  }

  /** Removes the records of every partition before `offset`, as retention would. */
  async removeRecordsBefore(topic: string, offset: number): Promise<void> {
    const partitions = (await this.endOffsets(topic)).map((_, partition) => ({ partition, offset: `${offset}` }));
    await this.#ask(async (admin) => {
      // Without it the client does not find the leaders.
      await admin.fetchTopicOffsets(topic);
      await admin.deleteTopicRecords({ topic, partitions });
    });
  }

  async #ask<T>(question: (admin: Admin) => Promise<T>): Promise<T> {
    const admin = this.#kafka.admin();
    await admin.connect();
    try {
      return await question(admin);
    } finally {
      await admin.disconnect();
    }
  }
}

function toMessage({ key, value, partition, timestamp, headers }: RawRecord, partitions: number): Message {
  const chosen = partition ?? javaPartitionOf(Buffer.from(key ?? ''), partitions);
  return {
    key,
    value,
    partition: chosen,
    ...(timestamp === undefined ? {} : { timestamp: timestamp.toString() }),
    ...(headers === undefined ? {} : { headers: { ...headers } }),
  };
}
