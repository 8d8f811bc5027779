// The REST read on a node: answered here if the shard serves, else asked of the owner, one hop at most, else an error
// that says to try again. I4: "not here" is never "unknown item".

import { ownerOf, type RoutingTable } from '../cluster/routing-table.ts';
import type { Served } from '../cluster/rest-count.ts';
import { InventoryError } from '../schema/errors.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import type { InventoryRow } from '../schema/inventory-row.ts';
import { partitionOfKey } from '../schema/partitioner.ts';
import type { ShardAnswer, ShardApi } from '../schema/shard-api.ts';

/** How long the owner may take. */
const FORWARD_DEADLINE_MS = 1_000;

export interface CountReadsOptions {
  readonly nodeId: string;
  readonly local: ShardApi;
  /** The node at a base URL. */
  readonly shardApiAt: (url: string) => ShardApi;
  /** The present routing table, undefined before the first one. */
  readonly table: () => RoutingTable | undefined;
}

export interface CountRead {
  readonly row: InventoryRow | null;
  readonly served: Served;
}

export class CountReads {
  readonly #options: CountReadsOptions;

  constructor(options: CountReadsOptions) {
    this.#options = options;
  }

  /** The row, null where no event names the key, and who answered. Rejects with NOT_READY, OWNER_UNAVAILABLE, RESTORING … */
  async read(key: InventoryKey): Promise<CountRead> {
    const { nodeId, local, shardApiAt } = this.#options;
    const table = this.#options.table();
    if (table === undefined) throw new InventoryError('NOT_READY', 'this node has not joined the cluster yet');
    const partition = partitionOfKey(key, table.partitions);
    const reads = [{ kind: 'rows' as const, partition, keys: [key] }];
    const options = { deadlineMs: FORWARD_DEADLINE_MS };
    const [here] = await local.read({ incarnation: table.incarnation, reads }, options);
    if (here?.ok === true) return { row: rowOf(here), served: { nodeId, forwarded: false } };
    const owner = ownerOf(table, partition);
    if (owner === undefined || owner.nodeId === nodeId) throw unavailable(partition, here);
    const [there] = await shardApiAt(owner.url).read({ incarnation: owner.incarnation, reads }, options);
    if (there?.ok !== true) throw unavailable(partition, there);
    return { row: rowOf(there), served: { nodeId: owner.nodeId, forwarded: true } };
  }
}

function rowOf(answer: ShardAnswer & { readonly ok: true }): InventoryRow | null {
  return (answer.value as readonly (InventoryRow | null)[])[0] ?? null;
}

function unavailable(partition: number, refusal: ShardAnswer | undefined): InventoryError {
  const why = refusal === undefined || refusal.ok ? 'nobody owns it now' : refusal.message;
  const code = refusal?.ok === false && refusal.code === 'RESTORING' ? 'RESTORING' : 'OWNER_UNAVAILABLE';
  return new InventoryError(code, `partition ${partition} cannot be read now: ${why}`);
}
