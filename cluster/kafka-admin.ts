// Topics and their ranges, asked of Kafka's admin API. Every call is bounded by ADMIN_TIMEOUT_MS.
//
// Hazard: a kafkajs admin client remembers every topic it was ever asked about, and once one of them is deleted every
// later call fails. So a client that has failed is thrown away, and the next call starts with a fresh one.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin } from 'kafkajs';
import { InventoryError } from '../schema/errors.ts';
import type { LogRange, TopicDescription, TopicSpec } from './event-log.ts';
import { kafkaErrorTypes, type KafkaConnection } from './kafka-connection.ts';
import { logUnavailable, within } from './log-unavailable.ts';

const ADMIN_TIMEOUT_MS = 10_000;
/** Between a topic's creation and its leaders being known everywhere. */
const LEADER_POLL_MS = 50;
const LEADER_POLLS_MAX = 200;
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

export class KafkaAdmin {
  readonly #connection: KafkaConnection;
  #admin: Promise<Admin> | undefined;
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
    return await this.#ask(`create topic ${topic}`, async (admin) => {
      const created = await admin.createTopics({ topics: [spec], waitForLeaders: false });
      await this.#leadersKnown(admin, topic);
      return created;
    });
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

  async close(): Promise<void> {
    this.#closed = true;
    const admin = this.#admin;
    this.#admin = undefined;
    if (admin !== undefined) await disconnect(admin);
  }

  /**
   * A topic that has just been made is unknown to a broker for a moment (kafkajs's own wait throws then: "does not host
   * this topic-partition").
   */
  async #leadersKnown(admin: Admin, topic: string): Promise<void> {
    for (let polls = 0; polls < LEADER_POLLS_MAX && !this.#closed; polls += 1) {
      const partitions = await partitionsOf(admin, topic);
      if (partitions?.every(({ leader }) => leader >= 0) === true) return;
      await sleep(LEADER_POLL_MS);
    }
    throw logUnavailable(`create topic ${topic}`, new Error('its partitions have no leaders yet'));
  }

  async #ask<T>(doing: string, question: (admin: Admin) => Promise<T>): Promise<T> {
    if (this.#closed) throw logUnavailable(doing, new Error('the event log is closed'));
    const connecting = (this.#admin ??= this.#connect());
    try {
      const answer = connecting.then(question);
      return await within(answer, { timeoutMs: ADMIN_TIMEOUT_MS, doing });
    } catch (error) {
      this.#discard(connecting);
      if (error instanceof InventoryError) throw error;
      const refusal = kafkaErrorTypes(error).find((type) => TOPIC_REFUSALS.has(type));
      if (refusal === undefined) throw logUnavailable(doing, error);
      throw new InventoryError('BAD_CONFIG', `cannot ${doing}: the broker says ${refusal}`, { cause: error });
    }
  }

  async #connect(): Promise<Admin> {
    const admin = this.#connection.createClient().admin();
    await admin.connect();
    return admin;
  }

  #discard(connecting: Promise<Admin>): void {
    if (this.#admin === connecting) this.#admin = undefined;
    void disconnect(connecting);
  }
}

async function disconnect(connecting: Promise<Admin>): Promise<void> {
  try {
    await (await connecting).disconnect();
  } catch {
    // It never connected, or its connection is gone already: nothing is left to close.
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
