import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type ItemConnection, rowFilter } from '../../gateway/inventory-item-page.ts';
import type { RequestContext } from '../../gateway/request-context.ts';
import type { InventoryKey } from '../../schema/inventory-key.ts';
import { emptyRow, type InventoryRow } from '../../schema/inventory-row.ts';
import type { KeyedRow, RowFilter, RowOrder } from '../../schema/shard-api.ts';
import { FakeCluster, matchesFilter, orderRows } from '../support/fake-nodes.ts';
import { GatewayFixture } from '../support/gateway-fixture.ts';
import { routerOver } from '../support/router-fixture.ts';

const PAGES_MAX = 2_000;

/** Ids that sort differently by bytes and by locale. */
const itemId = fc.stringMatching(/^[ABab09][AB.a_-]{0,2}$/);
const stock = fc.record({ received: fc.integer({ min: -4, max: 4 }), sold: fc.integer({ min: -4, max: 4 }) });
const stocks = fc.uniqueArray(fc.tuple(itemId, stock), { selector: ([id]) => id, maxLength: 40 });
const order = fc.constantFrom<RowOrder>('ITEM_ID', 'ON_HAND_ASC', 'ON_HAND_DESC');
const filter: fc.Arbitrary<RowFilter> = fc.record(
  {
    onHandBelow: fc.integer({ min: -6, max: 6 }),
    onHandAbove: fc.integer({ min: -6, max: 6 }),
    oversold: fc.boolean(),
    itemIdPrefix: fc.constantFrom('A', 'a', '0', 'A.'),
  },
  { requiredKeys: [] },
);
const partitions = fc.integer({ min: 1, max: 12 });
const first = fc.integer({ min: 1, max: 7 });

interface Walk {
  readonly ids: string[];
  readonly pages: ItemConnection[];
}

/** All pages from the first to the last, `between` being called before each next one. */
async function walk(
  page: (after: string | null) => Promise<ItemConnection>,
  between: () => void = () => {},
): Promise<Walk> {
  const pages: ItemConnection[] = [];
  let after: string | null = null;
  do {
    const next: ItemConnection = await page(after);
    expect(next.pageInfo.hasPreviousPage).toBe(after !== null);
    pages.push(next);
    if (!next.pageInfo.hasNextPage) break;
    expect(next.pageInfo.endCursor).not.toBeNull();
    expect(next.pageInfo.endCursor).not.toBe(after);
    after = next.pageInfo.endCursor;
    between();
  } while (pages.length < PAGES_MAX);
  expect(pages.length).toBeLessThan(PAGES_MAX);
  return { ids: pages.flatMap(({ nodes }) => nodes.map(({ id }) => id)), pages };
}

function pageOfStore(
  context: () => RequestContext,
  args: { readonly first: number; readonly filter: RowFilter; readonly order: RowOrder },
) {
  return (after: string | null): Promise<ItemConnection> =>
    context()
      .store('10')
      .items({ first: args.first, after, filter: args.filter, orderBy: args.order, onPartial: 'ERROR' });
}

function clusterWith(count: number, rows: readonly (readonly [string, Partial<InventoryRow>])[]): FakeCluster {
  const cluster = new FakeCluster({ partitions: count, nodes: Math.min(3, count) });
  for (const [id, row] of rows) cluster.put('10', id, row);
  // A neighbour on either side in the order of keys.
  cluster.put('1', 'A', { received: 1 });
  cluster.put('100', 'A', { received: 1 });
  return cluster;
}

function keyed([id, row]: readonly [string, Partial<InventoryRow>]): KeyedRow {
  return { key: `10/${id}` as InventoryKey, row: { ...emptyRow(), ...row } };
}

