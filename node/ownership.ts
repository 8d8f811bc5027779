// The control loop of one node: joins the directory, publishes its shards' states, and carries out what the plan says
// (node/ownership-plan.ts), one step after another, woken by a new view, by a shard's change, or by the clock.
//
//   join ─▶ publish ─▶ reconcile with the view ─▶ plan ─▶ open, acquire, release, close ─▶ wait to be woken ─┐
//     ▲        ▲─────────────────────────────────────────────────────────────────────────────────────────────┤
//     └──────── session lost: everything acquired is gone ◀──────────────────────────────────────────────────┘
//
// I7: while the directory cannot be reached nothing moves: shards, and what this node believes to own, stay as they are.
// Hazard: a directory that comes back empty is filled again by whoever joins first; so for REJOIN_GRACE_MS a node
// acquires only what it owned before, or the first one back would take all and hand most of it over again.

import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import {
  type Directory,
  DirectoryUnavailable,
  type DirectoryView,
  type Membership,
  type NodeEntry,
} from '../cluster/directory.ts';
import { InventoryError, toInventoryError } from '../schema/errors.ts';
import { type Topology, topologyMismatch } from '../schema/topology.ts';
import { CurrentPlacement } from './current-placement.ts';
import { NodePresence } from './node-presence.ts';
import { type Move, type MoveReason, OwnershipLedger } from './ownership-ledger.ts';
import { type OwnershipAction, planOwnership } from './ownership-plan.ts';
import { Retreat } from './retreat.ts';
import type { ShardHost } from './shard-host.ts';
import { WakeUp } from './wake-up.ts';

/** How long a node that had to join again leaves partitions that it did not own before to others. */
export const REJOIN_GRACE_MS = 5_000;
/** Least time after a step that wrote into the directory: every write wakes all nodes and gateways. */
const STEP_INTERVAL_MS = 20;
/** Acquisitions and releases under way at a time. */
const REQUESTS_MAX = 16;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;
/** Limit of the last request to the directory, after a hand-over that used its time up. */
const LEAVE_TIMEOUT_MS = 2_000;

export interface OwnershipOptions {
  readonly directory: Directory;
  readonly nodeId: string;
  /** Base URL for gateways, without a slash at the end. */
  readonly url: string;
  /** See JoinOptions. */
  readonly healthUrl: string;
  readonly zone: string | null;
  readonly version: string;
  /** Warm shards of each partition beside the owner's. */
  readonly standbyReplicas: number;
  readonly shards: ShardHost;
  /** What this node agreed to at start, and stored: its copy for a directory that comes back empty. */
  readonly topology: Topology;
  /** The directory came back under another incarnation: the topology that holds from now on. */
  onTopology(topology: Topology): void;
  /** Every view of the directory, before this node acts on it: for whoever else routes by it. */
  onView(view: DirectoryView): void;
  /** Every ownership gained or lost, for metrics; it is logged already. */
  onMove(reason: MoveReason): void;
  /** The node cannot go on: BAD_CONFIG (another process has its id; the topology is another), or a bug. Called once. */
  onFailure(error: InventoryError): void;
  /** The directory could not be reached, or another request failed that is tried again. */
  onRetry(error: Error): void;
  readonly log: Pick<Logger, 'info'>;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Rejects when `signal` aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<unknown>;
  /** [0, 1), for jitter. */
  readonly random: () => number;
}

export class Ownership {
  readonly #options: OwnershipOptions;
  readonly #ledger: OwnershipLedger;
  readonly #presence: NodePresence;
  readonly #placement: CurrentPlacement;
  readonly #retreat: Retreat;
  readonly #stopped = new AbortController();
  readonly #wakeUp = new WakeUp();
  /** Called after each step; see `leave`. */
  readonly #stepListeners = new Set<() => void>();
  #running: Promise<void> | undefined;
  #topology: Topology;
  #view: DirectoryView | undefined;
  #draining = false;
  /** Until when only `partitions` may be acquired. */
  #rejoin: { readonly until: number; readonly partitions: ReadonlySet<number> } = { until: 0, partitions: new Set() };

