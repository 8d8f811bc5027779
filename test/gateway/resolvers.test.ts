import { describe, expect, test } from 'vitest';
import { GatewayFixture } from '../support/gateway-fixture.ts';

const STOCK = 'onHand received sold';

/** Errors come in the order in which their fields failed; sorts them by path. */
function byPath([a]: readonly unknown[], [b]: readonly unknown[]): number {
  return String(a) < String(b) ? -1 : 1;
}

describe('inventory', () => {
  test('answers the golden case', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', {
      received: 200,
      sold: 120,
      lastShipmentAt: Date.UTC(2026, 10, 23, 20, 10),
      lastSaleAt: null,
    });
    const { data, errors, status } = await gateway.query(`{
      inventory(storeId: "10", itemId: "CA") {
        id storeId itemId ${STOCK} oversold lastShipmentAt lastSaleAt store { id } item { id }
      }
    }`);
    expect(status).toBe(200);
    expect(errors).toEqual([]);
    expect(data).toEqual({
      inventory: {
        id: '10/CA',
        storeId: '10',
        itemId: 'CA',
        onHand: 80,
        received: 200,
        sold: 120,
        oversold: false,
        lastShipmentAt: '2026-11-23T20:10:00.000Z',
        lastSaleAt: null,
        store: { id: '10' },
        item: { id: 'CA' },
      },
    });
  });

  test('is null without an error where no event names the pair', async () => {
    await using gateway = await GatewayFixture.start();
    expect(await gateway.query(`{ inventory(storeId: "10", itemId: "CA") { onHand } }`)).toEqual({
      status: 200,
      data: { inventory: null },
      errors: [],
    });
  });

  test('shows an oversold item as negative', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 1, sold: 3 });
    const { data } = await gateway.query(`{ inventory(storeId: "10", itemId: "CA") { onHand oversold } }`);
    expect(data).toEqual({ inventory: { onHand: -2, oversold: true } });
  });

  test('takes ids given as numbers, in the text and as variables', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', '48069', { received: 7 });
    const { data, errors } = await gateway.query(
      `query ($s: ID!, $i: ID!) {
        text: inventory(storeId: 10, itemId: 48069) { id }
        variables: inventory(storeId: $s, itemId: $i) { id }
      }`,
      { s: 10, i: 48069 },
    );
    expect(errors).toEqual([]);
    expect(data).toEqual({ text: { id: '10/48069' }, variables: { id: '10/48069' } });
  });

  test.each(['', '.', '..', '-a', 'a/b', 'ä', 'a b', 'x'.repeat(65)])('refuses the id %j alone', async (storeId) => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 7 });
    const { data, errors } = await gateway.query(
      `query ($s: ID!) { bad: inventory(storeId: $s, itemId: "CA") { id } good: inventory(storeId: "10", itemId: "CA") { id } }`,
      { s: storeId },
    );
    expect(data).toEqual({ bad: null, good: { id: '10/CA' } });
    expect(errors).toMatchObject([{ path: ['bad'], extensions: { code: 'BAD_USER_INPUT', retryable: false } }]);
    expect(errors[0]?.message).toContain('storeId');
  });

  test('sends 50 aliases as at most one request per node', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 12, nodes: 3 });
    for (let i = 0; i < 50; i++) gateway.cluster.put('10', `I${i}`, { received: i });
    const aliases = Array.from({ length: 50 }, (_, i) => `a${i}: inventory(storeId: 10, itemId: "I${i}") { onHand }`);
    const { data, errors } = await gateway.query(`{ ${aliases.join('\n')} }`);
    expect(errors).toEqual([]);
    expect(Object.values(data ?? {})).toEqual(Array.from({ length: 50 }, (_, i) => ({ onHand: i })));
    expect(gateway.cluster.requestCounts()).toEqual({ n0: 1, n1: 1, n2: 1 });
  });
});

