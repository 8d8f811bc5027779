// Feeds the shards of a node from the two logs: where to start, whether it is still the same log, when the end is reached.
//
//   probe end offsets ─▶ choose where to start ─▶ reader.assign(mark or position) ─▶ verify the mark ─▶ apply queue
//        └──────────── every FRESHNESS_PROBE_MS: lag, reached the end?, behind?, partition count changed? ◀──────┘
//
// I8: a log that does not fit the position makes the shard refuse, with a message that says what to do. The reader starts
// at the last record that was consumed (the mark), not behind it, so that a topic that was deleted, recreated and has
// grown past our position is noticed: the record there has another digest.

import type { EventLog, LogBatch, LogRange, LogReader, Misfit, TopicPartition } from '../cluster/event-log.ts';
import { type TopicRole, TOPIC_ROLES } from '../schema/events.ts';
import { covers, type Position, type RecordMark } from '../schema/position.ts';
import type { StartAt } from '../schema/topology.ts';
import type { ApplyQueue } from './apply-queue.ts';
import { behindReason, changedReason, startOf, truncatedReason } from './log-fit.ts';
import { markOf } from './record-batch.ts';
import type { Shard } from './shard.ts';

/** How often end offsets are asked for. */
export const FRESHNESS_PROBE_MS = 500;
/** How long an end offset below the position may last before the shard refuses: leader changes show it for moments. */
const BEHIND_GRACE_MS = 5_000;

export interface IngestOptions {
  readonly eventLog: EventLog;
  readonly topics: { readonly [Role in TopicRole]: string };
  readonly partitions: number;
  readonly startAt: StartAt;
  readonly queue: ApplyQueue;
  readonly name: string;
  /** Something is wrong that no shard can be blamed for; called again at every probe while it lasts. */
  onFault(message: string, cause?: unknown): void;
  readonly now: () => number;
}

/** One topic of one shard being fed. */
interface Lane {
  assigned: boolean;
  /** The record that must come first, as the same log would have it; null once it did, or where there is none. */
  expected: RecordMark | null;
  behindSince: number | undefined;
  endOffset: number | null;
}

interface Feed {
  readonly shard: Shard;
  readonly lanes: { readonly [Role in TopicRole]: Lane };
  /** End offsets of the first probe sent after the shard came: at them it is complete. */
  target: Position | undefined;
  /** Number of that probe. */
  readonly firstProbe: number;
  /** The position when the newest probe was sent: by the time its answer is here, more may be applied than it knows of. */
  positionAtProbe: Position;
}

export class Ingest {
  readonly #options: IngestOptions;
  readonly #feeds = new Map<number, Feed>();
  readonly #closing = new AbortController();
  #reader: LogReader | undefined;
  #timer: NodeJS.Timeout | undefined;
  #probing: Promise<void> | undefined;
  /** Probes sent so far. */
  #probes = 0;

  constructor(options: IngestOptions) {
    this.#options = options;
  }

