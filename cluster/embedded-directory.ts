// The directory in memory, for a cluster within one process: `npm start`, unit tests, simulation. One EmbeddedRegistry
// stands for the Consul servers; each node or gateway has an EmbeddedDirectory, its connection, that can be cut.
//
// It has everything that can go wrong with the real one, or the simulation could not find the bugs that matter: sessions
// that end without their node knowing, epochs that rise with each acquisition, requests that are carried out although the
// answer is lost, views that arrive late, and a registry that comes back empty under a new incarnation.
// What it cannot have: a hung process. Health URLs are not called; a node is dead when its connection is closed.

import { setTimeout as sleepFor } from 'node:timers/promises';
import { InventoryError } from '../schema/errors.ts';
import type { Topology } from '../schema/topology.ts';
import {
  type Directory,
  DirectoryUnavailable,
  type DirectoryView,
  type JoinOptions,
  type Membership,
  type NodeEntry,
} from './directory.ts';

/** A session that nobody renews ends after this. */
const SESSION_TTL_MS = 10_000;

export interface EmbeddedRegistryOptions {
  readonly sessionTtlMs?: number;
  /** Waits; the simulation's clock in tests. Rejects when `signal` aborts. */
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<unknown>;
  /** Awaited on the way to the registry, on the way back, and before each view: where a simulation reorders and delays. */
  readonly hop?: () => Promise<void>;
}

interface Session {
  readonly nodeId: string;
  /** Aborts when the registry has ended the session; its node may not know yet. */
  readonly ended: AbortController;
}

/** What the directories of one process share: keys, locks and sessions. */
export class EmbeddedRegistry {
  readonly sessionTtlMs: number;
  readonly sleep: (ms: number, signal?: AbortSignal) => Promise<unknown>;
  readonly hop: () => Promise<void>;
  reachable = true;
  topology: Topology | null = null;
  readonly #nodes = new Map<string, { entry: NodeEntry; session: Session }>();
  /** The session is undefined where nobody owns the partition; the epoch stays, to rise with the next acquisition. */
  readonly #partitions = new Map<number, { session: Session | undefined; epoch: number }>();
  readonly #listeners = new Set<() => void>();

  constructor(options: EmbeddedRegistryOptions = {}) {
    this.sessionTtlMs = options.sessionTtlMs ?? SESSION_TTL_MS;
    this.sleep = options.sleep ?? ((ms, signal) => sleepFor(ms, undefined, signal === undefined ? {} : { signal }));
    this.hop = options.hop ?? (() => Promise.resolve());
  }

  /** A connection for one more node or gateway. */
  connect(): EmbeddedDirectory {
    return new EmbeddedDirectory(this);
  }

  /** Stops or starts the registry: nobody reaches it, nothing in it changes, no session ends. */
  setReachable(reachable: boolean): void {
    this.reachable = reachable;
    this.changed();
  }

