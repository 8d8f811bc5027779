// The event log as every process sees it: the port. Adapters: kafka-event-log.ts and embedded-event-log.ts; both pass
// test/suites/event-log.suite.ts.
//
// A reader is told by its caller which partitions to read and from where; it commits nothing and joins no balancing.
// Hazard: Kafka's client silently restarts elsewhere when an offset is out of range, so the port promises that records of
// one assignment come in offset order from `fromOffset` on, and reports a log that does not fit as `onMisfit` instead.

import type { LogRecord, RecordHeaders } from '../schema/events.ts';

/** A topic partition. */
export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

/** Consecutive records of one topic partition; offsets may have gaps (control records, aborted or compacted records). */
export interface LogBatch extends TopicPartition {
  /** In offset order; empty when the stretch holds only control or aborted records. */
  readonly records: readonly LogRecord[];
  /** Where this stretch begins: the previous batch's nextOffset or the assignment's `fromOffset`, or later over a gap. */
  readonly firstOffset: number;
  /** The offset behind the stretch; greater than that of every record in it. */
  readonly nextOffset: number;
  /** Exclusive end of the log when the batch was fetched; ≥ nextOffset. */
  readonly endOffset: number;
}

/** Low and exclusive high offset of a partition. */
export interface LogRange {
  readonly startOffset: number;
  readonly endOffset: number;
}

export interface TopicDescription {
  readonly partitions: number;
  readonly replicationFactor: number;
  /** `delete`, `compact` or both, as Kafka's cleanup.policy. */
  readonly cleanupPolicy: string;
  /** −1 = unlimited. */
  readonly retentionMs: number;
  readonly retentionBytes: number;
}

export interface TopicSpec {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  /** Settings as Kafka spells them, e.g. `{ 'cleanup.policy': 'compact' }`. */
  readonly config: Readonly<Record<string, string>>;
}

/** A record to append. Without `partition` the key decides (Java murmur2). */
export interface OutgoingRecord {
  readonly topic: string;
  readonly key: string;
  readonly value: string | null;
  readonly partition?: number;
  readonly headers?: RecordHeaders;
  /** Milliseconds; the time of sending without it. */
  readonly timestamp?: number;
}

/** Why a log does not fit the place a reader was told to start from. */
export type Misfit =
  /** The log begins behind `fromOffset`: retention or deleteRecords removed records that were never read. */
  | { readonly kind: 'truncated'; readonly fromOffset: number; readonly startOffset: number }
  /** The log ended before the place to read from, for longer than the grace time: another or a shortened log. */
  | { readonly kind: 'behind'; readonly fromOffset: number; readonly endOffset: number };

export interface LogReaderHandlers {
  /**
   * Called with at most one unresolved batch per topic partition. While it is unresolved nothing more of that topic
   * partition arrives, which is the back-pressure. A rejection stops the reader and reaches `onFailure`.
   * Batches of a partition that was released while the call was under way are to be ignored by the reader itself.
   */
  onBatch(batch: LogBatch): Promise<void>;
  /** The topic partition is released: assign it again to go on. */
  onMisfit(at: TopicPartition, misfit: Misfit): void;
  /**
   * Every topic partition may have been cut off from its log and joined to another (reconnect, recreated topic): verify
   * again. Called before anything that was read after the cut arrives; what is neither assigned anew nor released within
   * the call goes on from where it was.
   */
  onInterrupted(): void;
  /** The reader gave up for good; it reads nothing any more. */
  onFailure(error: Error): void;
}

/** Reads chosen topic partitions from chosen offsets. One per node. */
export interface LogReader {
  /** Starts (or restarts elsewhere) reading `at` from `fromOffset`; batches of an earlier assignment of it no longer arrive. */
  assign(at: TopicPartition, fromOffset: number): void;
  /** Stops reading `at`; no batch of it is begun afterwards. */
  release(at: TopicPartition): void;
  /** Resolves once every unresolved batch is resolved, or after a few seconds: not to be awaited in a handler. */
  close(): Promise<void>;
}

/** Appends records: idempotent, acknowledged by all in-sync replicas. */
export interface LogWriter {
  /**
   * Appends in order per partition and resolves with each record's place, aligned. Rejects with LOG_UNAVAILABLE when the
   * log cannot be reached within `timeoutMs`; some of the records may be written all the same. Rejects with OVERLOADED when
   * too many records wait already, with BAD_USER_INPUT for records that the log refuses (size, timestamp).
   */
  append(
    records: readonly OutgoingRecord[],
    options: { readonly timeoutMs: number },
  ): Promise<readonly { partition: number; offset: number }[]>;
  close(): Promise<void>;
}

export interface EventLog {
  /** False while the log cannot be reached; for metrics and /readyz bodies only, never to decide an answer. */
  readonly connected: boolean;
  /** Undefined for a topic that is missing. Rejects with LOG_UNAVAILABLE. */
  describeTopic(topic: string): Promise<TopicDescription | undefined>;
  /** Creates a topic; resolves with false, changing nothing, if it exists already. Rejects with LOG_UNAVAILABLE or BAD_CONFIG. */
  createTopic(spec: TopicSpec): Promise<boolean>;
  /** Index = partition. Rejects with LOG_UNAVAILABLE, also where the topic is missing. */
  ranges(topic: string): Promise<readonly LogRange[]>;
  /**
   * A reader of these topics; `name` tells the logs and the broker who reads. Does not wait for the log: what is assigned
   * is read as soon as the log can be reached.
   */
  openReader(options: {
    readonly name: string;
    readonly topics: readonly string[];
    readonly handlers: LogReaderHandlers;
  }): Promise<LogReader>;
  openWriter(options: { readonly name: string }): Promise<LogWriter>;
  close(): Promise<void>;
}