describe('one partition down', () => {
  test('fails its own fields with path and code, and no other', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 2, nodes: 2 });
    const { cluster } = gateway;
    const ids = Array.from({ length: 20 }, (_, i) => `I${i}`);
    for (const id of ids) cluster.put('10', id, { received: 5 });
    const down = ids.find((id) => cluster.partitionOf('10', id) === 1) ?? '';
    const live = ids.find((id) => cluster.partitionOf('10', id) === 0) ?? '';
    cluster.node('n1').mode = 'down';
    const { data, errors } = await gateway.query(
      `query ($down: ID!, $live: ID!) {
        down: inventory(storeId: 10, itemId: $down) { onHand }
        live: inventory(storeId: 10, itemId: $live) { onHand }
        totals { items }
        partial: totals(onPartial: RETURN) { coverage { complete partitions answered missing } }
        store(id: 10) {
          totals { items }
          items { nodes { id } }
          partial: items(onPartial: RETURN) { nodes { id } coverage { missing } }
        }
        unknown: store(id: 11) { id }
        unknownItem: item(id: "nothing") { id }
      }`,
      { down, live },
    );
    expect(data).toMatchObject({
      down: null,
      live: { onHand: 5 },
      totals: null,
      partial: { coverage: { complete: false, partitions: 2, answered: 1, missing: [1] } },
      store: { totals: null, items: null, partial: { coverage: { missing: [1] } } },
      unknown: null,
      unknownItem: null,
    });
    const shown = errors.map(({ path, extensions }) => [path?.join('.'), extensions['code'], extensions['missing']]);
    expect(shown.toSorted(byPath)).toEqual([
      ['down', 'OWNER_UNAVAILABLE', undefined],
      ['store.items', 'INCOMPLETE_RESULT', [1]],
      ['store.totals', 'INCOMPLETE_RESULT', [1]],
      ['totals', 'INCOMPLETE_RESULT', [1]],
      ['unknown', 'INCOMPLETE_RESULT', [1]],
      ['unknownItem', 'INCOMPLETE_RESULT', [1]],
    ]);
    for (const { extensions } of errors) expect(extensions).toMatchObject({ retryable: true, retryAfterMs: 1_000 });
  });

  test('shows the sum of nothing as a partial sum, not as null, which would say that nothing is there', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 2, nodes: 2 });
    const { cluster } = gateway;
    cluster.put('10', 'CA', { received: 5 });
    const partition = cluster.partitionOf('10', 'CA');
    const owner = cluster.ownerOf(partition);
    // The row can still be read; the sum that is asked for after it cannot.
    owner.onRequest = ({ reads }) => {
      if (reads.some(({ kind }) => kind === 'itemTotals')) owner.refusals.set(partition, 'NOT_SERVING');
    };
    const { data, errors } = await gateway.query(`{
      inventory(storeId: 10, itemId: "CA") {
        item { partial: totals(onPartial: RETURN) { items coverage { missing } } none: totals { items } }
      }
    }`);
    expect(data).toEqual({
      inventory: { item: { partial: { items: 0, coverage: { missing: [partition] } }, none: null } },
    });
    expect(errors).toMatchObject([{ path: ['inventory', 'item', 'none'], extensions: { code: 'INCOMPLETE_RESULT' } }]);
  });
});

describe('inventories', () => {
  test('answers in the order of keys, duplicates and unknown ones included', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 1 });
    gateway.cluster.put('11', 'CB', { received: 2 });
    const { data, errors } = await gateway.query(
      `query ($keys: [InventoryKeyInput!]!) { inventories(keys: $keys) { id onHand } }`,
      {
        keys: [
          { storeId: '11', itemId: 'CB' },
          { storeId: 10, itemId: 'CA' },
          { storeId: '10', itemId: 'nothing' },
          { storeId: '11', itemId: 'CB' },
        ],
      },
    );
    expect(errors).toEqual([]);
    expect(data).toEqual({
      inventories: [{ id: '11/CB', onHand: 2 }, { id: '10/CA', onHand: 1 }, null, { id: '11/CB', onHand: 2 }],
    });
  });

  test('fails each bad entry and each unavailable one alone, with its index', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 2, nodes: 2 });
    const { cluster } = gateway;
    const ids = Array.from({ length: 20 }, (_, i) => `I${i}`);
    for (const id of ids) cluster.put('10', id, { received: 5 });
    const down = ids.find((id) => cluster.partitionOf('10', id) === 1);
    const live = ids.find((id) => cluster.partitionOf('10', id) === 0);
    cluster.node('n1').mode = 'down';
    const keys = [live, 'a/b', down, live].map((itemId) => ({ storeId: '10', itemId }));
    const { data, errors } = await gateway.query(
      `query ($keys: [InventoryKeyInput!]!) { inventories(keys: $keys) { onHand } }`,
      { keys },
    );
    expect(data).toEqual({ inventories: [{ onHand: 5 }, null, null, { onHand: 5 }] });
    expect(errors.map(({ path, extensions }) => [path?.join('.'), extensions['code']]).toSorted(byPath)).toEqual([
      ['inventories.1', 'BAD_USER_INPUT'],
      ['inventories.2', 'OWNER_UNAVAILABLE'],
    ]);
  });

  test('takes 500 keys and refuses 501', async () => {
    await using gateway = await GatewayFixture.start();
    const keys = Array.from({ length: 501 }, (_, i) => ({ storeId: '10', itemId: `I${i}` }));
    const query = `query ($keys: [InventoryKeyInput!]!) { inventories(keys: $keys) { id } }`;
    const most = await gateway.query(query, { keys: keys.slice(1) });
    expect(most.errors).toEqual([]);
    expect(most.data?.['inventories']).toHaveLength(500);
    expect(gateway.cluster.requestCounts()).toEqual({ n0: 1, n1: 1, n2: 1 });
    const { data, errors } = await gateway.query(query, { keys });
    expect(data).toEqual({ inventories: null });
    expect(errors).toMatchObject([{ path: ['inventories'], extensions: { code: 'BAD_USER_INPUT' } }]);
  });
});