  /** Loses everything, as a Consul server does that restarts without its disk. */
  wipe(): void {
    const sessions = [...this.#nodes.values()].map(({ session }) => session);
    this.topology = null;
    this.#nodes.clear();
    this.#partitions.clear();
    for (const session of sessions) session.ended.abort();
    this.changed();
  }

  view(): DirectoryView {
    const owners = [...this.#partitions].flatMap(([partition, { session, epoch }]) =>
      session === undefined ? [] : [[partition, { nodeId: session.nodeId, epoch }] as const],
    );
    const nodes = [...this.#nodes].map(([nodeId, { entry }]) => [nodeId, entry] as const);
    return { topology: this.topology, nodes: new Map(nodes), owners: new Map(owners) };
  }

  /** Calls `listener` after each change, until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  sessionOf(nodeId: string): Session | undefined {
    return this.#nodes.get(nodeId)?.session;
  }

  openSession(entry: NodeEntry): Session {
    const session: Session = { nodeId: entry.nodeId, ended: new AbortController() };
    this.#nodes.set(entry.nodeId, { entry, session });
    this.changed();
    return session;
  }

  endSession(session: Session): void {
    if (session.ended.signal.aborted) return;
    session.ended.abort();
    this.#nodes.delete(session.nodeId);
    for (const partition of this.#partitions.values()) {
      if (partition.session === session) partition.session = undefined;
    }
    this.changed();
  }

  replaceEntry(session: Session, entry: NodeEntry): void {
    this.#nodes.set(session.nodeId, { entry, session });
    this.changed();
  }

  acquire(session: Session, partition: number): number | undefined {
    const present = this.#partitions.get(partition) ?? { session: undefined, epoch: 0 };
    if (present.session === session) return present.epoch;
    if (present.session !== undefined) return undefined;
    this.#partitions.set(partition, { session, epoch: present.epoch + 1 });
    this.changed();
    return present.epoch + 1;
  }

  release(session: Session, partition: number): void {
    const present = this.#partitions.get(partition);
    if (present?.session !== session) return;
    present.session = undefined;
    this.changed();
  }
}

/** One process's connection to the registry. Closing it without leaving is a crash: its sessions end at once. */
export class EmbeddedDirectory implements Directory {
  readonly #registry: EmbeddedRegistry;
  readonly #closed = new AbortController();
  /** Sessions of this process that have not ended, those included whose `join` lost its answer. */
  readonly #sessions = new Set<Session>();
  readonly #reconnected = new Set<() => void>();
  #cut: AbortController | undefined;

  constructor(registry: EmbeddedRegistry) {
    this.#registry = registry;
  }

  get connected(): boolean {
    return this.#registry.reachable && this.#cut === undefined && !this.#closed.signal.aborted;
  }

  /** Cuts or restores this connection alone. A session that stays cut off for its time-to-live ends. */
  setReachable(reachable: boolean): void {
    if (reachable === (this.#cut === undefined)) return;
    this.#cut?.abort();
    this.#cut = reachable ? undefined : new AbortController();
    if (this.#cut !== undefined) void this.#expireSessions(this.#cut.signal);
    for (const listener of this.#reconnected) listener();
  }

  /** Carries `operate` out on the registry; the answer can be lost on the way back. */
  async request<T>(operate: (registry: EmbeddedRegistry) => T): Promise<T> {
    this.#checkReachable();
    await this.#registry.hop();
    this.#checkReachable();
    const answer = operate(this.#registry);
    await this.#registry.hop();
    this.#checkReachable();
    return answer;
  }

  async readTopology(): Promise<Topology | undefined> {
    return (await this.request(({ topology }) => topology)) ?? undefined;
  }

  createTopology(topology: Topology): Promise<Topology> {
    return this.request((registry) => {
      if (registry.topology !== null) return registry.topology;
      registry.topology = topology;
      registry.changed();
      return topology;
    });
  }

  watch(onView: (view: DirectoryView) => void, signal: AbortSignal): void {
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    if (ended.aborted) return;
    let pending = false;
    const deliver = async (): Promise<void> => {
      await this.#registry.hop();
      pending = false;
      if (!ended.aborted && this.connected) onView(this.#registry.view());
    };
    const schedule = (): void => {
      if (pending || !this.connected) return;
      pending = true;
      void deliver();
    };
    const stopListening = this.#registry.onChange(schedule);
    this.#reconnected.add(schedule);
    ended.addEventListener('abort', () => {
      stopListening();
      this.#reconnected.delete(schedule);
    });
    schedule();
  }

  async join({ entry }: JoinOptions): Promise<Membership> {
    for (const earlier of this.#sessions) {
      if (earlier.nodeId === entry.nodeId) await this.request((registry) => registry.endSession(earlier));
    }
    const { sessionTtlMs } = this.#registry;
    const holder = await this.request((registry) => registry.sessionOf(entry.nodeId));
    if (holder !== undefined) await this.#awaitEnd(holder, sessionTtlMs);
    const session = await this.request((registry) => this.#openSession(registry, entry));
    if (session === undefined) {
      throw new InventoryError(
        'BAD_CONFIG',
        `another live node is called ${entry.nodeId}: its session was still alive after ${sessionTtlMs} ms`,
      );
    }
    return new EmbeddedMembership(this, session);
  }

  close(): Promise<void> {
    for (const session of this.#sessions) this.#registry.endSession(session);
    this.#cut?.abort();
    this.#closed.abort();
    return Promise.resolve();
  }

  /** Calls `tell` as soon as this process can know of what has happened to its session. */
  whenConnected(tell: () => void): void {
    const retry = (): void => {
      if (!this.connected) return;
      stopListening();
      this.#reconnected.delete(retry);
      tell();
    };
    const stopListening = this.#registry.onChange(retry);
    this.#reconnected.add(retry);
    retry();
  }

  /** Undefined if the node id is taken. */
  #openSession(registry: EmbeddedRegistry, entry: NodeEntry): Session | undefined {
    if (registry.sessionOf(entry.nodeId) !== undefined) return undefined;
    const session = registry.openSession(entry);
    this.#sessions.add(session);
    session.ended.signal.addEventListener('abort', () => this.#sessions.delete(session));
    return session;
  }

  #checkReachable(): void {
    if (!this.connected) throw new DirectoryUnavailable('the embedded directory is cut off');
  }

  /** Waits for a predecessor's session to end, `limitMs` at most. */
  async #awaitEnd(session: Session, limitMs: number): Promise<void> {
    try {
      await this.#registry.sleep(limitMs, AbortSignal.any([session.ended.signal, this.#closed.signal]));
    } catch {
      // The session has ended, or this process is closing: what follows finds out which.
    }
  }

  async #expireSessions(healed: AbortSignal): Promise<void> {
    try {
      await this.#registry.sleep(this.#registry.sessionTtlMs, healed);
    } catch {
      return;
    }
    for (const session of this.#sessions) this.#registry.endSession(session);
  }
}

class EmbeddedMembership implements Membership {
  readonly session: Session;
  readonly #directory: EmbeddedDirectory;
  readonly #lost = new AbortController();

  constructor(directory: EmbeddedDirectory, session: Session) {
    this.#directory = directory;
    this.session = session;
    session.ended.signal.addEventListener('abort', () => directory.whenConnected(() => this.#lost.abort()));
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  publish(entry: NodeEntry): Promise<void> {
    return this.#withSession((registry) => registry.replaceEntry(this.session, entry));
  }

  acquire(partition: number): Promise<number | undefined> {
    return this.#withSession((registry) => registry.acquire(this.session, partition));
  }

  release(partition: number): Promise<void> {
    return this.#withSession((registry) => registry.release(this.session, partition));
  }

  leave(): Promise<void> {
    return this.#directory.request((registry) => registry.endSession(this.session));
  }

  #withSession<T>(operate: (registry: EmbeddedRegistry) => T): Promise<T> {
    return this.#directory.request((registry) => {
      if (this.session.ended.signal.aborted) throw new DirectoryUnavailable('the session has ended');
      return operate(registry);
    });
  }
}
