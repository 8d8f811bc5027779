// The event log on Kafka: the adapter that deployments and the system tests run on. It only puts the parts together;
// kafka-reader.ts keeps the promises of reading, kafka-writer.ts those of writing.

import type {
  EventLog,
  LogRange,
  LogReader,
  LogReaderHandlers,
  LogWriter,
  TopicDescription,
  TopicSpec,
} from './event-log.ts';
import { KafkaAdmin } from './kafka-admin.ts';
import { KafkaConnection, type KafkaSettings, type LogCallback } from './kafka-connection.ts';
import { KafkaReader } from './kafka-reader.ts';
import { KafkaWriter } from './kafka-writer.ts';

export interface KafkaEventLogOptions {
  readonly settings: KafkaSettings;
  readonly log: LogCallback;
  /** Default MISFIT_GRACE_MS. */
  readonly misfitGraceMs?: number;
}

export class KafkaEventLog implements EventLog {
  readonly #connection: KafkaConnection;
  readonly #admin: KafkaAdmin;
  readonly #misfitGraceMs: number | undefined;
  readonly #open = new Set<{ close(): Promise<void> }>();

  constructor({ settings, log, misfitGraceMs }: KafkaEventLogOptions) {
    this.#connection = new KafkaConnection(settings, log);
    this.#admin = new KafkaAdmin(this.#connection);
    this.#misfitGraceMs = misfitGraceMs;
  }

  /** Whether any connection to a broker is open. */
  get connected(): boolean {
    return this.#connection.connected;
  }

  describeTopic(topic: string): Promise<TopicDescription | undefined> {
    return this.#admin.describeTopic(topic);
  }

  createTopic(spec: TopicSpec): Promise<boolean> {
    return this.#admin.createTopic(spec);
  }

  ranges(topic: string): Promise<readonly LogRange[]> {
    return this.#admin.ranges(topic);
  }

  openReader(options: { name: string; topics: readonly string[]; handlers: LogReaderHandlers }): Promise<LogReader> {
    const reader = new KafkaReader(this.#connection, {
      ...options,
      ranges: (topic) => this.#admin.ranges(topic),
      ...(this.#misfitGraceMs === undefined ? {} : { misfitGraceMs: this.#misfitGraceMs }),
    });
    this.#open.add(reader);
    return Promise.resolve(reader);
  }

  openWriter(options: { name: string }): Promise<LogWriter> {
    const writer = new KafkaWriter(this.#connection, options);
    this.#open.add(writer);
    return Promise.resolve(writer);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open].map((each) => each.close()));
    this.#admin.close();
  }
}
