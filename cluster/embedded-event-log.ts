// The event log on local disk, for one process: what `npm start` and the simulations run on. It behaves as Kafka does
// where that matters: Java's partitioner, offsets with gaps, compaction, a start that moves, topics made anew.
//
// Durability: an acknowledged record has reached the operating system, so it survives the death of the process; every
// FSYNC_INTERVAL_MS what is new is forced to disk. A power cut may cost the records of that last interval; a shard that
// had read further then finds the log `behind` and refuses, it does not go on with another history.
// Hazard: two processes would overwrite each other's records: a lock in the directory keeps the second one out.

import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { InventoryError } from '../schema/errors.ts';
import { lockDirectory } from './directory-lock.ts';
import { EmbeddedReader } from './embedded-reader.ts';
import { EmbeddedTopic, type TopicEvents } from './embedded-topic.ts';
import type {
  EventLog,
  LogRange,
  LogReader,
  LogReaderHandlers,
  LogWriter,
  OutgoingRecord,
  TopicDescription,
  TopicPartition,
  TopicSpec,
} from './event-log.ts';
import { logUnavailable, within } from './log-unavailable.ts';

const FSYNC_INTERVAL_MS = 1_000;
const CLOSE_TIMEOUT_MS = 5_000;
const PARTITIONS_MAX = 10_000;
/** Kafka's rule for topic names; also what makes them safe as folder names. */
const TOPIC_PATTERN = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;

export interface EmbeddedEventLogOptions {
  readonly directory: string;
  /** Told when damage was cut off a file. */
  readonly log?: (level: 'error' | 'warn', message: string, extra: Readonly<Record<string, unknown>>) => void;
  /** Default MISFIT_GRACE_MS. */
  readonly misfitGraceMs?: number;
}

export class EmbeddedEventLog implements EventLog {
  readonly #options: EmbeddedEventLogOptions;
  readonly #unlock: () => Promise<void>;
  readonly #topics = new Map<string, EmbeddedTopic>();
  /** Topics being made, so that two calls for one name make one topic. */
  readonly #making = new Map<string, Promise<EmbeddedTopic>>();
  readonly #readers = new Set<EmbeddedReader>();
  readonly #appends = new Set<Promise<unknown>>();
  readonly #fsync: NodeJS.Timeout;
  #closed = false;

  private constructor(options: EmbeddedEventLogOptions, unlock: () => Promise<void>) {
    this.#options = options;
    this.#unlock = unlock;
    this.#fsync = setInterval(() => void this.#sync(), FSYNC_INTERVAL_MS).unref();
  }