  constructor(options: OwnershipOptions) {
    this.#options = options;
    this.#topology = options.topology;
    this.#ledger = new OwnershipLedger(options.nodeId, (move) => this.#tell(move));
    const { directory, healthUrl, nodeId, zone, standbyReplicas, now } = options;
    this.#placement = new CurrentPlacement({ nodeId, zone }, 1 + standbyReplicas);
    this.#retreat = new Retreat({
      now,
      close: (partition) => options.shards.close(partition),
      onFailure: (error) => this.#fail(error),
      wake: () => this.#wakeUp.wake(),
      pause: (ms) => this.#pause(ms),
    });
    const entry = (): NodeEntry => this.#entry();
    this.#presence = new NodePresence({ directory, healthUrl, entry, onLost: () => this.#loseSession() });
  }

  /** Joins and keeps going until `leave` or `stop`. Call once. */
  start(): void {
    const { directory, shards } = this.#options;
    const { signal } = this.#stopped;
    const stopListening = shards.onStateChange(() => this.#wakeUp.wake());
    signal.addEventListener('abort', stopListening);
    directory.watch((view) => this.#take(view), signal);
    this.#running = this.#run();
    this.#wakeUp.wake();
  }

  /** Partitions this node owns; → epoch. */
  get owned(): ReadonlyMap<number, number> {
    return this.#ledger.owned;
  }

  /** Partitions that placement gives this node; undefined before it has joined and seen the cluster. */
  get placed(): readonly number[] | undefined {
    return this.#placement.value?.flatMap((nodeIds, partition) =>
      nodeIds.includes(this.#options.nodeId) ? [partition] : [],
    );
  }

  /**
   * Hands over what other nodes become ready for, up to `timeoutMs`, then leaves the directory. Shards stay open and keep
   * serving. Does not wait where nobody could take over: no other node stays, or the directory cannot be reached.
   */
  async leave(timeoutMs: number): Promise<void> {
    this.#draining = true;
    this.#wakeUp.wake();
    await this.#untilHandedOver(timeoutMs);
    await this.stop();
    await this.#leaveDirectory();
  }

  /** Stops the loop without leaving: to the others, this node goes on until its session ends. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wakeUp.wake();
    await this.#running;
    this.#ledger.loseAll('stopped');
  }

  // ── The loop ──────────────────────────────────────────────────────────────────────────────────────────────────────

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    for (let failures = 0; !signal.aborted;) {
      await this.#wakeUp.wait();
      if (signal.aborted) return;
      try {
        await this.#step();
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof DirectoryUnavailable)) return this.#fail(error);
        this.#options.onRetry(error);
        await this.#backOff(failures++);
      }
      for (const listener of this.#stepListeners) listener();
    }
  }

  async #step(): Promise<void> {
    const { shards, nodeId } = this.#options;
    const view = this.#view;
    if (view === undefined) return;
    if (view.topology === null) return this.#refillDirectory();
    this.#adopt(view.topology);
    const membership = await this.#presence.membership();
    const wasPublished = await this.#presence.publish(membership, view);
    this.#ledger.reconcile(view);
    const actions = planOwnership({
      view,
      nodeId,
      shards: shards.states(),
      owned: new Set(this.#ledger.owned.keys()),
      placement: this.#placement.update(view, { partitions: this.#topology.partitions, draining: this.#draining }),
      draining: this.#draining,
      mayAcquire: (partition) => this.#mayAcquire(partition, view),
    });
    this.#retreat.update(new Set(actions.flatMap(({ kind, partition }) => (kind === 'close' ? [partition] : []))));
    await this.#perform(actions, membership);
    if (wasPublished || actions.some(({ kind }) => kind === 'acquire' || kind === 'release')) {
      await this.#pause(STEP_INTERVAL_MS);
    }
  }

  #take(view: DirectoryView): void {
    this.#view = view;
    this.#options.onView(view);
    this.#wakeUp.wake();
  }

  async #backOff(failures: number): Promise<void> {
    const delay = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** failures);
    await this.#pause(delay * (0.5 + this.#options.random() / 2));
    this.#wakeUp.wake();
  }

  /** Ends early when the node stops. */
  async #pause(ms: number): Promise<void> {
    const { signal } = this.#stopped;
    await this.#options.sleep(ms, signal).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }

  /** Wakes the loop once `ms` have passed. */
  #wakeIn(ms: number): void {
    void this.#pause(ms).then(() => this.#wakeUp.wake());
  }

  #fail(error: unknown): void {
    this.#stopped.abort();
    this.#options.onFailure(toInventoryError(error));
  }

  // ── Topology ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Puts this node's topology into an empty directory, under a new incarnation; whoever comes first settles which. */
  async #refillDirectory(): Promise<void> {
    await this.#options.directory.createTopology({ ...this.#topology, incarnation: randomUUID() });
  }

  /** Throws BAD_CONFIG where the directory came back with another topology than this node's. */
  #adopt(topology: Topology): void {
    if (topology.incarnation === this.#topology.incarnation) return;
    const mismatch = topologyMismatch(this.#topology, topology);
    if (mismatch !== undefined) {
      throw new InventoryError('BAD_CONFIG', `the directory came back with another topology: ${mismatch}`);
    }
    this.#beginGrace();
    this.#topology = topology;
    this.#ledger.startOver();
    this.#options.onTopology(topology);
  }

  // ── Membership ────────────────────────────────────────────────────────────────────────────────────────────────────

  #loseSession(): void {
    if (this.#stopped.signal.aborted) return;
    this.#beginGrace();
    this.#ledger.loseAll('session-lost');
    this.#wakeUp.wake();
  }

  #beginGrace(): void {
    const { now } = this.#options;
    // The session and the incarnation may be lost one after the other: what was owned before the first one counts.
    const before = this.#rejoin.until > now() ? this.#rejoin.partitions : [];
    this.#rejoin = { until: now() + REJOIN_GRACE_MS, partitions: new Set([...before, ...this.#ledger.owned.keys()]) };
    this.#wakeIn(REJOIN_GRACE_MS);
  }

  /** During the grace time a partition is left to its last owner, unless that one is back and has not taken it. */
  #mayAcquire(partition: number, { nodes }: DirectoryView): boolean {
    if (this.#options.now() >= this.#rejoin.until || this.#rejoin.partitions.has(partition)) return true;
    const lastOwner = this.#ledger.lastOwnerOf(partition);
    return lastOwner === undefined || nodes.has(lastOwner);
  }

  #entry(): NodeEntry {
    const { nodeId, url, zone, version, shards } = this.#options;
    const held = [...shards.states()].filter(([, state]) => state !== 'closed').sort(([a], [b]) => a - b);
    const told = held.map(([partition, state]) => [partition, this.#retreat.has(partition) ? 'draining' : state]);
    return {
      nodeId,
      url,
      zone,
      version,
      draining: this.#draining,
      shards: Object.fromEntries(told) as NodeEntry['shards'],
    };
  }

  // ── Plan and actions ──────────────────────────────────────────────────────────────────────────────────────────────

  async #perform(actions: readonly OwnershipAction[], membership: Membership): Promise<void> {
    for (let i = 0; i < actions.length; i += REQUESTS_MAX) {
      const batch = actions.slice(i, i + REQUESTS_MAX).map((action) => this.#act(action, membership));
      const failed = (await Promise.allSettled(batch)).find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    }
  }

  async #act(action: OwnershipAction, membership: Membership): Promise<void> {
    const { partition } = action;
    switch (action.kind) {
      case 'open':
        this.#options.shards.open(partition);
        return;
      case 'close':
        // Not at once: see node/retreat.ts.
        return;
      case 'acquire': {
        const epoch = await membership.acquire(partition);
        if (epoch === undefined || !this.#presence.isCurrent(membership)) return;
        this.#ledger.gain(partition, epoch, this.#view?.nodes ?? new Map());
        return;
      }
      case 'release':
        await membership.release(partition);
        this.#ledger.lose(partition, action.reason);
        return;
    }
  }

  #tell({ partition, epoch, kind, reason }: Move): void {
    const { shards, log } = this.#options;
    shards.ownershipChanged(partition, kind === 'gained' ? { epoch } : undefined);
    log.info({ partition, epoch, reason }, kind === 'gained' ? 'owns the partition' : 'owns the partition no more');
    this.#options.onMove(reason);
  }

  // ── Leaving ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #untilHandedOver(timeoutMs: number): Promise<void> {
    const timer = new AbortController();
    const timeout = this.#options.sleep(timeoutMs, AbortSignal.any([timer.signal, this.#stopped.signal]));
    const handedOver = new Promise<void>((resolve) => {
      this.#stepListeners.add(() => {
        if (this.#isHandedOver()) resolve();
      });
      if (this.#isHandedOver()) resolve();
    });
    await Promise.race([handedOver, timeout.catch(() => undefined)]);
    timer.abort();
    this.#stepListeners.clear();
  }

  #isHandedOver(): boolean {
    const { directory, nodeId } = this.#options;
    const others = [...(this.#view?.nodes.values() ?? [])].filter((node) => node.nodeId !== nodeId && !node.draining);
    return this.#ledger.owned.size === 0 || others.length === 0 || !directory.connected;
  }

  async #leaveDirectory(): Promise<void> {
    const timer = new AbortController();
    const timeout = this.#options.sleep(LEAVE_TIMEOUT_MS, timer.signal).catch(() => undefined);
    const left = this.#presence.leave().catch((error: unknown) => {
      if (!(error instanceof DirectoryUnavailable)) throw error;
      this.#options.onRetry(error);
    });
    await Promise.race([left, timeout]);
    timer.abort();
  }
}
