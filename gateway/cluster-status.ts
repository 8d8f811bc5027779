// The cluster as this gateway sees it, for operators: who serves what from the routing table, and how far each owner has
// read from the owner itself, asked only when a field needs it.

import type { NodeEntry } from '../cluster/directory.ts';
import { ownerOf, type RoutingTable, standbysOf } from '../cluster/routing-table.ts';
import type { TopicRole } from '../schema/events.ts';
import type { ShardStatus } from '../schema/shard-api.ts';
import type { RequestContext } from './request-context.ts';

/** InventoryCluster; field names are the schema's. */
export class ClusterStatus {
  readonly applicationId: string;
  readonly partitions: readonly PartitionStatus[];
  readonly nodes: readonly NodeStatus[];

  /** Throws NOT_READY, and BAD_USER_INPUT where the request has asked for too much already. */
  constructor(context: RequestContext) {
    const table = context.router.table();
    context.scope.spend(table.partitions);
    this.applicationId = context.applicationId;
    this.partitions = Array.from({ length: table.partitions }, (_, p) => new PartitionStatus(context, table, p));
    this.nodes = [...table.nodes.values()]
      .sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1))
      .map((node) => new NodeStatus(node, this.partitions));
  }
}

class PartitionStatus {
  readonly partition: number;
  readonly owner: string | null;
  readonly epoch: number | null;
  readonly standbys: readonly string[];
  readonly #context: RequestContext;
  #asked: Promise<ShardStatus> | undefined;

  constructor(context: RequestContext, table: RoutingTable, partition: number) {
    const owner = ownerOf(table, partition);
    this.#context = context;
    this.partition = partition;
    // One that has left the directory serves nothing that anybody can rely on.
    this.owner = owner?.live === true ? owner.nodeId : null;
    this.epoch = owner?.live === true ? owner.epoch : null;
    this.standbys = standbysOf(table, partition).map(({ nodeId }) => nodeId);
  }

  get shipments(): Promise<TopicPosition | null> {
    return this.#progress('shipments');
  }

  get sales(): Promise<TopicPosition | null> {
    return this.#progress('sales');
  }

  /** What the owner says of its shard. Rejects as a read does. */
  status(): Promise<ShardStatus> {
    const { router, scope } = this.#context;
    this.#asked ??= router
      .read<'status'>({ kind: 'status', partition: this.partition }, scope)
      .then(({ value }) => value);
    return this.#asked;
  }

  async #progress(role: TopicRole): Promise<TopicPosition | null> {
    const { nextOffset, endOffset } = (await this.status())[role];
    if (endOffset === null) return null;
    return { nextOffset, endOffset, lag: Math.max(0, endOffset - nextOffset) };
  }
}

interface TopicPosition {
  readonly nextOffset: number;
  readonly endOffset: number;
  readonly lag: number;
}

class NodeStatus {
  readonly id: string;
  readonly url: string;
  readonly zone: string | null;
  readonly version: string;
  readonly #owned: readonly PartitionStatus[];

  constructor({ nodeId, url, zone, version }: NodeEntry, partitions: readonly PartitionStatus[]) {
    this.id = nodeId;
    this.url = url;
    this.zone = zone;
    this.version = version;
    this.#owned = partitions.filter(({ owner }) => owner === nodeId);
  }

  /** Whether it answers for every partition it owns. */
  get healthy(): Promise<boolean> {
    return Promise.all(this.#owned.map((partition) => partition.status())).then(
      () => true,
      () => false,
    );
  }
}
