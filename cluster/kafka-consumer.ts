// One kafkajs consumer that is told what to read. kafkajs has no assign(), so: a private group whose only member gets
// every partition from an assigner of ours, everything paused in the GROUP_JOIN event, and seek + resume of what is
// wanted. It commits nothing, and comes back by itself, with back-off and without end, after whatever ended it.
//
//   start ──▶ connecting ──GROUP_JOIN──▶ joined ──GROUP_JOIN (leaders or topics changed)──▶ joined
//                 ▲                        │
//                 └──── back-off ◀── CRASH ┘
//
// Hazards: each join forgets all offsets, so the owner must seek again after every onJoined. pause() of a whole topic
// would be undone by the next pause() of one partition: partitions are always named. Known limit: kafkajs never gets past
// a record batch that log compaction has emptied where a segment ends with it; topics with cleanup.policy=delete have none.

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { AssignerProtocol, type Consumer, type EachBatchPayload, type Kafka, type PartitionAssigner } from 'kafkajs';
import type { TopicPartition } from './event-log.ts';
import { type KafkaConnection, RETRIES } from './kafka-connection.ts';

/**
 * Per topic partition and fetch. Measured with 32 topic partitions of 60-byte records: 64 kB 170, 128 to 512 kB 250 to
 * 320 k records/s; peak memory 240 MB, 390 MB, 580 MB, 750 MB at 64, 128, 256, 512 kB.
 */
const FETCH_PARTITION_BYTES_MAX = 128 * 1024;
/** Above the sum over all partitions of a node: a broker fills an answer in order, so a lower bound would starve the last. */
const FETCH_BYTES_MAX = 64 * 1024 * 1024;
/** How long an idle fetch waits at the broker, and with it an `assign` that comes while one is under way. */
const FETCH_WAIT_MS = 100;
const SESSION_TIMEOUT_MS = 30_000;
const REBALANCE_TIMEOUT_MS = 10_000;
const HEARTBEAT_MS = 3_000;
/**
 * Longest time from one fetch to the next for which the second is taken to go on in the same log. Idle, it is FETCH_WAIT_MS
 * and little more; a topic can be deleted, made again and filled a little in a quarter of a second. After a fetch that
 * brought records it is their handlers' time too; a shorter limit would cost a busy reader more than it could find.
 */
const IDLE_FETCH_GAP_MAX_MS = 300;
const BUSY_FETCH_GAP_MAX_MS = 1_000;
/** Batches handled at a time; kafkajs wakes each of these workers on every fetch, so not many more than are of use. */
const HANDLERS_MAX = 32;
/** For leaving the group and closing connections in good order; then they are cut. */
const DISCONNECT_TIMEOUT_MS = 2_000;
const RESTART_BACKOFF_MIN_MS = 100;
const RESTART_BACKOFF_MAX_MS = 1_000;

/** A stretch of the log that holds nothing but control, aborted or compacted records. */
export interface EmptyStretch extends TopicPartition {
  /** Undefined where all its records were compacted away. */
  readonly firstOffset: number | undefined;
  readonly nextOffset: number;
  readonly endOffset: number;
}

/** What the owner of a KafkaConsumer does; called in the order things happen, none may throw. */
export interface KafkaConsumerEvents {
  /** Everything is paused and without offset now. `again`: it was joined before, by this or an earlier group. */
  onJoined(again: boolean): void;
  onBatch(payload: EachBatchPayload): Promise<void>;
  onEmptyStretch(stretch: EmptyStretch): void;
  /** kafkajs met an offset out of range and will go on elsewhere; which partition it was it does not tell. */
  onOutOfRange(): void;
  /** An established connection to a broker ended, or nothing was fetched for so long that it tells nothing. */
  onCut(): void;
}

export class KafkaConsumer {
  readonly #connection: KafkaConnection;
  readonly #options: { readonly name: string; readonly topics: readonly string[] };
  readonly #events: KafkaConsumerEvents;
  readonly #client: Kafka;
  readonly #abandoned = new AbortController();
  #consumer: Consumer | undefined;
  #joined = false;
  #everJoined = false;
  #closed = false;
  #backOffMs = RESTART_BACKOFF_MIN_MS;
  #restart: NodeJS.Timeout | undefined;
  /** Wall-clock time of the last fetch from each broker: the monotonic clock stands still while a machine is suspended. */
  readonly #fetchedAt = new Map<number, number>();
  /** Whether records came since the last fetch. */
  #busy = false;

