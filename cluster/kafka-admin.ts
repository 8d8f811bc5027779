// Topics and their ranges, asked of Kafka's admin API. Every call is bounded by ADMIN_TIMEOUT_MS.
//
// Hazard: a kafkajs admin client remembers every topic it was ever asked about, and once one of them is deleted every
// later call fails; it also keeps to leaders that have moved. So a client that has failed is thrown away, and a question
// that an old client failed at is put to a fresh one once more.

import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import { InventoryError } from '../schema/errors.ts';
import type { LogRange, TopicDescription, TopicSpec } from './event-log.ts';
import { kafkaErrorTypes, type KafkaConnection } from './kafka-connection.ts';
import { logUnavailable, within } from './log-unavailable.ts';

const ADMIN_TIMEOUT_MS = 10_000;
/** A topic that has just been made does not answer for a moment. */
const READY_POLL_MS = 50;
const READY_POLLS_MAX = 100;
/** `ConfigResourceTypes.TOPIC`, which kafkajs exports in a way that ES modules cannot import by name. */
const TOPIC_RESOURCE = 2;
const TOPIC_REFUSALS = new Set([
  'INVALID_TOPIC_EXCEPTION',
  'INVALID_PARTITIONS',
  'INVALID_REPLICATION_FACTOR',
  'INVALID_CONFIG',
  'INVALID_REQUEST',
  'POLICY_VIOLATION',
]);

interface AdminClient {
  readonly connected: Promise<Admin>;
  /** Several questions share a client: one that fails takes the others' answers with it. */
  readonly abandoned: AbortSignal;
  /** Cuts its connections; what it is asked then never settles. */
  abandon(): void;
}

export class KafkaAdmin {
  readonly #connection: KafkaConnection;
  #admin: AdminClient | undefined;
  #closed = false;

  constructor(connection: KafkaConnection) {
    this.#connection = connection;
  }

  async describeTopic(topic: string): Promise<TopicDescription | undefined> {
    return await this.#ask(`describe topic ${topic}`, async (admin) => {
      const partitions = await partitionsOf(admin, topic);
      if (partitions === undefined) return undefined;
      const settings = await configOf(admin, topic);
      return {
        partitions: partitions.length,
        replicationFactor: partitions[0]?.replicas.length ?? 0,
        cleanupPolicy: settings.get('cleanup.policy') ?? 'delete',
        retentionMs: Number(settings.get('retention.ms')),
        retentionBytes: Number(settings.get('retention.bytes')),
      };
    });
  }

  async createTopic({ topic, partitions, replicationFactor, config }: TopicSpec): Promise<boolean> {
    const spec = {
      topic,
      numPartitions: partitions,
      replicationFactor,
      configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
    };
    const created = await this.#ask(`create topic ${topic}`, (admin) =>
      admin.createTopics({ topics: [spec], waitForLeaders: false }),
    );
    await this.#answering(topic);
    return created;
  }

  async ranges(topic: string): Promise<readonly LogRange[]> {
    return await this.#ask(`read the offsets of topic ${topic}`, async (admin) => {
      const ranges: LogRange[] = [];
      for (const { partition, low, high } of await admin.fetchTopicOffsets(topic)) {
        ranges[partition] = { startOffset: Number(low), endOffset: Number(high) };
      }
      return ranges;
    });
  }

  close(): void {
    this.#closed = true;
    this.#admin?.abandon();
    this.#admin = undefined;
  }

  /** kafkajs's own wait for leaders throws "does not host this topic-partition" where a broker has not heard of it yet. */
  async #answering(topic: string): Promise<void> {
    for (let polls = 1; ; polls += 1) {
      try {
        await this.ranges(topic);
        return;
      } catch (error) {
        if (polls >= READY_POLLS_MAX || this.#closed) throw error;
        await sleep(READY_POLL_MS);
      }
    }
  }

  async #ask<T>(doing: string, question: (admin: Admin) => Promise<T>): Promise<T> {
    const deadline = performance.now() + ADMIN_TIMEOUT_MS;
    for (;;) {
      if (this.#closed) throw logUnavailable(doing, new Error('the event log is closed'));
      const isOld = this.#admin !== undefined;
      const client = (this.#admin ??= this.#connect());
      try {
        const timeoutMs = Math.max(0, deadline - performance.now());
        const answer = unlessAborted(client.connected.then(question), client.abandoned);
        return await within(answer, { timeoutMs, doing });
      } catch (error) {
        const isNotOurs = error === client.abandoned.reason;
        this.#discard(client);
        const refusal = kafkaErrorTypes(error).find((type) => TOPIC_REFUSALS.has(type));
        if (refusal !== undefined) {
          throw new InventoryError('BAD_CONFIG', `cannot ${doing}: the broker says ${refusal}`, { cause: error });
        }
        if (error instanceof InventoryError) throw error;
        if (!isOld && !isNotOurs) throw logUnavailable(doing, error);
      }
    }
  }

  #connect(): AdminClient {
    const abandoned = new AbortController();
    // One for each question that is under way.
    setMaxListeners(0, abandoned.signal);
    const admin = this.#connection.createClient({ abandoned: abandoned.signal }).admin();
    const connected = admin.connect().then(() => admin);
    return { connected, abandoned: abandoned.signal, abandon: () => abandoned.abort() };
  }

  #discard(client: AdminClient): void {
    client.abandon();
    if (this.#admin === client) this.#admin = undefined;
  }
}

/** Settles like `answer`, but rejects with the signal's reason once it aborts. */
async function unlessAborted<T>(answer: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason as Error);
    signal.addEventListener('abort', abort);
  });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

async function partitionsOf(admin: Admin, topic: string) {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    return topics.find(({ name }) => name === topic)?.partitions;
  } catch (error) {
    if (kafkaErrorTypes(error).includes('UNKNOWN_TOPIC_OR_PARTITION')) return undefined;
    throw error;
  }
}

async function configOf(admin: Admin, topic: string): Promise<Map<string, string>> {
  const { resources } = await admin.describeConfigs({
    includeSynonyms: false,
    resources: [
      {
        type: TOPIC_RESOURCE,
        name: topic,
        configNames: ['cleanup.policy', 'retention.ms', 'retention.bytes'],
      },
    ],
  });
  const entries = resources.flatMap(({ configEntries }) => configEntries);
  return new Map(entries.map(({ configName, configValue }) => [configName, configValue]));
}
