import * as fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { openMemoryStore } from '../../node/memory-store.ts';
import type { Shard } from '../../node/shard.ts';
import { itemPage, itemTotals, storePage } from '../../node/shard-scan.ts';
import type { ItemPageRead, Page, PageStart, RowFilter, RowOrder, StorePageRead } from '../../schema/shard-api.ts';
import { splitInventoryKey } from '../../schema/inventory-key.ts';
import { onHandOf } from '../../schema/inventory-row.ts';
import { batchOf, openQueue, openShard, plainTotals, record } from '../support/shard-harness.ts';

/** Around the sizes in which a scan reads: 1, 2, 4 … 512, 512 … rows. */
const STORE_SIZES = [0, 1, 2, 3, 15, 16, 17, 511, 512, 513, 1_023, 1_024, 1_025, 1_600];
/** Ids that end where others go on, with every kind of character that an id may hold. */
const ITEM_IDS = ['A', 'A-', 'A-1', 'A.1', 'A0', 'A00', 'AA', 'A_', 'Aa', 'B', 'a', 'a.b', 'aa', 'z', 'zz', '0', '00'];

interface Item {
  readonly itemId: string;
  readonly onHand: number;
}

describe('pages of a store', () => {
  let shard: Shard;
  const stock = new Map<string, readonly Item[]>([
    ['small', ITEM_IDS.map((itemId, i) => ({ itemId, onHand: (i % 5) - 2 }))],
  ]);
  for (const size of STORE_SIZES) {
    stock.set(
      `size-${size}`,
      Array.from({ length: size }, (_, i) => ({ itemId: `i${i}`, onHand: ((i * 37) % 11) - 3 })),
    );
  }

  beforeAll(async () => {
    // Stores whose ids begin alike, to be kept apart.
    shard = await stocked([...stock, ['smal', [{ itemId: 'x', onHand: 1 }]], ['small-', [{ itemId: 'A', onHand: 1 }]]]);
  });

  test.each(STORE_SIZES)('of %d rows hold every row once and in order, whatever their size and order', async (size) => {
    const items = stock.get(`size-${size}`) ?? [];
    for (const order of ['ITEM_ID', 'ON_HAND_ASC', 'ON_HAND_DESC'] as const) {
      for (const limit of [1, 16, 500, 501].filter((rows) => size / rows < 20)) {
        const rows = await allRows(shard, readOf({ storeId: `size-${size}`, order, limit }));
        expect(rows).toEqual(naiveRows(items, { order }));
      }
    }
  });

  test('equal a plain filter and sort, for any filter, order, start and limit', async () => {
    const bound = fc.option(fc.integer({ min: -3, max: 3 }), { nil: undefined });
    const filters = fc.record({
      onHandBelow: bound,
      onHandAbove: bound,
      oversold: fc.option(fc.boolean(), { nil: undefined }),
      itemIdPrefix: fc.option(fc.constantFrom('', 'A', 'A-', 'A0', 'a', 'aa', 'zzz', '0', '.', '~', 'İ', 'é'), {
        nil: undefined,
      }),
    });
    const starts = fc.option(
      fc.record({ itemId: fc.constantFrom(...ITEM_IDS, '1', 'A-2', 'zzzz'), onHand: fc.integer({ min: -3, max: 3 }) }),
    );
    const orders = fc.constantFrom<RowOrder[]>('ITEM_ID', 'ON_HAND_ASC', 'ON_HAND_DESC');
    await fc.assert(
      fc.asyncProperty(
        filters,
        orders,
        starts,
        fc.integer({ min: 1, max: 20 }),
        async (filter, order, after, limit) => {
          const read = readOf({ storeId: 'small', order, filter: withoutUndefined(filter), after, limit });
          const expected = naiveRows(stock.get('small') ?? [], { order, filter, after });
          const page = await pageOf(shard, read);
          expect(itemsOf(page)).toEqual(expected.slice(0, limit));
          const isLast = page.scannedTo === null;
          expect(isLast ? expected.length <= limit : page.scannedTo === expected[limit - 1]?.itemId).toBe(true);
          expect(await allRows(shard, read)).toEqual(expected);
        },
      ),
      { numRuns: 200 },
    );
  });

  test('in the order of item ids look at no more than scanRowsMax rows, and go on behind the last one seen', async () => {
    const first = await pageOf(
      shard,
      readOf({ storeId: 'size-1600', filter: { onHandAbove: 100 }, limit: 10, scanRowsMax: 700 }),
    );
    const ids = (stock.get('size-1600') ?? []).map(({ itemId }) => itemId).sort();
    expect(first).toEqual({ rows: [], scannedTo: ids[699] });
    const after = { itemId: first.scannedTo ?? '', onHand: 0 };
    const second = await pageOf(
      shard,
      readOf({ storeId: 'size-1600', filter: { onHandAbove: 100 }, after, limit: 10, scanRowsMax: 700 }),
    );
    expect(second.scannedTo).toBe(ids[1_399]);
    const third = await pageOf(
      shard,
      readOf({
        storeId: 'size-1600',
        filter: { onHandAbove: 100 },
        after: { itemId: ids[1_399] ?? '', onHand: 0 },
        limit: 10,
        scanRowsMax: 700,
      }),
    );
    expect(third).toEqual({ rows: [], scannedTo: null });
  });

  test('with a bound of no rows still make progress', async () => {
    const page = await pageOf(
      shard,
      readOf({ storeId: 'small', filter: { onHandAbove: 100 }, limit: 10, scanRowsMax: 0 }),
    );
    expect(page).toEqual({ rows: [], scannedTo: '0' });
  });

  test.each(['ON_HAND_ASC', 'ON_HAND_DESC'] as const)(
    'in %s order fail with SCAN_LIMIT_EXCEEDED rather than sort a part',
    async (order) => {
      const read = readOf({ storeId: 'size-1600', order, limit: 10, scanRowsMax: 1_600 });
      expect((await pageOf(shard, read)).rows).toHaveLength(10);
      const tooMany = pageOf(shard, { ...read, scanRowsMax: 1_599 });
      await expect(tooMany).rejects.toMatchObject({ code: 'SCAN_LIMIT_EXCEEDED', retryable: false });
      await expect(tooMany).rejects.toThrow(/size-1600.*ITEM_ID/);
      const narrowed = { ...read, filter: { itemIdPrefix: 'i15' }, scanRowsMax: 111 };
      expect((await pageOf(shard, narrowed)).rows).toHaveLength(10);
    },
  );

  test('of a store that no event names are empty', async () => {
    expect(await pageOf(shard, readOf({ storeId: 'sm' }))).toEqual({ rows: [], scannedTo: null });
  });
});

