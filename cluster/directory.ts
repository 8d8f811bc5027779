// The directory: who is alive, which node owns which partition, and the topology all agree on. The port; adapters:
// consul-directory.ts and embedded-directory.ts; both pass test/suites/directory.suite.ts.
//
// Keys under `<applicationId>/` (small and slow-moving: positions and lag never go here)
//   topology         JSON Topology          created once by compare-and-set            never deleted
//   nodes/<id>       JSON NodeEntry         locked by the node's session               deleted by leaving; left unlocked by a crash, deleted by the next join
//   partitions/<p>   JSON {"nodeId"}        locked by the owner's session, epoch = LockIndex      never deleted, only released
//
// I7: losing the directory stops moves of ownership, not reads: the last view stays.

import type { ShardStateName, Topology } from '../schema/topology.ts';

/** What a node tells about itself. */
export interface NodeEntry {
  readonly nodeId: string;
  /** Base URL under which gateways reach it, without a slash at the end. */
  readonly url: string;
  readonly zone: string | null;
  readonly version: string;
  /** The node is leaving: placement ignores it, and it hands over what it owns. */
  readonly draining: boolean;
  /** Each shard it holds; partition → state. */
  readonly shards: Readonly<Record<string, ShardStateName>>;
}

export interface Ownership {
  readonly nodeId: string;
  /** Orders the owners of one partition within one incarnation; rises with each acquisition. */
  readonly epoch: number;
}

/** The directory's contents at one moment. */
export interface DirectoryView {
  /** Null: the directory is empty, e.g. it came back with nothing. */
  readonly topology: Topology | null;
  /** Nodes whose session is alive. */
  readonly nodes: ReadonlyMap<string, NodeEntry>;
  /** Partitions that are owned now. */
  readonly owners: ReadonlyMap<number, Ownership>;
}

/** One node's life in the directory: a service with a health check, and a session bound to that check. */
export interface Membership {
  /** Aborts when the session is lost: ownership is gone, join again. */
  readonly lost: AbortSignal;
  /** Replaces the node's entry. Like `acquire` and `release`, rejects with DirectoryUnavailable once `lost` has aborted. */
  publish(entry: NodeEntry): Promise<void>;
  /** Takes the partition if nobody owns it; the epoch, or undefined if somebody else does. */
  acquire(partition: number): Promise<number | undefined>;
  /** Gives the partition up; free for others at once. */
  release(partition: number): Promise<void>;
  /** Releases everything and deregisters. */
  leave(): Promise<void>;
}

export interface JoinOptions {
  readonly entry: NodeEntry;
  /**
   * Called by the directory's health check; unreachable or failing means dead. It should name the process (say, with a
   * random query parameter that another process on the same address answers with an error): else a process that
   * restarts at once keeps its predecessor's session alive by answering for it, until that session's time-to-live ends.
   */
  readonly healthUrl: string;
}

/** All but `close` reject with a DirectoryUnavailable error while the directory cannot be reached. */
export interface Directory {
  /** False while it cannot be reached. */
  readonly connected: boolean;
  /** Stored topology, or undefined where there is none. */
  readTopology(): Promise<Topology | undefined>;
  /** Stores `topology` unless there is one already; resolves with the one that holds. */
  createTopology(topology: Topology): Promise<Topology>;
  /**
   * Calls `onView` with the present view and again after every change, until `signal` aborts. Keeps trying through
   * outages without calling `onView`; never calls it with an older view than before, except after a new incarnation.
   */
  watch(onView: (view: DirectoryView) => void, signal: AbortSignal): void;
  /** Registers the node and its session. Rejects with BAD_CONFIG if another live process has this node id. */
  join(options: JoinOptions): Promise<Membership>;
  close(): Promise<void>;
}

/** The directory cannot be reached; always worth a retry. */
export class DirectoryUnavailable extends Error {
  constructor(message: string, options?: { cause: unknown }) {
    super(message, options);
    this.name = 'DirectoryUnavailable';
  }
}