  constructor(
    connection: KafkaConnection,
    options: { readonly name: string; readonly topics: readonly string[] },
    events: KafkaConsumerEvents,
  ) {
    this.#connection = connection;
    this.#options = options;
    this.#events = events;
    this.#client = connection.createClient({
      abandoned: this.#abandoned.signal,
      onCut: () => {
        if (this.#everJoined && !this.#closed) events.onCut();
      },
    });
    void this.#start();
  }

  /** False until the first join and between a crash and the next join; seeks are then in vain. */
  get joined(): boolean {
    return this.#joined;
  }

  /** Fetches `at` from `offset` on; answers that are under way for another offset are dropped by kafkajs. */
  readFrom({ topic, partition }: TopicPartition, offset: number): void {
    if (!this.#joined) return;
    this.#consumer?.seek({ topic, partition, offset: offset.toString() });
    this.#consumer?.resume([{ topic, partitions: [partition] }]);
  }

  pause({ topic, partition }: TopicPartition): void {
    if (this.#joined) this.#consumer?.pause([{ topic, partitions: [partition] }]);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#joined = false;
    clearTimeout(this.#restart);
    await Promise.race([this.#consumer?.disconnect().catch(() => undefined), sleep(DISCONNECT_TIMEOUT_MS)]);
    this.#abandoned.abort();
  }

  async #start(): Promise<void> {
    const consumer = this.#client.consumer({
      groupId: `${this.#options.name}-${randomUUID()}`,
      partitionAssigners: [assignEverything],
      sessionTimeout: SESSION_TIMEOUT_MS,
      rebalanceTimeout: REBALANCE_TIMEOUT_MS,
      heartbeatInterval: HEARTBEAT_MS,
      maxBytesPerPartition: FETCH_PARTITION_BYTES_MAX,
      maxBytes: FETCH_BYTES_MAX,
      maxWaitTimeInMs: FETCH_WAIT_MS,
      readUncommitted: false,
      allowAutoTopicCreation: false,
      retry: { ...RETRIES, restartOnFailure: () => Promise.resolve(false) },
    });
    this.#consumer = consumer;
    this.#listen(consumer);
    try {
      await consumer.connect();
      // From the beginning, so that an offset out of range shows as a step back and not as a silent step to the end.
      await consumer.subscribe({ topics: [...this.#options.topics], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        partitionsConsumedConcurrently: HANDLERS_MAX,
        eachBatch: (payload) => {
          this.#busy = true;
          return this.#events.onBatch(payload);
        },
      });
    } catch (error) {
      await consumer.disconnect().catch(() => undefined);
      this.#startAgain(consumer, error);
    }
  }

  #listen(consumer: Consumer): void {
    const { GROUP_JOIN, FETCH_START, END_BATCH_PROCESS, REQUEST, STOP, CRASH } = consumer.events;
    consumer.on(GROUP_JOIN, ({ payload }) => {
      if (this.#closed) return;
      const everything = Object.entries(payload.memberAssignment);
      consumer.pause(everything.map(([topic, partitions]) => ({ topic, partitions })));
      this.#joined = true;
      this.#backOffMs = RESTART_BACKOFF_MIN_MS;
      const again = this.#everJoined;
      this.#everJoined = true;
      this.#events.onJoined(again);
    });
    consumer.on(FETCH_START, ({ payload }) => {
      if (consumer === this.#consumer && this.#joined) this.#noteFetch(payload.nodeId);
    });
    consumer.on(END_BATCH_PROCESS, ({ payload }) => {
      if (payload.batchSize > 0) return;
      const { topic, partition, firstOffset, lastOffset, highWatermark } = payload;
      this.#events.onEmptyStretch({
        topic,
        partition,
        firstOffset: (firstOffset as string | null) === null ? undefined : Number(firstOffset),
        nextOffset: Number(lastOffset) + 1,
        endOffset: Number(highWatermark),
      });
    });
    consumer.on(REQUEST, ({ payload }) => {
      // We commit nothing; kafkajs does so only to reset an offset that is out of range.
      if (payload.apiName === 'OffsetCommit') this.#events.onOutOfRange();
    });
    // Between STOP and CRASH the group is gone and a seek would throw.
    consumer.on(STOP, () => {
      if (consumer === this.#consumer) this.#joined = false;
    });
    consumer.on(CRASH, ({ payload }) => this.#startAgain(consumer, payload.error));
  }

  /**
   * A process that stood still may have missed that a topic was deleted and made again: the broker would have told the
   * fetch that was never sent, and now answers the next one from the new log.
   */
  #noteFetch(brokerId: number): void {
    const now = Date.now();
    const gapMs = Math.abs(now - (this.#fetchedAt.get(brokerId) ?? now));
    const gapMaxMs = this.#busy ? BUSY_FETCH_GAP_MAX_MS : IDLE_FETCH_GAP_MAX_MS;
    this.#busy = false;
    this.#fetchedAt.set(brokerId, now);
    if (gapMs <= gapMaxMs) return;
    // What follows is read from verified places on, however long it takes to come to that.
    this.#fetchedAt.clear();
    this.#connection.log('debug', 'nothing was fetched for a while; what comes next is verified', { gapMs });
    this.#events.onCut();
  }

  #startAgain(ended: Consumer, error: unknown): void {
    if (this.#closed || ended !== this.#consumer) return;
    this.#consumer = undefined;
    this.#joined = false;
    const backOffMs = this.#backOffMs;
    this.#backOffMs = Math.min(backOffMs * 2, RESTART_BACKOFF_MAX_MS);
    this.#connection.log('warn', 'the log reader lost its connection and starts again', {
      reader: this.#options.name,
      backOffMs,
      error,
    });
    this.#restart = setTimeout(() => void this.#start(), backOffMs);
  }
}

/** The group's only member gets every partition of its topics. */
const assignEverything: PartitionAssigner = ({ cluster }) => ({
  name: 'everything',
  version: 1,
  assign: ({ members, topics }) => {
    const assignment = Object.fromEntries(
      topics.map((topic) => [topic, cluster.findTopicPartitionMetadata(topic).map(({ partitionId }) => partitionId)]),
    );
    return Promise.resolve(
      members.map(({ memberId }) => ({
        memberId,
        memberAssignment: AssignerProtocol.MemberAssignment.encode({
          version: 1,
          assignment,
          userData: Buffer.alloc(0),
        }),
      })),
    );
  },
  protocol: ({ topics }) => ({
    name: 'everything',
    metadata: AssignerProtocol.MemberMetadata.encode({ version: 1, topics, userData: Buffer.alloc(0) }),
  }),
});
