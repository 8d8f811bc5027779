// Query fields and all fields with arguments: arguments in, a read out. Other fields are properties of what these answer.

import type { GraphQLFieldResolver } from 'graphql';
import { InventoryError } from '../schema/errors.ts';
import { inventoryKey } from '../schema/inventory-key.ts';
import type { RowOrder } from '../schema/shard-api.ts';
import { ClusterStatus } from './cluster-status.ts';
import { fanOut, gather, type PartialPolicy } from './fan-out.ts';
import type { InventoryItem } from './inventory-item.ts';
import type { FilterArgs, ItemConnection, PageArgs } from './inventory-item-page.ts';
import { type InventoryTotals, sumTotals } from './inventory-totals.ts';
import type { Item } from './item.ts';
import type { GraphqlContext } from './request-context.ts';
import type { Store } from './store.ts';

/** Most keys of one `inventories` field. */
export const INVENTORIES_KEYS_MAX = 500;

interface Ids {
  readonly storeId: string;
  readonly itemId: string;
}
interface TotalsArgs {
  readonly onPartial: PartialPolicy;
}
type StoreItemsArgs = PageArgs & { readonly filter?: FilterArgs | null; readonly orderBy: RowOrder };

/** Resolvers by type and field. */
export const resolvers = {
  Query: {
    inventory: (_: unknown, ids: Ids, { request }: GraphqlContext): Promise<InventoryItem | null> =>
      request.inventoryItem(inventoryKey(ids)),
    inventories,
    store: async (_: unknown, { id }: { id: string }, { request }: GraphqlContext): Promise<Store | null> => {
      const store = request.store(id);
      return (await store.exists()) ? store : null;
    },
    item: async (_: unknown, { id }: { id: string }, { request }: GraphqlContext): Promise<Item | null> => {
      const item = request.item(id);
      return (await item.exists()) ? item : null;
    },
    totals,
    cluster: (_: unknown, _args: unknown, { request }: GraphqlContext): ClusterStatus => new ClusterStatus(request),
  },
  InventoryItem: {
    store: (item: InventoryItem, _: unknown, { request }: GraphqlContext): Store => request.store(item.storeId),
    item: (item: InventoryItem, _: unknown, { request }: GraphqlContext): Item => request.item(item.itemId),
  },
  Store: {
    totals: (store: Store, args: TotalsArgs): Promise<InventoryTotals | null> => store.totals(args),
    items: (store: Store, args: StoreItemsArgs): Promise<ItemConnection> => store.items(args),
  },
  Item: {
    totals: (item: Item, args: TotalsArgs): Promise<InventoryTotals | null> => item.totals(args),
    stores: (item: Item, args: PageArgs): Promise<ItemConnection> => item.stores(args),
  },
};

/** A resolver of any field, as the schema holds it. */
export type Resolver = GraphQLFieldResolver<unknown, GraphqlContext>;

/** Each entry is a promise of its own, so that each fails alone. */
function inventories(
  _: unknown,
  { keys }: { keys: readonly Ids[] },
  { request }: GraphqlContext,
): Promise<InventoryItem | null>[] {
  if (keys.length > INVENTORIES_KEYS_MAX) {
    throw new InventoryError('BAD_USER_INPUT', `keys may hold at most ${INVENTORIES_KEYS_MAX}; got ${keys.length}`);
  }
  return keys.map(async (ids) => request.inventoryItem(inventoryKey(ids)));
}

async function totals(
  _: unknown,
  { onPartial }: TotalsArgs,
  { request }: GraphqlContext,
): Promise<InventoryTotals | null> {
  const asked = fanOut<'totals'>(request.router, request.scope, (partition) => ({ kind: 'totals', partition }));
  return sumTotals(await gather(asked, onPartial));
}
