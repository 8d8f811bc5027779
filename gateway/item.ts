// Item as GraphQL shows it: one item across stores. Made without asking a shard; each field asks for what it needs.

import type { Totals } from '../schema/totals.ts';
import { type FanOut, fanOut, gather, isNamed, type PartialPolicy } from './fan-out.ts';
import { type ItemConnection, type PageArgs, readPage } from './inventory-item-page.ts';
import { type InventoryTotals, sumTotals } from './inventory-totals.ts';
import type { RequestContext } from './request-context.ts';

export class Item {
  readonly id: string;
  readonly #context: RequestContext;
  #totals: FanOut<Totals | null> | undefined;

  constructor(context: RequestContext, id: string) {
    this.#context = context;
    this.id = id;
  }

  /** Whether some event names the item: one row of the index tells, where the totals would add up all its stores. */
  exists(): Promise<boolean> {
    const { router, scope } = this.#context;
    const asked = fanOut<'itemPage'>(router, scope, (partition) => ({
      kind: 'itemPage',
      partition,
      itemId: this.id,
      afterStoreId: null,
      limit: 1,
    }));
    return isNamed(asked, (page) => page.rows.length > 0);
  }

  /** Null where no event names the item. */
  async totals({ onPartial }: { readonly onPartial: PartialPolicy }): Promise<InventoryTotals | null> {
    return sumTotals(await gather(this.#askTotals(), onPartial));
  }

  /** A page of the item's stock by store. */
  stores(args: PageArgs): Promise<ItemConnection> {
    return readPage(this.#context, { kind: 'itemStores', itemId: this.id }, args);
  }

  #askTotals(): FanOut<Totals | null> {
    const { router, scope, pageScanRowsMax } = this.#context;
    this.#totals ??= fanOut<'itemTotals'>(router, scope, (partition) => ({
      kind: 'itemTotals',
      partition,
      itemId: this.id,
      scanRowsMax: pageScanRowsMax,
    }));
    return this.#totals;
  }
}
