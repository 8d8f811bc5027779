// What the resolvers of one GraphQL request share: what they read through, and the stores and items it has met. A store
// that a request meets many times is one object, so its totals are asked for once.

import { checkId, type InventoryKey } from '../schema/inventory-key.ts';
import { InventoryItem } from './inventory-item.ts';
import { Item } from './item.ts';
import type { RequestScope } from './request-scope.ts';
import type { Router } from './router.ts';
import { Store } from './store.ts';

export interface RequestContextOptions {
  readonly router: Router;
  readonly scope: RequestScope;
  readonly applicationId: string;
  /** Most rows that a shard looks at for one page. */
  readonly pageScanRowsMax: number;
}

/** The context value itself: a plain object, because Apollo makes a shallow copy of it for each operation. */
export interface GraphqlContext {
  readonly request: RequestContext;
}

export class RequestContext {
  readonly router: Router;
  readonly scope: RequestScope;
  readonly applicationId: string;
  readonly pageScanRowsMax: number;
  /** For metrics: set once the operation is known. */
  operationType = 'unknown';
  /** For metrics: the code of the first error, OK without one. */
  outcome = 'OK';
  readonly #stores = new Map<string, Store>();
  readonly #items = new Map<string, Item>();

  constructor({ router, scope, applicationId, pageScanRowsMax }: RequestContextOptions) {
    this.router = router;
    this.scope = scope;
    this.applicationId = applicationId;
    this.pageScanRowsMax = pageScanRowsMax;
  }

  /** The stock under `key`, null where no event names it. */
  async inventoryItem(key: InventoryKey): Promise<InventoryItem | null> {
    this.scope.spend(1);
    const { value: row } = await this.router.row(key, this.scope);
    return row === null ? null : new InventoryItem(key, row);
  }

  /** The store with this id, whether any event names it or not; asks nobody. Throws BAD_USER_INPUT. */
  store(id: string): Store {
    const present = this.#stores.get(id);
    if (present !== undefined) return present;
    checkId('id', id);
    const store = new Store(this, id);
    this.#stores.set(id, store);
    return store;
  }

  /** As `store`, for an item. */
  item(id: string): Item {
    const present = this.#items.get(id);
    if (present !== undefined) return present;
    checkId('id', id);
    const item = new Item(this, id);
    this.#items.set(id, item);
    return item;
  }
}