describe('pages of a store', () => {
  test('put together are the filtered rows in order, in every order, filter, size and number of partitions', async () => {
    await fc.assert(
      fc.asyncProperty(stocks, order, filter, partitions, first, async (rows, by, where, count, size) => {
        const { context } = routerOver(clusterWith(count, rows));
        const { ids, pages } = await walk(pageOfStore(context, { first: size, filter: where, order: by }));
        const expected = orderRows(rows.map(keyed), by).filter((row) => matchesFilter(row, where));
        expect(ids).toEqual(expected.map(({ key }) => key));
        for (const page of pages.slice(0, -1)) expect(page.nodes).toHaveLength(size);
        for (const { edges, pageInfo } of pages) {
          expect(pageInfo.startCursor).toBe(edges[0]?.cursor ?? null);
          expect(pageInfo.endCursor).toBe(edges.at(-1)?.cursor ?? null);
        }
      }),
      { numRuns: 150 },
    );
  });

  test('that end early because a shard has looked at enough rows move on, and miss and repeat nothing', async () => {
    const scanRowsMax = fc.integer({ min: 1, max: 6 });
    await fc.assert(
      fc.asyncProperty(stocks, filter, partitions, first, scanRowsMax, async (rows, where, count, size, scanMax) => {
        const { context } = routerOver(clusterWith(count, rows));
        const page = pageOfStore(() => context({ pageScanRowsMax: scanMax }), {
          first: size,
          filter: where,
          order: 'ITEM_ID',
        });
        const { ids, pages } = await walk(page);
        const expected = orderRows(rows.map(keyed), 'ITEM_ID').filter((row) => matchesFilter(row, where));
        expect(ids).toEqual(expected.map(({ key }) => key));
        for (const { nodes } of pages) expect(nodes.length).toBeLessThanOrEqual(size);
      }),
      { numRuns: 150 },
    );
  });

  test('in ITEM_ID order miss and repeat no row while stocks change and rows appear', async () => {
    const changes = fc.array(fc.tuple(itemId, stock), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(stocks, changes, partitions, first, async (rows, later, count, size) => {
        const cluster = clusterWith(count, rows);
        const { context } = routerOver(cluster);
        const pending = [...later];
        const change = (): void => {
          for (const [id, row] of pending.splice(0, 3)) cluster.put('10', id, row);
        };
        const { ids } = await walk(pageOfStore(context, { first: size, filter: {}, order: 'ITEM_ID' }), change);
        expect(new Set(ids).size).toBe(ids.length);
        expect(ids).toEqual([...ids].sort());
        for (const [id] of rows) expect(ids).toContain(`10/${id}`);
      }),
      { numRuns: 150 },
    );
  });

  test('go on in the same place after all owners have moved', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 4, nodes: 2 });
    const { cluster } = gateway;
    for (let i = 0; i < 20; i++) cluster.put('10', `I${String(i).padStart(2, '0')}`, { received: i });
    const query = `query ($after: String) {
      store(id: 10) { items(first: 10, after: $after) { nodes { itemId } pageInfo { endCursor hasNextPage } } }
    }`;
    const one = await gateway.query(query);
    for (let p = 0; p < 4; p++) cluster.move(p, `n${(p + 1) % 2}`);
    cluster.publish();
    const { store } = one.data as { store: { items: { pageInfo: { endCursor: string } } } };
    const two = await gateway.query(query, { after: store.items.pageInfo.endCursor });
    expect(two.errors).toEqual([]);
    expect(two.data).toMatchObject({
      store: {
        items: {
          nodes: Array.from({ length: 10 }, (_, i) => ({ itemId: `I${i + 10}` })),
          pageInfo: { hasNextPage: false },
        },
      },
    });
  });

  test('fail in ON_HAND order with SCAN_LIMIT_EXCEEDED where a shard would look at too many rows', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 2, nodes: 1, pageScanRowsMax: 5 });
    for (let i = 0; i < 20; i++) gateway.cluster.put('10', `I${i}`, { received: i });
    const { data, errors } = await gateway.query(`{
      store(id: 10) {
        byId: items(first: 3) { nodes { itemId } }
        error: items(orderBy: ON_HAND_ASC) { nodes { itemId } }
        partial: items(orderBy: ON_HAND_ASC, onPartial: RETURN) { nodes { itemId } }
      }
    }`);
    expect(data).toMatchObject({ store: { byId: { nodes: expect.any(Array) }, error: null, partial: null } });
    expect(errors.map(({ extensions }) => [extensions['code'], extensions['retryable']])).toEqual([
      ['SCAN_LIMIT_EXCEEDED', false],
      ['SCAN_LIMIT_EXCEEDED', false],
    ]);
  });

  test('that found nothing so far have an endCursor, and the last one has none', async () => {
    const cluster = clusterWith(
      1,
      ['A', 'B', 'C'].map((id) => [id, { received: 1 }]),
    );
    const { context } = routerOver(cluster);
    const page = pageOfStore(() => context({ pageScanRowsMax: 2 }), {
      first: 5,
      filter: { oversold: true },
      order: 'ITEM_ID',
    });
    const one = await page(null);
    expect(one.nodes).toEqual([]);
    expect(one.pageInfo).toMatchObject({ hasNextPage: true, startCursor: null, endCursor: expect.any(String) });
    const two = await page(one.pageInfo.endCursor);
    expect(two.pageInfo).toEqual({ hasNextPage: false, hasPreviousPage: true, startCursor: null, endCursor: null });
  });
});