describe('totals', () => {
  test('add up the chain, a store and an item', async () => {
    await using gateway = await GatewayFixture.start();
    for (let i = 0; i < 40; i++) gateway.cluster.put(`${i % 4}`, `I${i}`, { received: 10, sold: i % 20 });
    gateway.cluster.put('0', 'CA', { received: 3 });
    gateway.cluster.put('1', 'CA', { received: 4 });
    const sums = 'items onHand received sold oversoldItems outOfStockItems coverage { complete answered }';
    const { data, errors } = await gateway.query(
      `{ totals { ${sums} } store(id: 0) { totals { ${sums} } } item(id: "CA") { totals { ${sums} } } }`,
    );
    expect(errors).toEqual([]);
    const coverage = { complete: true, answered: 12 };
    expect(data).toEqual({
      totals: { items: 42, onHand: 27, received: 407, sold: 380, oversoldItems: 18, outOfStockItems: 20, coverage },
      store: {
        totals: { items: 11, onHand: 23, received: 103, sold: 80, oversoldItems: 4, outOfStockItems: 4, coverage },
      },
      item: { totals: { items: 2, onHand: 7, received: 7, sold: 0, oversoldItems: 0, outOfStockItems: 0, coverage } },
    });
  });

  test('ask each node once for a store, however often a query mentions it', async () => {
    await using gateway = await GatewayFixture.start();
    for (let i = 0; i < 30; i++) gateway.cluster.put('10', `I${i}`, { received: 1 });
    const before = gateway.cluster.requestCounts();
    expect(before).toEqual({ n0: 0, n1: 0, n2: 0 });
    const { data, errors } = await gateway.query(`{ store(id: 10) { a: totals { items } b: totals { sold } } }`);
    expect(errors).toEqual([]);
    expect(data).toEqual({ store: { a: { items: 30 }, b: { sold: 0 } } });
    expect(gateway.cluster.requestCounts()).toEqual({ n0: 1, n1: 1, n2: 1 });
  });

  test('a store or item that only its path names asks nobody until a field needs it', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 12, nodes: 3 });
    gateway.cluster.put('10', 'CA', { received: 1 });
    await gateway.query(`{ inventory(storeId: 10, itemId: "CA") { store { id } item { id } } }`);
    const counts = Object.values(gateway.cluster.requestCounts());
    expect(counts.reduce((a, b) => a + b)).toBe(1);
  });

  test('exist as soon as one partition says so', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 2, nodes: 2 });
    gateway.cluster.put('10', 'CA', { received: 1 });
    gateway.cluster.ownerOf(1 - gateway.cluster.partitionOf('10', 'CA')).mode = 'down';
    const { data, errors } = await gateway.query(`{ store(id: 10) { id } item(id: "CA") { id } }`);
    expect(errors).toEqual([]);
    expect(data).toEqual({ store: { id: '10' }, item: { id: 'CA' } });
  });

  test('fail with SCAN_LIMIT_EXCEEDED under either policy where an item is in too many stores', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 1 });
    for (const node of gateway.cluster.nodes.values()) {
      node.onRequest = ({ reads }) => {
        for (const read of reads)
          if (read.kind === 'itemTotals') node.refusals.set(read.partition, 'SCAN_LIMIT_EXCEEDED');
      };
    }
    const { errors } = await gateway.query(
      `{ inventory(storeId: 10, itemId: "CA") { item { a: totals { items } b: totals(onPartial: RETURN) { items } } } }`,
    );
    expect(errors.map(({ extensions }) => extensions['code'])).toEqual(['SCAN_LIMIT_EXCEEDED', 'SCAN_LIMIT_EXCEEDED']);
  });
});

