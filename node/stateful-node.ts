// One stateful node: the only file that knows all its parts.
//
//   event log ─▶ ingest ─▶ apply queue ─▶ shards (RocksDB) ─▶ reads ─▶ HTTP ◀── gateways, REST clients
//                             │                ▲
//                             └ dead letters   └ ownership ◀──▶ directory
//
// Start: port, store, topics, topology, ownership. Stop: hand over, finish requests, stop reading, close the store.

import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { badConfig } from '../cluster/config.ts';
import type { Directory, DirectoryView } from '../cluster/directory.ts';
import type { EventLog, LogWriter } from '../cluster/event-log.ts';
import { closeServer, listenOn } from '../cluster/http-listener.ts';
import { repeated } from '../cluster/logger.ts';
import { mergeRoutingTable, type RoutingTable } from '../cluster/routing-table.ts';
import { deadLettersTopic } from '../cluster/shared-settings.ts';
import { VERSION } from '../cluster/version.ts';
import { InventoryError } from '../schema/errors.ts';
import { COUNT_MAX, type TopicRole } from '../schema/events.ts';
import { ROW_VERSION } from '../schema/inventory-row.ts';
import { type ShardApi, type ShardStatus } from '../schema/shard-api.ts';
import { type Topology, topologyMismatch } from '../schema/topology.ts';
import { ApplyQueue } from './apply-queue.ts';
import type { NodeSettings } from './config.ts';
import { CountReads } from './count-reads.ts';
import { DeadLetterPublisher } from './dead-letter-publisher.ts';
import { createNodeHttpServer } from './http-server.ts';
import { Ingest } from './ingest.ts';
import { createNodeMetrics, type NodeMetrics } from './metrics.ts';
import { Ownership } from './ownership.ts';
import { openRocksDbStore } from './rocksdb-store.ts';
import type { Shard } from './shard.ts';
import { ShardReads } from './shard-reads.ts';
import { ShardSet } from './shard-set.ts';
import type { ShardStore } from './shard-store.ts';
import { StoreDamaged, StoreLocked, StoreUnavailable } from './store-failure.ts';
import { checkStoreIdentity, readStoreIdentity, writeStoreIdentity } from './store-identity.ts';
import { checkTopics, waitForTopics } from './topic-check.ts';
import { agreeOnTopology } from './topology-agreement.ts';

export interface StatefulNodeOptions {
  readonly eventLog: EventLog;
  readonly directory: Directory;
  /** Another node's shard-api at its base URL; kept by the caller's pool. */
  readonly shardApiAt: (url: string) => ShardApi;
  readonly settings: Omit<NodeSettings, 'kafka' | 'consul' | 'logLevel'>;
  readonly logger: Logger;
  readonly registry: Registry;
  /** The node cannot go on, e.g. another process has its id: the process should end. Called once at most. */
  onFailure(error: InventoryError): void;
}

/** A node that is not started yet. */
export function createStatefulNode(options: StatefulNodeOptions): StatefulNode {
  return new StatefulNode(options);
}

/** What exists once the node knows its topology. */
interface Running {
  readonly topology: Topology;
  readonly queue: ApplyQueue;
  readonly ingest: Ingest;
  readonly shards: ShardSet;
  readonly reads: ShardReads;
  readonly writer: LogWriter;
  readonly publisher: DeadLetterPublisher;
  readonly ownership: Ownership;
}

export class StatefulNode {
  readonly #options: StatefulNodeOptions;
  readonly #logger: Logger;
  /** Tells this process from one before it at the same address. */
  readonly #processId = randomUUID();
  readonly #metrics: NodeMetrics;
  readonly #server: Server;
  readonly #stopping = new AbortController();
  #store: ShardStore | undefined;
  #running: Running | undefined;
  /** The present one first, then those before, for gateways that have not heard of the newer ones yet. */
  #incarnations: readonly string[] = [];
  #table: RoutingTable | undefined;
  #wasReady = false;

