// Where shards should be by the latest view, computed again only when the nodes have changed: at 1,000 nodes and 10,000
// partitions it takes most of a second.

import type { DirectoryView } from '../cluster/directory.ts';
import { placeShards, type Placement, type PlacementNode } from '../schema/placement.ts';

export class CurrentPlacement {
  readonly #me: PlacementNode;
  readonly #replicas: number;
  #key = '';
  #placement: Placement | undefined;

  constructor(me: PlacementNode, replicas: number) {
    this.#me = me;
    this.#replicas = replicas;
  }

  /** Undefined before the first `update`. */
  get value(): Placement | undefined {
    return this.#placement;
  }

  /** Over the nodes of `view` and this one, whether the view has it yet or not; draining nodes do not count. */
  update(view: DirectoryView, { partitions, draining }: { partitions: number; draining: boolean }): Placement {
    const others = [...view.nodes.values()].filter((node) => node.nodeId !== this.#me.nodeId && !node.draining);
    const nodes = others.map(({ nodeId, zone }) => ({ nodeId, zone }));
    if (!draining) nodes.push({ nodeId: this.#me.nodeId, zone: this.#me.zone });
    const key = JSON.stringify([partitions, nodes.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))]);
    if (this.#placement === undefined || key !== this.#key) {
      this.#placement = placeShards({ nodes, partitions, replicas: this.#replicas });
      this.#key = key;
    }
    return this.#placement;
  }
}