describe('large counts', () => {
  test('are exact past 2^31 and at the edge of 2^53', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 2 ** 31, sold: -(2 ** 31) });
    gateway.cluster.put('10', 'CB', { received: Number.MAX_SAFE_INTEGER });
    const { data, errors } = await gateway.query(
      `{ a: inventory(storeId: 10, itemId: "CA") { ${STOCK} } b: inventory(storeId: 10, itemId: "CB") { ${STOCK} } }`,
    );
    expect(errors).toEqual([]);
    expect(data).toEqual({
      a: { onHand: 2 ** 32, received: 2 ** 31, sold: -(2 ** 31) },
      b: { onHand: 9007199254740991, received: 9007199254740991, sold: 0 },
    });
  });

  test('beyond it are COUNT_OUT_OF_RANGE, never rounded, and fail only what holds them', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CB', { received: 2n ** 53n });
    gateway.cluster.put('10', 'CC', { received: Number.MAX_SAFE_INTEGER, sold: -1 });
    gateway.cluster.put('11', 'CD', { received: Number.MAX_SAFE_INTEGER });
    const { data, errors } = await gateway.query(`{
      row: inventory(storeId: 10, itemId: "CB") { received }
      difference: inventory(storeId: 10, itemId: "CC") { onHand }
      parts: inventory(storeId: 10, itemId: "CC") { received sold }
      sum: totals { received }
      one: store(id: 11) { totals { received } }
    }`);
    expect(data).toEqual({
      row: null,
      difference: null,
      parts: { received: Number.MAX_SAFE_INTEGER, sold: -1 },
      sum: null,
      one: { totals: { received: Number.MAX_SAFE_INTEGER } },
    });
    expect(
      errors.map(({ path, extensions }) => [path?.join('.'), extensions['code'], extensions['retryable']]),
    ).toEqual([
      ['row.received', 'COUNT_OUT_OF_RANGE', false],
      ['difference.onHand', 'COUNT_OUT_OF_RANGE', false],
      ['sum.received', 'COUNT_OUT_OF_RANGE', false],
    ]);
  });

  test('a sum that comes back into range is exact again', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: Number.MAX_SAFE_INTEGER });
    gateway.cluster.put('10', 'CB', { received: 5 });
    gateway.cluster.put('10', 'CC', { received: -5 });
    const { data } = await gateway.query(`{ totals { received } }`);
    expect(data).toEqual({ totals: { received: Number.MAX_SAFE_INTEGER } });
  });
});

describe('cluster', () => {
  test('shows who owns what, and how far each owner has read', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 2, nodes: 2 });
    const { data, errors } = await gateway.query(`{
      cluster {
        applicationId
        partitions { partition owner standbys epoch shipments { nextOffset endOffset lag } sales { lag } }
        nodes { id url zone healthy version }
      }
    }`);
    expect(errors).toEqual([]);
    const shipments = { nextOffset: '7', endOffset: '10', lag: 3 };
    expect(data).toEqual({
      cluster: {
        applicationId: 'inventory',
        partitions: [
          { partition: 0, owner: 'n0', standbys: [], epoch: '1', shipments, sales: null },
          { partition: 1, owner: 'n1', standbys: [], epoch: '2', shipments, sales: { lag: 0 } },
        ],
        nodes: [
          { id: 'n0', url: 'http://n0', zone: null, healthy: true, version: '0.1.0' },
          { id: 'n1', url: 'http://n1', zone: null, healthy: true, version: '0.1.0' },
        ],
      },
    });
  });

  test('asks no node for what the routing table knows', async () => {
    await using gateway = await GatewayFixture.start();
    await gateway.query(`{ cluster { partitions { owner } nodes { id } } }`);
    expect(gateway.cluster.requestCounts()).toEqual({ n0: 0, n1: 0, n2: 0 });
  });

  test('shows a node that does not answer as unhealthy, and fails only its positions', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 2, nodes: 2 });
    gateway.cluster.node('n1').mode = 'down';
    const { data, errors } = await gateway.query(`{ cluster { partitions { shipments { lag } } nodes { healthy } } }`);
    expect(data).toEqual({
      cluster: {
        partitions: [{ shipments: { lag: 3 } }, { shipments: null }],
        nodes: [{ healthy: true }, { healthy: false }],
      },
    });
    expect(errors).toMatchObject([
      { path: ['cluster', 'partitions', 1, 'shipments'], extensions: { code: 'OWNER_UNAVAILABLE' } },
    ]);
  });
});

describe('before the first routing table', () => {
  test('every field fails with NOT_READY, and none is empty', async () => {
    await using gateway = await GatewayFixture.start({ ready: false });
    const { data, errors } = await gateway.query(`{
      inventory(storeId: 10, itemId: "CA") { id }
      inventories(keys: [{ storeId: 10, itemId: "CA" }]) { id }
      store(id: 10) { id }
      item(id: "CA") { id }
      totals { items }
      cluster { applicationId }
    }`);
    expect(data).toEqual({
      inventory: null,
      inventories: [null],
      store: null,
      item: null,
      totals: null,
      cluster: null,
    });
    expect(errors.map(({ extensions }) => [extensions['code'], extensions['retryable']])).toEqual(
      Array.from({ length: 6 }, () => ['NOT_READY', true]),
    );
  });
});
