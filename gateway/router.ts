// One lookup to the owner of its partition, with at most one re-route.
//
//   ask the owner ──answer──▶ done
//        │ NOT_SERVING, unreachable, moved, no owner
//        ▼
//   wait up to REROUTE_WAIT_MS for another owner in a newer table, then ask whoever owns the partition now
//        │                                                       │
//        ▼ still nobody                                          ▼ answer, or its failure
//   OWNER_UNAVAILABLE
//
// I4: a refusal is never taken for "unknown". I9: one re-route per lookup, and none after its deadline: no retry storm.

import type { Logger } from 'pino';
import { repeated } from '../cluster/logger.ts';
import { ownerOf, type Route, type RoutingTable } from '../cluster/routing-table.ts';
import { type ErrorCode, InventoryError, toInventoryError } from '../schema/errors.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import type { InventoryRow } from '../schema/inventory-row.ts';
import { partitionOfKey } from '../schema/partitioner.ts';
import type { Position } from '../schema/position.ts';
import type { ReadKind, ReadOf, ShardReadValues } from '../schema/shard-api.ts';
import type { NodeLinks } from './node-links.ts';
import type { Lookup, LookupAnswer } from './read-batcher.ts';
import type { RequestScope } from './request-scope.ts';
import type { Routes } from './routes.ts';

/** How long a failed lookup waits for another owner. A hand-over takes about 10 ms, noticing a death about a second. */
export const REROUTE_WAIT_MS = 75;

/** A value, as of a position of its partition, and who gave it. */
export interface Served<Value> {
  readonly value: Value;
  readonly position: Position;
  readonly nodeId: string;
}

export interface RouterOptions {
  readonly routes: Routes;
  readonly links: NodeLinks;
  readonly logger: Logger;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Told why a lookup was asked a second time. */
  readonly onReroute: (reason: ErrorCode) => void;
}

/** Failures after which another owner may know better. */
const REROUTED: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_SERVING',
  'RESTORING',
  'OWNER_UNAVAILABLE',
  'WRONG_PARTITION',
  'TOPOLOGY_MISMATCH',
]);

export class Router {
  readonly #options: RouterOptions;

  constructor(options: RouterOptions) {
    this.#options = options;
  }

  /** The present routing table. Throws NOT_READY before the first one. */
  table(): RoutingTable {
    const table = this.#options.routes.current();
    if (table !== undefined) return table;
    throw new InventoryError('NOT_READY', 'this gateway has not seen the routing table yet');
  }

  /** The row of a key, null where no event names it. */
  async row(key: InventoryKey, scope: RequestScope): Promise<Served<InventoryRow | null>> {
    const lookupIn = (table: RoutingTable): Lookup => ({
      kind: 'row',
      partition: partitionOfKey(key, table.partitions),
      key,
    });
    return (await this.#ask(lookupIn, scope)) as Served<InventoryRow | null>;
  }

  /** What `read` answers. Rejects with OWNER_UNAVAILABLE if the number of partitions changes in between. */
  async read<Kind extends Exclude<ReadKind, 'rows'>>(
    read: ReadOf<Kind>,
    scope: RequestScope,
  ): Promise<Served<ShardReadValues[Kind]>> {
    const { partitions } = this.table();
    const lookupIn = (table: RoutingTable): Lookup => {
      if (table.partitions === partitions) return read;
      throw new InventoryError('OWNER_UNAVAILABLE', `there were ${partitions} partitions, now ${table.partitions}`);
    };
    return (await this.#ask(lookupIn, scope)) as Served<ShardReadValues[Kind]>;
  }

  async #ask(lookupIn: (table: RoutingTable) => Lookup, scope: RequestScope): Promise<Served<unknown>> {
    const table = this.table();
    const lookup = lookupIn(table);
    const owner = ownerOf(table, lookup.partition);
    if (owner === undefined) return this.#askAgain(lookupIn, scope, { failure: nobodyOwns(lookup.partition) });
    try {
      return served(owner, await this.#options.links.ask(owner, lookup, scope.deadlineAt));
    } catch (error) {
      const failure = toInventoryError(error);
      if (!REROUTED.has(failure.code)) throw failure;
      return this.#askAgain(lookupIn, scope, { failure, owner });
    }
  }

  /** The second and last attempt. */
  async #askAgain(
    lookupIn: (table: RoutingTable) => Lookup,
    scope: RequestScope,
    first: { readonly failure: InventoryError; readonly owner?: Route },
  ): Promise<Served<unknown>> {
    const { links, now, onReroute, routes } = this.#options;
    const timeoutMs = Math.min(REROUTE_WAIT_MS, scope.deadlineAt - now());
    await routes.waitFor((table) => anotherOwner(table, lookupIn(table).partition, first), timeoutMs);
    const table = this.table();
    const lookup = lookupIn(table);
    const owner = ownerOf(table, lookup.partition);
    if (owner === undefined) throw nobodyOwns(lookup.partition);
    if (now() >= scope.deadlineAt) throw this.#publicFailure(first.failure, lookup.partition);
    onReroute(first.failure.code);
    try {
      return served(owner, await links.ask(owner, lookup, scope.deadlineAt));
    } catch (error) {
      throw this.#publicFailure(toInventoryError(error), lookup.partition);
    }
  }

  /** What a client may know of a failure that a re-route did not mend. */
  #publicFailure(failure: InventoryError, partition: number): InventoryError {
    const { code } = failure;
    if (code === 'NOT_SERVING') {
      const message = `the owner of partition ${partition} does not serve it now`;
      return new InventoryError('OWNER_UNAVAILABLE', message, { cause: failure });
    }
    if (code !== 'WRONG_PARTITION' && code !== 'TOPOLOGY_MISMATCH') return failure;
    repeated(
      this.#options.logger,
      code,
      { partition, code, err: failure },
      'a node disagrees on the topology',
      'error',
    );
    const message = 'the cluster disagrees on its topology; the log of this process has the details';
    return new InventoryError('INTERNAL', message, { cause: failure });
  }
}

/** An owner other than the one that failed: another node, a later epoch, or any of another incarnation. */
function anotherOwner(table: RoutingTable, partition: number, first: { readonly owner?: Route }): Route | undefined {
  const owner = ownerOf(table, partition);
  const same =
    owner?.nodeId === first.owner?.nodeId &&
    owner?.epoch === first.owner?.epoch &&
    owner?.incarnation === first.owner?.incarnation;
  return same ? undefined : owner;
}

function nobodyOwns(partition: number): InventoryError {
  return new InventoryError('OWNER_UNAVAILABLE', `no node owns partition ${partition} now`);
}

function served(owner: Route, answer: LookupAnswer): Served<unknown> {
  return { value: answer.value, position: answer.position, nodeId: owner.nodeId };
}
