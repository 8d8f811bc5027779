// Where each partition's reads go: pure, made of one view of the directory after another.
//
//   view, same incarnation   ─▶ per partition the owner of the highest epoch; an owner is forgotten only for a newer one
//   view, new incarnation    ─▶ replaces everything: epochs start again. A partition that nobody has acquired in it yet is
//                               asked for where it was (epoch 0), unless the partition count is another
//   view without a topology  ─▶ the table stays: an empty directory says nothing about who holds what
//   no view                  ─▶ the table stays: an unreachable directory stops moves, not reads (I7)
//
// So a partition that nobody owns at the moment keeps its last owner: in a hand-over that one still holds the warm shard
// until its successor has registered, and after a crash the read fails fast there and goes to a standby, or is refused
// with the owner's name, until the next owner registers. `live` tells the two apart.
//
// Hazard: two processes may see the directory at different moments; epochs, not the order of arrival, decide (I5).

import type { ShardStateName, Topology } from '../schema/topology.ts';
import type { DirectoryView, NodeEntry, Ownership } from './directory.ts';

/** Epochs of the directory are 1 or more. */
const BEFORE_ALL_EPOCHS = 0;

/** A partition's owner, as far as is known. */
export interface Route {
  readonly nodeId: string;
  /** Base URL of the node, without a slash at the end. */
  readonly url: string;
  /** 0: the owner of an earlier incarnation, nobody has acquired the partition since. */
  readonly epoch: number;
  /** Under which the node acquired the partition, and which it therefore knows; it may not have heard of a later one yet. */
  readonly incarnation: string;
  /** False: the node has left the directory since, or has not told its URL; a read there will most likely fail at once. */
  readonly live: boolean;
}

/** Immutable; made by `mergeRoutingTable` alone. */
export interface RoutingTable {
  readonly incarnation: string;
  readonly partitions: number;
  /** Nodes whose session is alive, by id. */
  readonly nodes: ReadonlyMap<string, NodeEntry>;
  /** The last known owner of each partition that has had one. */
  readonly owners: ReadonlyMap<number, Route>;
}

/** The table after `view`; `table` itself (the same object) where the view tells nothing new. Undefined until a view has a topology. */
export function mergeRoutingTable(table: RoutingTable | undefined, view: DirectoryView): RoutingTable | undefined {
  const { topology, nodes } = view;
  if (topology === null) return table;
  const owners = new Map<number, Route>();
  for (let partition = 0; partition < topology.partitions; partition++) {
    const route = mergeRoute(knownRoute(table, topology, partition), view.owners.get(partition), { topology, nodes });
    if (route !== undefined) owners.set(partition, route);
  }
  return { incarnation: topology.incarnation, partitions: topology.partitions, nodes, owners };
}

/** Where reads of `partition` go first; undefined while nobody has ever owned it. */
export function ownerOf(table: RoutingTable, partition: number): Route | undefined {
  return table.owners.get(partition);
}

/** Live nodes other than the owner whose shard of `partition` serves, by node id: where a read may go instead. */
export function standbysOf(table: RoutingTable, partition: number): readonly NodeEntry[] {
  const owner = table.owners.get(partition)?.nodeId;
  const others = [...table.nodes.values()].filter(
    (node) => node.nodeId !== owner && shardStateOn(node, partition) === 'serving',
  );
  return others.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
}

/** The state that the node has published for its shard of `partition`; undefined where it holds none. */
export function shardStateOn(node: NodeEntry, partition: number): ShardStateName | undefined {
  return node.shards[partition];
}

function knownRoute(table: RoutingTable | undefined, topology: Topology, partition: number): Route | undefined {
  const known = table?.owners.get(partition);
  if (known === undefined || table?.incarnation === topology.incarnation) return known;
  return table?.partitions === topology.partitions ? { ...known, epoch: BEFORE_ALL_EPOCHS } : undefined;
}

function mergeRoute(
  known: Route | undefined,
  owner: Ownership | undefined,
  { topology, nodes }: { readonly topology: Topology; readonly nodes: ReadonlyMap<string, NodeEntry> },
): Route | undefined {
  const isNews = owner !== undefined && owner.epoch >= (known?.epoch ?? BEFORE_ALL_EPOCHS);
  const latest = isNews ? { ...owner, incarnation: topology.incarnation } : known;
  if (latest === undefined) return undefined;
  const node = nodes.get(latest.nodeId);
  // An owner whose entry is missing keeps the URL it was last known by.
  const url = node?.url ?? (known?.nodeId === latest.nodeId ? known.url : undefined);
  if (url === undefined) return known;
  const { nodeId, epoch, incarnation } = latest;
  return { nodeId, url, epoch, incarnation, live: node !== undefined };
}
