// Store as GraphQL shows it. Made without asking a shard; each field asks for what it needs.

import type { RowOrder } from '../schema/shard-api.ts';
import type { Totals } from '../schema/totals.ts';
import { type FanOut, fanOut, gather, isNamed, type PartialPolicy } from './fan-out.ts';
import { type FilterArgs, type ItemConnection, type PageArgs, readPage, rowFilter } from './inventory-item-page.ts';
import { type InventoryTotals, sumTotals } from './inventory-totals.ts';
import type { RequestContext } from './request-context.ts';

export class Store {
  readonly id: string;
  readonly #context: RequestContext;
  #totals: FanOut<Totals | null> | undefined;

  constructor(context: RequestContext, id: string) {
    this.#context = context;
    this.id = id;
  }

  /** Whether some event names the store. Rejects with INCOMPLETE_RESULT if that cannot be said. */
  exists(): Promise<boolean> {
    return isNamed(this.#askTotals(), () => true);
  }

  /** Null where no event names the store. */
  async totals({ onPartial }: { readonly onPartial: PartialPolicy }): Promise<InventoryTotals | null> {
    return sumTotals(await gather(this.#askTotals(), onPartial));
  }

  /** A page of the store's items. */
  items(args: PageArgs & { readonly filter?: FilterArgs | null; readonly orderBy: RowOrder }): Promise<ItemConnection> {
    const list = { kind: 'storeItems', storeId: this.id, filter: rowFilter(args.filter), order: args.orderBy } as const;
    return readPage(this.#context, list, args);
  }

  /** Asked for once in a request, for whether it exists and for all its totals. */
  #askTotals(): FanOut<Totals | null> {
    const { router, scope } = this.#context;
    this.#totals ??= fanOut<'storeTotals'>(router, scope, (partition) => ({
      kind: 'storeTotals',
      partition,
      storeId: this.id,
    }));
    return this.#totals;
  }
}
