// What one node should do next about its shards and its ownership: a pure function of what it knows. Every node plans for
// itself from the same view of the directory; nobody gives orders.
//
//   placed here, not held      ─▶ open
//   nobody owns it, ready here ─▶ acquire, if no other ready node ranks higher
//   owned here                 ─▶ release, once the node that should own it is ready, or if only others are ready
//   held, no longer wanted     ─▶ close, once the placed owner owns it and all placed shards are ready (node/retreat.ts)
//
// Ready = the shard's state is `serving`: known of this node at first hand, of others by what they have published.
// Rank = the placed owner, the placed standbys, then everybody else by rendezvous score; a draining node after all others.
//
// So ownership moves between warm shards only, and a node that retreats leaves warm shards behind.
// Hazard: two nodes with different views may both acquire; the directory's lock lets one through. And what others have
// published may be out of date: a release can find its successor no longer ready; then the highest-ranked ready node,
// this one perhaps, acquires again.

import type { DirectoryView } from '../cluster/directory.ts';
import { type Placement, rankNodes } from '../schema/placement.ts';
import type { ShardStateName } from '../schema/topology.ts';

export interface OwnershipFacts {
  readonly view: DirectoryView;
  readonly nodeId: string;
  /** This node's shards, at first hand. */
  readonly shards: ReadonlyMap<number, ShardStateName>;
  /** What this node owns by its own knowledge, which is newer than the view. */
  readonly owned: ReadonlySet<number>;
  /** Of the live nodes that are not draining. */
  readonly placement: Placement;
  readonly draining: boolean;
  /** Partitions that this node may acquire now; it has just joined again, and others may be about to. */
  mayAcquire(partition: number): boolean;
}

export type OwnershipAction =
  | { readonly kind: 'open'; readonly partition: number }
  | { readonly kind: 'acquire'; readonly partition: number }
  | { readonly kind: 'release'; readonly partition: number; readonly reason: ReleaseReason }
  | { readonly kind: 'close'; readonly partition: number };
/** `hand-over`: its placed owner is ready. `not-ready`: this node's shard is not, another's is. `leaving`: this node drains. */
export type ReleaseReason = 'hand-over' | 'not-ready' | 'leaving';

/** At most one action per partition, by rising partition. */
export function planOwnership(facts: OwnershipFacts): OwnershipAction[] {
  const actions: OwnershipAction[] = [];
  for (const partition of facts.placement.keys()) {
    const action = planPartition(facts, partition);
    if (action !== undefined) actions.push(action);
  }
  return actions;
}

function planPartition(facts: OwnershipFacts, partition: number): OwnershipAction | undefined {
  if (facts.owned.has(partition)) return planOwned(facts, partition);
  const { nodeId, view, draining } = facts;
  const placed = facts.placement[partition] ?? [];
  const holds = isHeld(facts.shards.get(partition));
  if (!holds) return placed.includes(nodeId) && !draining ? { kind: 'open', partition } : undefined;
  const owner = view.owners.get(partition)?.nodeId;
  if (owner === undefined || owner === nodeId) return planAcquire(facts, partition);
  const isWanted = placed.includes(nodeId) || draining;
  const isWarmElsewhere = owner === placed[0] && placed.every((id) => isReady(facts, id, partition));
  return !isWanted && isWarmElsewhere ? { kind: 'close', partition } : undefined;
}

/** The view, which may be older than what this node knows, shows no other owner. */
function planAcquire(facts: OwnershipFacts, partition: number): OwnershipAction | undefined {
  const highest = highestReady(facts, partition);
  return highest === facts.nodeId && facts.mayAcquire(partition) ? { kind: 'acquire', partition } : undefined;
}

function planOwned(facts: OwnershipFacts, partition: number): OwnershipAction | undefined {
  const { nodeId, view, draining } = facts;
  const reason = releaseReason(facts, partition);
  if (reason !== undefined) return { kind: 'release', partition, reason };
  if (!isHeld(facts.shards.get(partition)) && !draining) return { kind: 'open', partition };
  // A view in which it is unowned is most likely older than the acquisition; if not, the key was meddled with. Acquiring
  // what is held already changes nothing.
  const isShown = view.owners.get(partition)?.nodeId === nodeId;
  return isShown ? undefined : { kind: 'acquire', partition };
}

function releaseReason(facts: OwnershipFacts, partition: number): ReleaseReason | undefined {
  const { nodeId, draining } = facts;
  const highest = highestReady(facts, partition);
  if (highest === undefined || highest === nodeId) return undefined;
  if (!isReady(facts, nodeId, partition)) return 'not-ready';
  if (draining) return facts.view.nodes.get(highest)?.draining === false ? 'leaving' : undefined;
  return highest === facts.placement[partition]?.[0] ? 'hand-over' : undefined;
}

/** The ready node that should own the partition now; undefined where none is ready. */
function highestReady(facts: OwnershipFacts, partition: number): string | undefined {
  const { view, nodeId } = facts;
  const candidates = new Set([...view.nodes.keys(), nodeId]);
  const ready = [...candidates].filter((id) => isReady(facts, id, partition));
  if (ready.length <= 1) return ready[0];
  const placed = facts.placement[partition] ?? [];
  const staying = ready.filter((id) => !isDraining(facts, id));
  return placed.find((id) => staying.includes(id)) ?? rankNodes(partition, staying.length > 0 ? staying : ready)[0];
}

function isReady(facts: OwnershipFacts, nodeId: string, partition: number): boolean {
  const state = nodeId === facts.nodeId ? facts.shards.get(partition) : facts.view.nodes.get(nodeId)?.shards[partition];
  return state === 'serving';
}

function isDraining({ view, nodeId, draining }: OwnershipFacts, id: string): boolean {
  return id === nodeId ? draining : (view.nodes.get(id)?.draining ?? false);
}

function isHeld(state: ShardStateName | undefined): boolean {
  return state !== undefined && state !== 'closed';
}