describe('pages of an item', () => {
  test('put together are its stores by id', async () => {
    await fc.assert(
      fc.asyncProperty(stocks, partitions, first, async (rows, count, size) => {
        const cluster = new FakeCluster({ partitions: count, nodes: Math.min(3, count) });
        for (const [storeId, row] of rows) {
          cluster.put(storeId, 'CA', row);
          cluster.put(storeId, 'CAX', row);
        }
        const { context } = routerOver(cluster);
        const { ids } = await walk((after) => context().item('CA').stores({ first: size, after, onPartial: 'ERROR' }));
        // Not the order of keys: `-` and `.` sort before the slash.
        const storeIds = rows.map(([storeId]) => storeId).sort();
        expect(ids).toEqual(storeIds.map((storeId) => `${storeId}/CA`));
      }),
      { numRuns: 100 },
    );
  });
});

describe('arguments of a page', () => {
  test.each([0, -1, 501])('refuse first: %d', async (size) => {
    const { context } = routerOver(clusterWith(2, [['A', {}]]));
    await expect(pageOfStore(context, { first: size, filter: {}, order: 'ITEM_ID' })(null)).rejects.toMatchObject({
      code: 'BAD_USER_INPUT',
    });
  });

  test('take first: 500', async () => {
    const { context } = routerOver(clusterWith(2, [['A', {}]]));
    const page = await pageOfStore(context, { first: 500, filter: {}, order: 'ITEM_ID' })(null);
    expect(page.nodes).toHaveLength(1);
  });

  test('refuse a cursor of another store, item, filter or order, and one that is damaged', async () => {
    const { context } = routerOver(
      clusterWith(2, [
        ['A', {}],
        ['B', {}],
        ['C', {}],
      ]),
    );
    const args = { first: 1, filter: {}, order: 'ITEM_ID' } as const;
    const { pageInfo } = await pageOfStore(context, args)(null);
    const after = pageInfo.endCursor ?? '';
    const invalid = { code: 'CURSOR_INVALID' };
    expect((await pageOfStore(context, args)(after)).nodes).toHaveLength(1);
    await expect(pageOfStore(context, { ...args, order: 'ON_HAND_ASC' })(after)).rejects.toMatchObject(invalid);
    await expect(pageOfStore(context, { ...args, filter: { oversold: false } })(after)).rejects.toMatchObject(invalid);
    await expect(pageOfStore(context, args)(`${after}A`)).rejects.toMatchObject(invalid);
    const other = context()
      .store('11')
      .items({ ...args, orderBy: 'ITEM_ID', after, onPartial: 'ERROR' });
    await expect(other).rejects.toMatchObject(invalid);
    await expect(context().item('10').stores({ first: 1, after, onPartial: 'ERROR' })).rejects.toMatchObject(invalid);
  });

  test.each(['/', ' ', '-', 'ä', 'x'.repeat(65)])('refuse the itemIdPrefix %j', (itemIdPrefix) => {
    expect(() => rowFilter({ itemIdPrefix })).toThrow(expect.objectContaining({ code: 'BAD_USER_INPUT' }));
  });

  test('take null and an empty prefix for no condition', () => {
    expect(rowFilter({ onHandBelow: null, onHandAbove: null, oversold: null, itemIdPrefix: null })).toEqual({});
    expect(rowFilter({ itemIdPrefix: '', onHandBelow: 0, oversold: false })).toEqual({
      onHandBelow: 0,
      oversold: false,
    });
    expect(rowFilter(null)).toEqual({});
  });

  test.each(['9007199254740992', '1.5', '"1"'])('refuse the bound %s, which is no SafeInt', async (bound) => {
    await using gateway = await GatewayFixture.start();
    const { errors, status } = await gateway.query(
      `{ store(id: 10) { items(filter: { onHandBelow: ${bound} }) { nodes { id } } } }`,
    );
    expect(status).toBe(400);
    expect(errors).toMatchObject([{ extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } }]);
  });
});