  constructor(options: StatefulNodeOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#metrics = this.#createMetrics();
    this.#server = this.#createServer();
  }

  /** Resolves once the node has joined. Rejects with BAD_CONFIG, a system error of the port, or a failure of the store. */
  async listen(): Promise<{ readonly url: string }> {
    const { settings } = this.#options;
    await listenOn(this.#server, { host: settings.httpHost, port: settings.httpPort });
    this.#store = await openStore(settings.dataDir);
    const mine = await this.#checkTopics();
    const stored = await readStoreIdentity(this.#store);
    checkStoreIdentity(stored, { applicationId: settings.applicationId, topology: mine, dataDir: settings.dataDir });
    const topology = await this.#agree(mine, stored !== undefined);
    await writeStoreIdentity(this.#store, { applicationId: settings.applicationId, topology });
    this.#running = await this.#run(this.#store, topology);
    return { url: settings.advertisedUrl };
  }

  /** Hands over what it owns, finishes what is under way, and closes its store; within DRAIN_TIMEOUT_MS in all. */
  async close(): Promise<void> {
    const deadline = performance.now() + this.#options.settings.drainTimeoutMs;
    this.#stopping.abort(new Error('the node is stopping'));
    const running = this.#running;
    await running?.ownership.leave(deadline - performance.now() - CLOSING_MS);
    await closeServer(this.#server, Math.max(0, deadline - performance.now() - CLOSING_MS));
    await running?.ingest.close();
    await running?.publisher.close();
    await running?.queue.barrier();
    await running?.writer.close();
    await this.#store?.close();
  }

  // ── Starting ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The topology that this node's settings and the topics add up to. */
  async #checkTopics(): Promise<Omit<Topology, 'incarnation'>> {
    const { eventLog, settings } = this.#options;
    const { topics, dedupeWindow, startAt } = settings;
    const { partitions, warnings } = await waitForTopics(
      () => checkTopics(eventLog, topics, deadLettersTopic(settings.applicationId)),
      {
        onUnreachable: (err) => this.#fault('the event log cannot be reached; waiting for it', err),
        signal: this.#stopping.signal,
        sleep: pause,
      },
    );
    for (const warning of warnings) this.#logger.warn(warning);
    const formats = {
      partitioner: 'murmur2',
      keyCodec: 'storeId/itemId',
      countMax: COUNT_MAX,
      rowVersion: ROW_VERSION,
    } as const;
    return { ...formats, partitions, dedupeWindow, topics, startAt };
  }

  #agree(mine: Omit<Topology, 'incarnation'>, hasData: boolean): Promise<Topology> {
    const { directory, settings } = this.#options;
    return agreeOnTopology({
      directory,
      applicationId: settings.applicationId,
      mine,
      hasData,
      waitMs: settings.topologyWaitMs,
      signal: this.#stopping.signal,
      onUnreachable: (err) => this.#fault('the directory cannot be reached; waiting for it', err),
      now: () => performance.now(),
      sleep: pause,
    });
  }

  /** Builds and starts everything that needs the topology. */
  async #run(store: ShardStore, topology: Topology): Promise<Running> {
    const { eventLog, settings } = this.#options;
    const { partitions, topics, startAt, dedupeWindow } = topology;
    const queue = new ApplyQueue({ store, partitions, listener: this.#applyListener() });
    const onFault = (message: string, cause?: unknown): void => this.#fault(message, cause);
    const name = `${settings.applicationId}-${settings.nodeId}`;
    const ingest = new Ingest({
      eventLog,
      topics,
      partitions,
      startAt,
      queue,
      name,
      onFault,
      now: () => performance.now(),
    });
    const shards = new ShardSet({
      ...{ store, queue, ingest, dedupeWindow },
      rowCacheBytes: settings.rowCacheBytes,
      onShardState: (partition, state) => {
        const level = state.name === 'refused' ? 'error' : 'info';
        this.#logger[level]({ partition, ...state }, `partition ${partition} is ${state.name}`);
      },
    });
    const writer = await eventLog.openWriter({ name });
    const publisher = this.#createPublisher(store, writer, shards, onFault);
    const ownership = this.#createOwnership(store, topology, shards);
    const reads = this.#createReads(shards, ingest, partitions);
    this.#incarnations = [topology.incarnation];
    await ingest.start();
    publisher.start();
    ownership.start();
    return { topology, queue, ingest, shards, reads, writer, publisher, ownership };
  }

  #createOwnership(store: ShardStore, topology: Topology, shards: ShardSet): Ownership {
    const { directory, settings, logger } = this.#options;
    const { applicationId, nodeId, advertisedUrl } = settings;
    return new Ownership({
      ...{ directory, nodeId, shards, topology },
      url: advertisedUrl,
      healthUrl: `${advertisedUrl}/healthz?process=${this.#processId}`,
      zone: null,
      version: VERSION,
      standbyReplicas: 0,
      onTopology: (next) => {
        writeStoreIdentity(store, { applicationId, topology: next }).catch((err: unknown) =>
          this.#fault('the store failed', err),
        );
      },
      onView: (view) => this.#follow(view, topology),
      onMove: (reason) => this.#metrics.shardMoves.inc({ reason }),
      onFailure: (error) => this.#options.onFailure(error),
      onRetry: (err) => this.#fault('the directory failed; trying again', err),
      log: logger,
      now: () => performance.now(),
      sleep: pause,
      random: Math.random,
    });
  }

  /** Takes a new incarnation in at once, before anything is acquired under it: gateways may know it already (I7). */
  #follow(view: DirectoryView, mine: Topology): void {
    this.#table = mergeRoutingTable(this.#table, view);
    const { topology } = view;
    if (topology === null || topology.incarnation === this.#incarnations[0]) return;
    if (topologyMismatch(mine, topology) !== undefined) return;
    this.#incarnations = [topology.incarnation, ...this.#incarnations].slice(0, INCARNATIONS_MAX);
  }

  #createPublisher(
    store: ShardStore,
    writer: LogWriter,
    shards: ShardSet,
    onFault: (message: string, cause: unknown) => void,
  ): DeadLetterPublisher {
    return new DeadLetterPublisher({
      ...{ store, writer, onFault },
      topic: deadLettersTopic(this.#options.settings.applicationId),
      owned: () => shards.owned(),
      published: (letters) => {
        for (const { reason } of letters) this.#metrics.deadLetters.inc({ reason });
      },
    });
  }

  #createReads(shards: ShardSet, ingest: Ingest, partitions: number): ShardReads {
    return new ShardReads({
      incarnations: () => this.#incarnations,
      partitions,
      shard: (partition) => shards.get(partition),
      status: (shard) => statusOf(shard, ingest),
      onInternalError: (err, partition) => this.#fault(`a read of partition ${partition} failed`, err),
    });
  }

  #applyListener(): ConstructorParameters<typeof ApplyQueue>[0]['listener'] {
    const { eventsApplied, duplicates, deadLettersDropped } = this.#metrics;
    return {
      applied: (_shard, counts) => {
        eventsApplied.inc(counts.applied);
        duplicates.inc({ kind: 'same' }, counts.duplicates - counts.conflicts);
        duplicates.inc({ kind: 'conflict' }, counts.conflicts);
      },
      dropped: (shard, letters) => {
        deadLettersDropped.inc(letters.length);
        const places = letters
          .slice(0, DROPPED_SHOWN_MAX)
          .map(({ letter }) => `${letter.topic}/${letter.partition}/${letter.offset}`);
        this.#logger.error(
          { partition: shard.partition, dropped: letters.length, places },
          'the dead-letter outbox is full',
        );
      },
    };
  }

  // ── Seen from outside ─────────────────────────────────────────────────────────────────────────────────────────────

  #createMetrics(): NodeMetrics {
    const { registry, directory, eventLog } = this.#options;
    return createNodeMetrics(registry, {
      shards: () => this.#shardGauges(),
      ownedPartitions: () => this.#running?.shards.ownedCount ?? 0,
      directoryConnected: () => directory.connected,
      logConnected: () => eventLog.connected,
    });
  }

  *#shardGauges() {
    const shards = this.#running?.shards;
    if (shards === undefined) return;
    for (const shard of shards.all()) {
      yield {
        partition: shard.partition,
        state: shard.state.name,
        lag: shards.lagOf(shard),
        outboxSize: shard.outboxSize,
      };
    }
  }

  #createServer(): Server {
    const { settings, registry } = this.#options;
    const reads: ShardApi = { read: (request, options) => this.#reads().read(request, options) };
    const counts = new CountReads({
      nodeId: settings.nodeId,
      local: reads,
      shardApiAt: this.#options.shardApiAt,
      table: () => this.#table,
    });
    return createNodeHttpServer({
      reads,
      readCount: (key) => counts.read(key),
      readiness: () => this.#readiness(),
      clusterToken: settings.clusterToken,
      processId: this.#processId,
      registry,
      metrics: this.#metrics,
      onInternalError: (err) => this.#fault('a request failed', err),
    });
  }

  #reads(): ShardApi {
    if (this.#running !== undefined) return this.#running.reads;
    throw new InventoryError('NOT_SERVING', 'this node has not joined the cluster yet');
  }

  /** Ready from the moment its first placed shards serve until it drains; losing Kafka or Consul later shows in the body only. */
  #readiness(): { ready: boolean; details: Record<string, unknown> } {
    const { directory, eventLog } = this.#options;
    const shards = this.#running?.shards;
    const states = [...(shards?.states() ?? [])];
    const placed = this.#running?.ownership.placed;
    this.#wasReady ||= placed?.every((partition) => shards?.get(partition)?.state.name === 'serving') === true;
    const isDraining = this.#stopping.signal.aborted;
    const refused = [...(shards?.all() ?? [])].flatMap(({ partition, state }) =>
      state.name === 'refused' ? [{ partition, reason: state.reason }] : [],
    );
    return {
      ready: this.#wasReady && !isDraining,
      details: {
        draining: isDraining,
        directoryConnected: directory.connected,
        logConnected: eventLog.connected,
        shards: Object.fromEntries(states),
        owned: shards?.ownedCount ?? 0,
        refused,
      },
    };
  }

  #fault(message: string, err?: unknown): void {
    repeated(this.#logger, message, { err }, message);
  }
}

/** Time kept back from the drain for closing the store and the connections. */
const CLOSING_MS = 3_000;
/** Incarnations of this node's life that a gateway may still mean. */
const INCARNATIONS_MAX = 8;
/** Coordinates of dropped dead letters in one log line. */
const DROPPED_SHOWN_MAX = 20;

/** The store under DATA_DIR. What keeps it from opening is for the operator to mend: BAD_CONFIG. */
async function openStore(dataDir: string): Promise<ShardStore> {
  try {
    return await openRocksDbStore({ path: join(dataDir, 'store') });
  } catch (error) {
    const known = [StoreDamaged, StoreLocked, StoreUnavailable].some((failure) => error instanceof failure);
    throw known ? badConfig([`DATA_DIR: ${(error as Error).message}`]) : error;
  }
}

function statusOf(shard: Shard, ingest: Ingest): ShardStatus {
  const progress = (role: TopicRole) => ({
    nextOffset: shard.position[role],
    endOffset: ingest.endOffset(shard.partition, role),
  });
  return { state: shard.state.name, shipments: progress('shipments'), sales: progress('sales') };
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal });
}