  /** Takes the directory, made when missing, and opens what it holds. Rejects with BAD_CONFIG when another process has it. */
  static async open(options: EmbeddedEventLogOptions): Promise<EmbeddedEventLog> {
    const log = new EmbeddedEventLog(options, await lockDirectory(options.directory));
    try {
      await mkdir(log.#folder(''), { recursive: true });
      for (const name of await readdir(log.#folder(''))) {
        const topic = await EmbeddedTopic.open(log.#folder(name), name, log.#eventsOf(name));
        if (topic !== undefined) log.#topics.set(name, topic);
      }
      return log;
    } catch (error) {
      await log.close();
      throw error;
    }
  }

  get connected(): boolean {
    return !this.#closed;
  }

  describeTopic(topic: string): Promise<TopicDescription | undefined> {
    return Promise.resolve(this.#topics.get(topic)?.description);
  }

  async createTopic(spec: TopicSpec): Promise<boolean> {
    this.#refuseWhenClosed(`create topic ${spec.topic}`);
    refuseBadSpec(spec);
    if (this.#topics.has(spec.topic) || this.#making.has(spec.topic)) {
      await this.#making.get(spec.topic);
      return false;
    }
    await this.#make(spec, (reader) => {
      for (let partition = 0; partition < spec.partitions; partition += 1)
        reader.wake({ topic: spec.topic, partition });
    });
    return true;
  }

  async ranges(topic: string): Promise<readonly LogRange[]> {
    return await Promise.resolve(this.#existing(topic).ranges);
  }

  openReader({ handlers }: { handlers: LogReaderHandlers }): Promise<LogReader> {
    const reader = new EmbeddedReader({
      handlers,
      findTopic: (topic) => this.#topics.get(topic),
      onClose: (closed) => this.#readers.delete(closed),
      ...(this.#options.misfitGraceMs === undefined ? {} : { misfitGraceMs: this.#options.misfitGraceMs }),
    });
    this.#readers.add(reader);
    return Promise.resolve(reader);
  }

  openWriter(): Promise<LogWriter> {
    let closed = false;
    return Promise.resolve({
      append: async (records, { timeoutMs }) => {
        this.#refuseWhenClosed('append');
        if (closed) throw logUnavailable('append', new Error('the writer is closed'));
        const appending = this.#append(records);
        this.#appends.add(appending);
        try {
          return await within(appending, { timeoutMs, doing: 'append' });
        } finally {
          this.#appends.delete(appending);
        }
      },
      close: () => {
        closed = true;
        return Promise.resolve();
      },
    });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#fsync);
    const drained = Promise.allSettled([...this.#appends, ...[...this.#readers].map((reader) => reader.close())]);
    await within(drained, { timeoutMs: CLOSE_TIMEOUT_MS, doing: 'drain the event log' }).catch(() => undefined);
    await Promise.all([...this.#topics.values()].map((topic) => topic.close()));
    await this.#unlock();
  }

  /** Moves the start of a partition to `offset`, as Kafka's retention or DeleteRecords would. */
  async deleteRecords({ topic, partition }: TopicPartition, offset: number): Promise<void> {
    await this.#existing(topic).deleteBefore(partition, offset);
  }

  /** Compacts every partition of the topic now: the last record of each key stays, at its offset. */
  async compact(topic: string): Promise<void> {
    await this.#existing(topic).compact();
  }

  /** `count` offsets without a record, as transaction markers take. */
  async appendGap({ topic, partition }: TopicPartition, count: number): Promise<void> {
    await this.#existing(topic).appendGap(partition, count);
  }

  /** The topic deleted and made again, empty, under the same name. */
  async recreateTopic(topic: string): Promise<void> {
    const old = this.#existing(topic);
    this.#topics.delete(topic);
    await old.close();
    await this.#make(old.spec, (reader) => reader.interrupt(topic));
  }

  /** `tell` reaches every reader before it can see the new topic. */
  async #make(spec: TopicSpec, tell: (reader: EmbeddedReader) => void): Promise<void> {
    const making = EmbeddedTopic.create(this.#folder(spec.topic), spec, this.#eventsOf(spec.topic));
    this.#making.set(spec.topic, making);
    try {
      this.#topics.set(spec.topic, await making);
    } finally {
      this.#making.delete(spec.topic);
    }
    for (const reader of this.#readers) tell(reader);
  }

  async #append(records: readonly OutgoingRecord[]) {
    const places: { partition: number; offset: number }[] = [];
    const byTopic = new Map<string, { record: OutgoingRecord; index: number }[]>();
    for (const [index, record] of records.entries()) {
      const list = byTopic.get(record.topic);
      if (list === undefined) byTopic.set(record.topic, [{ record, index }]);
      else list.push({ record, index });
    }
    for (const [topic, list] of byTopic) {
      const written = await this.#existing(topic).append(list.map(({ record }) => record));
      for (const [i, { index }] of list.entries()) places[index] = written[i] as (typeof places)[number];
    }
    return places;
  }

  async #sync(): Promise<void> {
    try {
      for (const topic of this.#topics.values()) await topic.sync();
    } catch (error) {
      this.#options.log?.('error', 'the event log could not be forced to disk', { error });
    }
  }

  #eventsOf(topic: string): TopicEvents {
    return {
      onChange: (partition) => this.#wake({ topic, partition }),
      onCut: (partition, bytes) => {
        this.#options.log?.('error', 'damaged bytes were cut off the end of the log', { topic, partition, bytes });
      },
    };
  }

  #wake(at: TopicPartition): void {
    for (const reader of this.#readers) reader.wake(at);
  }

  #existing(topic: string): EmbeddedTopic {
    const found = this.#topics.get(topic);
    if (found === undefined) throw logUnavailable(`use topic ${topic}`, new Error('there is no such topic'));
    return found;
  }

  #refuseWhenClosed(doing: string): void {
    if (this.#closed) throw logUnavailable(doing, new Error('the event log is closed'));
  }

  #folder(topic: string): string {
    return join(this.#options.directory, 'topics', topic);
  }
}

function refuseBadSpec({ topic, partitions }: TopicSpec): void {
  if (!TOPIC_PATTERN.test(topic)) throw new InventoryError('BAD_CONFIG', `${JSON.stringify(topic)} is no topic name`);
  if (!Number.isInteger(partitions) || partitions < 1 || partitions > PARTITIONS_MAX) {
    throw new InventoryError('BAD_CONFIG', `topic ${topic}: ${partitions} partitions; expected 1 to ${PARTITIONS_MAX}`);
  }
}