describe('an item over stores', () => {
  let shard: Shard;
  const STORES = 1_100;
  const storeIds = Array.from({ length: STORES }, (_, i) => `s${i}`).sort();

  beforeAll(async () => {
    const stores = storeIds.map((id, i) => [id, [{ itemId: 'everywhere', onHand: (i % 7) - 2 }]] as const);
    shard = await stocked([
      ...stores,
      ['s0', [{ itemId: 'everywhere-else', onHand: 9 }]],
      ['s1', [{ itemId: 'everywher', onHand: 9 }]],
    ]);
  });

  test.each([1, 500, 501])('comes in pages of %d, by store id, each store once', async (limit) => {
    const stores = limit === 1 ? storeIds.slice(0, 5) : storeIds;
    const seen: string[] = [];
    for (let after: string | null = null; seen.length < stores.length;) {
      const page: Page = await itemPageOf(shard, { itemId: 'everywhere', afterStoreId: after, limit });
      seen.push(...page.rows.map(({ key }) => splitInventoryKey(key).storeId));
      if (page.scannedTo === null) break;
      expect(page.scannedTo).toBe(seen.at(-1));
      after = page.scannedTo;
    }
    expect(seen).toEqual(stores);
  });

  test('has totals over its stores alone', async () => {
    const { value } = await shard.atSnapshot((reader) =>
      itemTotals(reader, shard.keys, totalsRead('everywhere', STORES)),
    );
    const onHands = storeIds.map((_, i) => (i % 7) - 2);
    expect(value && plainTotals(value)).toEqual({
      items: STORES,
      received: BigInt(onHands.reduce((sum, count) => sum + count, 0)),
      sold: 0n,
      oversoldItems: onHands.filter((count) => count < 0).length,
      outOfStockItems: onHands.filter((count) => count <= 0).length,
    });
  });

  test('fails with SCAN_LIMIT_EXCEEDED in more stores than it may look at', async () => {
    const reading = shard.atSnapshot((reader) => itemTotals(reader, shard.keys, totalsRead('everywhere', STORES - 1)));
    await expect(reading).rejects.toMatchObject({ code: 'SCAN_LIMIT_EXCEEDED' });
  });

  test('that no event names is null, and has no pages', async () => {
    const { value } = await shard.atSnapshot((reader) => itemTotals(reader, shard.keys, totalsRead('every', 10)));
    expect(value).toBeNull();
    expect(await itemPageOf(shard, { itemId: 'every', afterStoreId: null, limit: 10 })).toEqual({
      rows: [],
      scannedTo: null,
    });
  });

  test('whose index names a row that is gone is a damaged store, never a shorter answer', async () => {
    const store = openMemoryStore();
    const damaged = await openShard({ store });
    await store.write((batch) => batch.put(damaged.keys.itemIndex({ itemId: 'x', storeId: 's' }), Buffer.alloc(0)));
    await expect(itemPageOf(damaged, { itemId: 'x', afterStoreId: null, limit: 1 })).rejects.toThrow(
      'item index names s/x',
    );
  });
});

