// A cluster of nodes that consist of nothing but their ownership loop, on the embedded directory and a clock of its own:
// time passes only when nothing is left to do. Between any two instants the rules of ownership are checked.
import { setImmediate as yieldToLoop } from 'node:timers/promises';
import type { DirectoryView } from '../../cluster/directory.ts';
import { type EmbeddedDirectory, EmbeddedRegistry } from '../../cluster/embedded-directory.ts';
import { Ownership } from '../../node/ownership.ts';
import type { ShardHost } from '../../node/shard-host.ts';
import { ROW_VERSION } from '../../schema/inventory-row.ts';
import { placeShards } from '../../schema/placement.ts';
import type { ShardStateName, Topology } from '../../schema/topology.ts';

/** A partition that a live, connected, ready node could own may be without owner for so long: a few steps of the loop. */
const UNOWNED_MAX_MS = 500;
/** The rules are checked at least this often. */
const CHECK_INTERVAL_MS = 100;

export const TOPOLOGY: Topology = {
  incarnation: 'first',
  partitions: 8,
  partitioner: 'murmur2',
  keyCodec: 'storeId/itemId',
  countMax: 1_000_000_000,
  dedupeWindow: 100_000,
  rowVersion: ROW_VERSION,
  topics: { shipments: 'shipments', sales: 'sales' },
  startAt: 'zero',
};

interface Timer {
  readonly at: number;
  readonly fire: () => void;
}

/** Time for the simulation alone. */
class VirtualClock {
  now = 0;
  readonly #timers = new Set<Timer>();

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error);
      const abort = (): void => {
        this.#timers.delete(timer);
        reject(signal?.reason as Error);
      };
      const fire = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      const timer = { at: this.now + Math.max(0, ms), fire };
      this.#timers.add(timer);
      signal?.addEventListener('abort', abort);
    });
  }

  /** Fires the next timer if it is due by `until`; else time is `until`. */
  advance(until: number): void {
    const [next] = [...this.#timers].sort((a, b) => a.at - b.at);
    if (next === undefined || next.at > until) {
      this.now = until;
      return;
    }
    this.now = next.at;
    this.#timers.delete(next);
    next.fire();
  }
}

/** Shards that become ready after `warmMs`. */
class SimulatedShards implements ShardHost {
  readonly owned = new Map<number, number>();
  readonly #states = new Map<number, ShardStateName>();
  readonly #listeners = new Set<() => void>();
  readonly #clock: VirtualClock;
  readonly #warmMs: number;
  readonly #onClose: (partition: number) => void;

  constructor(clock: VirtualClock, warmMs: number, onClose: (partition: number) => void) {
    this.#onClose = onClose;
    this.#clock = clock;
    this.#warmMs = warmMs;
  }

  states(): ReadonlyMap<number, ShardStateName> {
    return this.#states;
  }

  open(partition: number): void {
    this.#set(partition, 'catching-up');
    void this.#warm(partition);
  }

  async close(partition: number): Promise<void> {
    if (this.owned.has(partition)) throw new Error(`closes partition ${partition}, which it owns`);
    this.#onClose(partition);
    this.#set(partition, 'draining');
    await this.#clock.sleep(5);
    this.#set(partition, undefined);
  }

  /** The shard falls behind and catches up again. */
  chill(partition: number): void {
    if (this.#states.get(partition) !== 'serving') return;
    this.#set(partition, 'catching-up');
    void this.#warm(partition);
  }

  onStateChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  ownershipChanged(partition: number, ownership: { readonly epoch: number } | undefined): void {
    if (ownership === undefined) this.owned.delete(partition);
    else this.owned.set(partition, ownership.epoch);
  }

  async #warm(partition: number): Promise<void> {
    await this.#clock.sleep(this.#warmMs);
    if (this.#states.get(partition) === 'catching-up') this.#set(partition, 'serving');
  }

  #set(partition: number, state: ShardStateName | undefined): void {
    if (state === undefined) this.#states.delete(partition);
    else this.#states.set(partition, state);
    for (const listener of this.#listeners) listener();
  }
}

export interface SimulatedNode {
  readonly nodeId: string;
  readonly directory: EmbeddedDirectory;
  readonly shards: SimulatedShards;
  readonly ownership: Ownership;
  /** Reasons of what was gained and lost, in order. */
  readonly moves: string[];
}

export class Simulation {
  readonly clock = new VirtualClock();
  readonly registry: EmbeddedRegistry;
  readonly nodes = new Map<string, SimulatedNode>();
  readonly failures: Error[] = [];
  readonly #standbyReplicas: number;
  readonly #unownedMaxMs: number;
  readonly #hopMs: number;
  #hops = 0;
  readonly #unownedSince = new Map<number, number>();

  /** With `hopMs`, requests, answers and views take between 0 and that much time, so that they overtake each other. */
  constructor({ standbyReplicas = 0, unownedMaxMs = UNOWNED_MAX_MS, hopMs = 0 } = {}) {
    this.#hopMs = hopMs;
    this.#unownedMaxMs = unownedMaxMs;
    this.#standbyReplicas = standbyReplicas;
    this.registry = new EmbeddedRegistry({
      sleep: (ms, signal) => this.clock.sleep(ms, signal),
      hop: () => this.#hop(),
    });
    this.registry.topology = TOPOLOGY;
  }

