// What ownership needs of a node's shards: the port that keeps the two apart. Implemented by the node's shard set, and by
// a fake in the tests of ownership.

import type { ShardStateName } from '../schema/topology.ts';

export interface ShardHost {
  /** Each shard this node holds, in any state; one that is closed may be listed or absent. */
  states(): ReadonlyMap<number, ShardStateName>;
  /** Begins to hold the partition. Does nothing if it is held already. */
  open(partition: number): void;
  /** Stops holding it; what is on disk stays. Called only for partitions that this node does not own. */
  close(partition: number): Promise<void>;
  /** Calls `listener` after each change of what `states` gives; the function returned ends that. */
  onStateChange(listener: () => void): () => void;
  /** This node has become the owner, under `epoch`, or is no longer (undefined). */
  ownershipChanged(partition: number, ownership: { readonly epoch: number } | undefined): void;
}