  /** Opens the reader and begins to probe. Rejects with LOG_UNAVAILABLE. */
  async start(): Promise<void> {
    const { eventLog, name, topics } = this.#options;
    this.#reader = await eventLog.openReader({
      name,
      topics: [topics.shipments, topics.sales],
      handlers: {
        onBatch: (batch) => this.#onBatch(batch),
        onMisfit: (at, misfit) => this.#onMisfit(at, misfit),
        onInterrupted: () => this.#verifyAgain(),
        onFailure: (error) => this.#options.onFault('reading the log stopped for good; restart this node', error),
      },
    });
    this.#timer = setInterval(() => this.#probeSoon(), FRESHNESS_PROBE_MS);
  }

  /** Starts feeding an opened shard. */
  add(shard: Shard): void {
    const lane = (): Lane => ({ assigned: false, expected: null, behindSince: undefined, endOffset: null });
    const feed = {
      shard,
      lanes: { shipments: lane(), sales: lane() },
      target: undefined,
      firstProbe: this.#probes + 1,
      positionAtProbe: shard.position,
    };
    this.#feeds.set(shard.partition, feed);
    this.#probeSoon();
  }

  /** Stops feeding it; a batch already handed to the apply queue may still be applied. */
  remove(partition: number): void {
    if (!this.#feeds.delete(partition)) return;
    for (const role of TOPIC_ROLES) this.#reader?.release({ topic: this.#options.topics[role], partition });
  }

  /** End offset of the newest probe, null before the first. */
  endOffset(partition: number, role: TopicRole): number | null {
    return this.#feeds.get(partition)?.lanes[role].endOffset ?? null;
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearInterval(this.#timer);
    for (const partition of this.#feeds.keys()) this.remove(partition);
    await this.#reader?.close();
    await this.#probing;
  }

  // ── Probing ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #probeSoon(): void {
    if (this.#reader === undefined || this.#probing !== undefined || this.#closing.signal.aborted) return;
    this.#probing = this.#probe()
      .catch((error: unknown) => this.#options.onFault('the end offsets of the log cannot be read', error))
      .finally(() => {
        this.#probing = undefined;
      });
  }

  async #probe(): Promise<void> {
    const { eventLog, topics } = this.#options;
    const probe = ++this.#probes;
    for (const feed of this.#feeds.values()) feed.positionAtProbe = feed.shard.position;
    const [shipments, sales] = await Promise.all([eventLog.ranges(topics.shipments), eventLog.ranges(topics.sales)]);
    if (!this.#countsMatch(shipments.length, sales.length)) return;
    for (const feed of this.#feeds.values()) {
      const ranges = { shipments: shipments[feed.shard.partition], sales: sales[feed.shard.partition] };
      if (ranges.shipments === undefined || ranges.sales === undefined) continue;
      if (probe >= feed.firstProbe)
        feed.target ??= { shipments: ranges.shipments.endOffset, sales: ranges.sales.endOffset };
      for (const role of TOPIC_ROLES) if (this.#isFed(feed)) this.#checkLane(feed, role, ranges[role] as LogRange);
      this.#checkReachedEnd(feed);
    }
  }

  /** A changed partition count means that keys hash elsewhere: nothing more is read, what is served stays. */
  #countsMatch(shipments: number, sales: number): boolean {
    const { partitions, topics } = this.#options;
    if (shipments === partitions && sales === partitions) return true;
    this.#options.onFault(
      `TOPOLOGY_MISMATCH: expected ${partitions} partitions, ${topics.shipments} has ${shipments} and ${topics.sales} ${sales}; ` +
        'ingestion has stopped and reads go on. Keys now hash elsewhere: build a new view under another APPLICATION_ID',
    );
    for (const feed of this.#feeds.values()) {
      for (const role of TOPIC_ROLES) this.#pause(feed, role);
    }
    return false;
  }

  #checkLane(feed: Feed, role: TopicRole, range: LogRange): void {
    const lane = feed.lanes[role];
    lane.endOffset = range.endOffset;
    const position = feed.positionAtProbe[role];
    if (range.endOffset < position) {
      lane.behindSince ??= this.#options.now();
      this.#pause(feed, role);
      if (this.#options.now() - lane.behindSince >= BEHIND_GRACE_MS)
        this.#refuse(feed, behindReason(this.#at(feed, role), position, range));
      return;
    }
    lane.behindSince = undefined;
    if (!lane.assigned) this.#assign(feed, role, range);
  }

  #assign(feed: Feed, role: TopicRole, range: LogRange): void {
    const { shard } = feed;
    const start = startOf(shard.head, role, range, this.#options.startAt);
    if (start.kind === 'truncated') {
      this.#refuse(feed, truncatedReason(this.#at(feed, role), shard.position[role], range));
      return;
    }
    const lane = feed.lanes[role];
    if (start.kind === 'log-start') shard.startAt({ ...shard.position, [role]: start.fromOffset });
    lane.expected = start.kind === 'mark' ? shard.head.checkpoint.marks[role] : null;
    lane.assigned = true;
    this.#reader?.assign(this.#at(feed, role), start.fromOffset);
  }

  #pause(feed: Feed, role: TopicRole): void {
    if (!feed.lanes[role].assigned) return;
    feed.lanes[role].assigned = false;
    this.#reader?.release(this.#at(feed, role));
  }

  #checkReachedEnd(feed: Feed): void {
    const { shard, lanes, target } = feed;
    const isVerified = TOPIC_ROLES.every((role) => lanes[role].assigned && lanes[role].expected === null);
    if (isVerified && target !== undefined && covers(shard.position, target)) shard.change({ kind: 'reached-end' });
  }

  // ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #onBatch(batch: LogBatch): Promise<void> {
    const feed = this.#feeds.get(batch.partition);
    const role = this.#roleOf(batch.topic);
    if (feed === undefined || !feed.lanes[role].assigned) return;
    if (!this.#verify(feed, role, batch)) return;
    try {
      await this.#options.queue.submit(feed.shard, role, batch);
    } catch (error) {
      // The apply queue has refused the shard.
      this.#options.onFault(`partition ${batch.partition}: the local store failed`, error);
      this.#drop(feed);
      return;
    }
    this.#checkReachedEnd(feed);
  }

  /** Whether the batch may be applied: the record at the mark, if it still is to come, must be the one we know. */
  #verify(feed: Feed, role: TopicRole, batch: LogBatch): boolean {
    const lane = feed.lanes[role];
    const { expected } = lane;
    if (expected === null) return true;
    const first = batch.records[0];
    if (first === undefined && batch.nextOffset <= expected.offset) return true;
    if (first !== undefined && first.offset === expected.offset && markOf(first).digest === expected.digest) {
      lane.expected = null;
      return true;
    }
    this.#refuse(feed, changedReason(this.#at(feed, role), expected));
    return false;
  }

  #onMisfit(at: TopicPartition, misfit: Misfit): void {
    const feed = this.#feeds.get(at.partition);
    if (feed === undefined) return;
    // The reader has let go of it; the next probe decides with fresh offsets whether to start again or to refuse.
    feed.lanes[this.#roleOf(at.topic)].assigned = false;
    this.#options.onFault(`${at.topic} partition ${at.partition}: the log is ${misfit.kind}`, misfit);
  }

  /** The connection to the log was cut: what comes next may be another log under the same name. */
  #verifyAgain(): void {
    for (const feed of this.#feeds.values()) {
      for (const role of TOPIC_ROLES) this.#pause(feed, role);
    }
    this.#probeSoon();
  }

  #refuse(feed: Feed, reason: string): void {
    this.#drop(feed);
    feed.shard.change({ kind: 'refuse', reason });
  }

  /** Stops feeding, unless another shard of the partition is fed by now. */
  #drop(feed: Feed): void {
    if (this.#isFed(feed)) this.remove(feed.shard.partition);
  }

  #isFed(feed: Feed): boolean {
    return this.#feeds.get(feed.shard.partition) === feed;
  }

  #at(feed: Feed, role: TopicRole): TopicPartition {
    return { topic: this.#options.topics[role], partition: feed.shard.partition };
  }

  #roleOf(topic: string): TopicRole {
    return topic === this.#options.topics.shipments ? 'shipments' : 'sales';
  }
}