  /** Starts a node whose shards take `warmMs` to become ready. */
  join(nodeId: string, { warmMs = 100 }: { warmMs?: number } = {}): SimulatedNode {
    const directory = this.registry.connect();
    const shards = new SimulatedShards(this.clock, warmMs, (partition) => this.#checkClose(nodeId, partition));
    const moves: string[] = [];
    const ownership = new Ownership({
      directory,
      nodeId,
      shards,
      topology: TOPOLOGY,
      url: `http://${nodeId}`,
      healthUrl: `http://${nodeId}/healthz`,
      zone: null,
      version: '1',
      standbyReplicas: this.#standbyReplicas,
      onTopology: () => undefined,
      onView: () => undefined,
      onMove: (reason) => moves.push(reason),
      onFailure: (error) => this.failures.push(error),
      onRetry: () => undefined,
      log: { info: (move: unknown) => this.#checkMove(nodeId, move as { partition: number; reason: string }) },
      now: () => this.clock.now,
      sleep: (ms, signal) => this.clock.sleep(ms, signal),
      random: () => 0.5,
    });
    const node = { nodeId, directory, shards, ownership, moves };
    this.nodes.set(nodeId, node);
    ownership.start();
    return node;
  }

  /** The node's process dies. */
  async crash(nodeId: string): Promise<void> {
    const node = this.nodes.get(nodeId);
    this.nodes.delete(nodeId);
    await node?.directory.close();
    void node?.ownership.stop();
  }

  /** The node hands over and leaves; resolves when it is gone. */
  async leave(nodeId: string, timeoutMs = 10_000): Promise<void> {
    const node = this.nodes.get(nodeId);
    await node?.ownership.leave(timeoutMs);
    if (this.nodes.get(nodeId) === node) this.nodes.delete(nodeId);
    await node?.directory.close();
  }

  /** Lets time pass. */
  async run(ms: number): Promise<void> {
    const until = this.clock.now + ms;
    for (;;) {
      await yieldToLoop();
      this.#check();
      if (this.clock.now >= until) return;
      this.clock.advance(Math.min(until, this.clock.now + CHECK_INTERVAL_MS));
    }
  }

  view(): DirectoryView {
    return this.registry.view();
  }

  /** Owner by partition. */
  owners(): string[] {
    const { owners } = this.view();
    return Array.from({ length: TOPOLOGY.partitions }, (_, partition) => owners.get(partition)?.nodeId ?? '');
  }

  /** Where placement wants the shards of the nodes that are here. */
  placement(): readonly (readonly string[])[] {
    const nodes = [...this.nodes.keys()].map((nodeId) => ({ nodeId, zone: null }));
    return placeShards({ nodes, partitions: TOPOLOGY.partitions, replicas: 1 + this.#standbyReplicas });
  }

  /** The nodes that hold each partition, sorted. */
  holders(): string[][] {
    return Array.from({ length: TOPOLOGY.partitions }, (_, partition) =>
      [...this.nodes.values()]
        .filter(({ shards }) => shards.states().has(partition))
        .map(({ nodeId }) => nodeId)
        .sort(),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { directory, ownership } of this.nodes.values()) {
      await directory.close();
      void ownership.stop();
    }
    this.nodes.clear();
    await this.run(1_000);
  }

  #hop(): Promise<void> {
    this.#hops += 1;
    return this.#hopMs === 0 ? Promise.resolve() : this.clock.sleep((this.#hops * 7) % (this.#hopMs + 1));
  }

  #check(): void {
    if (this.failures.length > 0) throw this.failures[0] as Error;
    const { owners } = this.view();
    const connected = [...this.nodes.values()].filter(({ directory }) => directory.connected);
    for (let partition = 0; partition < TOPOLOGY.partitions; partition++) {
      const believers = connected.filter(({ shards }) => shards.owned.has(partition)).map(({ nodeId }) => nodeId);
      // An answer on its way may be overtaken by a successor: the directory's lock decides, and ownership is only routing.
      if (believers.length > 1 && this.#hopMs === 0)
        throw new Error(`${believers.join(' and ')} both own partition ${partition}`);
      const isReady = connected.some(({ shards }) => shards.states().get(partition) === 'serving');
      if (owners.has(partition) || !isReady) this.#unownedSince.delete(partition);
      const since = this.#unownedSince.get(partition) ?? this.clock.now;
      if (!owners.has(partition) && isReady) this.#unownedSince.set(partition, since);
      const unownedMs = this.clock.now - since;
      if (unownedMs > this.#unownedMaxMs)
        throw new Error(`partition ${partition} has had no owner for ${unownedMs} ms`);
    }
  }

  /** Nobody hands a partition over before another node is ready for it. */
  #checkMove(nodeId: string, { partition, reason }: { partition: number; reason: string }): void {
    if (reason !== 'leaving' && reason !== 'not-ready' && reason !== 'hand-over') return;
    if (this.nodes.get(nodeId)?.shards.owned.has(partition) === true) return;
    if (this.#readyBeside(nodeId, partition)) return;
    this.failures.push(new Error(`${nodeId} released partition ${partition} with nobody ready for it`));
  }

  /** Nobody closes the last shard that is ready. With views that arrive late, a crash in between is an excuse. */
  #checkClose(nodeId: string, partition: number): void {
    if (this.#hopMs > 0 || this.#readyBeside(nodeId, partition)) return;
    this.failures.push(new Error(`${nodeId} closed the last ready shard of partition ${partition}`));
  }

  #readyBeside(nodeId: string, partition: number): boolean {
    const others = [...this.nodes.values()].filter((node) => node.nodeId !== nodeId);
    return others.some(({ shards }) => shards.states().get(partition) === 'serving');
  }
}
