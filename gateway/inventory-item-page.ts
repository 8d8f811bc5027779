// Pages of InventoryItems: what a client may ask for, one read per partition, and the merged page as Relay has it.

import { decodeCursor, encodeCursor, type PagedList, type PagePlace, pageStart } from '../schema/cursor.ts';
import { InventoryError } from '../schema/errors.ts';
import { ID_PATTERN, ID_RULE } from '../schema/inventory-key.ts';
import type { ItemPageRead, RowFilter, StorePageRead } from '../schema/shard-api.ts';
import { type Coverage, fanOut, gather, type PartialPolicy } from './fan-out.ts';
import { InventoryItem } from './inventory-item.ts';
import { type MergedPage, mergePages, type PlacedRow } from './page-merge.ts';
import type { RequestContext } from './request-context.ts';

/** Bounds of the argument `first`. */
export const PAGE_FIRST_MAX = 500;

export interface PageArgs {
  readonly first: number;
  readonly after?: string | null;
  readonly onPartial: PartialPolicy;
}
/** The filter as GraphQL hands it over: null means absent. */
export type FilterArgs = { readonly [Field in keyof RowFilter]?: RowFilter[Field] | null };

/** The page of `list` that `args` ask for. Throws BAD_USER_INPUT or CURSOR_INVALID; rejects as `gather` does. */
export async function readPage(context: RequestContext, list: PagedList, args: PageArgs): Promise<ItemConnection> {
  const { first, onPartial } = args;
  if (first < 1 || first > PAGE_FIRST_MAX) {
    throw new InventoryError('BAD_USER_INPUT', `first must be 1–${PAGE_FIRST_MAX}; got ${first}`);
  }
  const after = args.after == null ? null : decodeCursor(list, args.after);
  const readOf = (partition: number): StorePageRead | ItemPageRead =>
    pageRead(list, { partition, after, limit: first + 1, scanRowsMax: context.pageScanRowsMax });
  const asked = fanOut<'storePage' | 'itemPage'>(context.router, context.scope, readOf);
  const { answers, coverage } = await gather(asked, onPartial);
  return new ItemConnection(list, mergePages(list, answers.values(), first), {
    coverage,
    hasPreviousPage: after !== null,
  });
}

/** The filter with its absent conditions left out. Throws BAD_USER_INPUT for a prefix that no id can begin with. */
export function rowFilter(args: FilterArgs | null | undefined): RowFilter {
  const { onHandBelow, onHandAbove, oversold, itemIdPrefix } = args ?? {};
  const prefix = itemIdPrefix === '' ? null : itemIdPrefix;
  if (prefix != null && !ID_PATTERN.test(prefix)) {
    throw new InventoryError('BAD_USER_INPUT', `itemIdPrefix must begin an item id: ${ID_RULE}`, {
      details: { field: 'itemIdPrefix' },
    });
  }
  return {
    ...(onHandBelow == null ? {} : { onHandBelow }),
    ...(onHandAbove == null ? {} : { onHandAbove }),
    ...(oversold == null ? {} : { oversold }),
    ...(prefix == null ? {} : { itemIdPrefix: prefix }),
  };
}

function pageRead(
  list: PagedList,
  page: {
    readonly partition: number;
    readonly after: PagePlace | null;
    readonly limit: number;
    readonly scanRowsMax: number;
  },
): StorePageRead | ItemPageRead {
  const { partition, after, limit, scanRowsMax } = page;
  if (list.kind === 'itemStores') {
    return { kind: 'itemPage', partition, itemId: list.itemId, afterStoreId: after?.id ?? null, limit };
  }
  const { storeId, order, filter } = list;
  const start = after === null ? null : pageStart(after);
  return { kind: 'storePage', partition, storeId, order, filter, after: start, limit, scanRowsMax };
}

/** InventoryItemConnection; field names are the schema's. */
export class ItemConnection {
  readonly coverage: Coverage;
  readonly pageInfo: PageInfo;
  readonly #list: PagedList;
  readonly #rows: readonly PlacedRow[];

  constructor(
    list: PagedList,
    page: MergedPage,
    { coverage, hasPreviousPage }: { readonly coverage: Coverage; readonly hasPreviousPage: boolean },
  ) {
    this.coverage = coverage;
    this.#list = list;
    this.#rows = page.rows;
    const start = page.rows[0]?.place;
    this.pageInfo = {
      hasNextPage: page.hasNextPage,
      hasPreviousPage,
      startCursor: start === undefined ? null : encodeCursor(list, start),
      endCursor: page.end === null ? null : encodeCursor(list, page.end),
    };
  }

  get nodes(): InventoryItem[] {
    return this.#rows.map(({ key, row }) => new InventoryItem(key, row));
  }

  get edges(): ItemEdge[] {
    return this.#rows.map((row) => new ItemEdge(this.#list, row));
  }
}

interface PageInfo {
  readonly hasNextPage: boolean;
  readonly hasPreviousPage: boolean;
  readonly startCursor: string | null;
  readonly endCursor: string | null;
}

class ItemEdge {
  readonly node: InventoryItem;
  readonly #list: PagedList;
  readonly #place: PagePlace;

  constructor(list: PagedList, { key, row, place }: PlacedRow) {
    this.node = new InventoryItem(key, row);
    this.#list = list;
    this.#place = place;
  }

  get cursor(): string {
    return encodeCursor(this.#list, this.#place);
  }
}