/** A shard that holds these items, each received or oversold as said. */
async function stocked(stores: Iterable<readonly [storeId: string, items: readonly Item[]]>): Promise<Shard> {
  const store = openMemoryStore();
  const { queue } = openQueue(store, 1);
  const shard = await openShard({ store });
  const rows = [...stores].flatMap(([storeId, items]) =>
    items.map(({ itemId, onHand }) => [`${storeId}/${itemId}`, onHand] as const),
  );
  await queue.submit(
    shard,
    'shipments',
    batchOf(
      'shipments',
      0,
      rows.map(([key, count], offset) => record(offset, key, count)),
    ),
  );
  return shard;
}

function readOf(read: Partial<StorePageRead> & { storeId: string }): StorePageRead {
  return {
    kind: 'storePage',
    partition: 0,
    order: 'ITEM_ID',
    filter: {},
    after: null,
    limit: 50,
    scanRowsMax: 10_000,
    ...read,
  };
}

function totalsRead(itemId: string, scanRowsMax: number): Parameters<typeof itemTotals>[2] {
  return { kind: 'itemTotals', partition: 0, itemId, scanRowsMax };
}

async function pageOf(shard: Shard, read: StorePageRead): Promise<Page> {
  return (await shard.atSnapshot((reader) => storePage(reader, shard.keys, read))).value;
}

async function itemPageOf(shard: Shard, read: Omit<ItemPageRead, 'kind' | 'partition'>): Promise<Page> {
  return (await shard.atSnapshot((reader) => itemPage(reader, shard.keys, { kind: 'itemPage', partition: 0, ...read })))
    .value;
}

/** Every page from `read` on. */
async function allRows(shard: Shard, read: StorePageRead): Promise<Item[]> {
  const items: Item[] = [];
  for (let after = read.after; ;) {
    const page = await pageOf(shard, { ...read, after });
    items.push(...itemsOf(page));
    if (page.scannedTo === null) return items;
    after = { itemId: page.scannedTo, onHand: items.at(-1)?.onHand ?? 0 };
  }
}

function itemsOf(page: Page): Item[] {
  return page.rows.map(({ key, row }) => ({ itemId: splitInventoryKey(key).itemId, onHand: Number(onHandOf(row)) }));
}

interface NaiveRead {
  readonly order: RowOrder;
  readonly filter?: { readonly [Field in keyof RowFilter]?: RowFilter[Field] | undefined };
  readonly after?: PageStart | null;
}

function naiveRows(items: readonly Item[], { order, filter = {}, after = null }: NaiveRead): Item[] {
  const direction = { ITEM_ID: 0, ON_HAND_ASC: 1, ON_HAND_DESC: -1 }[order];
  const compare = (a: { itemId: string; onHand: unknown }, b: { itemId: string; onHand: unknown }): number =>
    (Number(a.onHand) - Number(b.onHand)) * direction || (a.itemId < b.itemId ? -1 : Number(a.itemId > b.itemId));
  return items
    .filter(({ onHand }) => filter.onHandBelow === undefined || onHand < filter.onHandBelow)
    .filter(({ onHand }) => filter.onHandAbove === undefined || onHand > filter.onHandAbove)
    .filter(({ onHand }) => filter.oversold === undefined || onHand < 0 === filter.oversold)
    .filter(({ itemId }) => itemId.startsWith(filter.itemIdPrefix ?? ''))
    .filter((item) => after === null || compare(item, after) > 0)
    .sort(compare);
}

function withoutUndefined(filter: NonNullable<NaiveRead['filter']>): RowFilter {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}
