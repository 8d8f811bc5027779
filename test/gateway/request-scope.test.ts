import { expect, test } from 'vitest';
import { GatewayFixture } from '../support/gateway-fixture.ts';

// A query of a few lines can multiply lists by lists. It must fail before any shard is asked for what it multiplies to,
// and leave the gateway as responsive as before.
test('a query whose nested lists ask for too many rows fails there, and what came before it stays', async () => {
  await using gateway = await GatewayFixture.start({ partitions: 12, nodes: 3 });
  for (let i = 0; i < 300; i++) gateway.cluster.put('10', `I${i}`, { received: i });
  const { data, errors } = await gateway.query(`{
    store(id: 10) { items(first: 300) { nodes { itemId item { stores(first: 500) { nodes { storeId } } } } } }
  }`);
  const { items } = (data as { store: { items: { nodes: { item: { stores: unknown } }[] } } }).store;
  expect(items.nodes).toHaveLength(300);
  expect(items.nodes[0]?.item.stores).toEqual({ nodes: [{ storeId: '10' }] });
  expect(items.nodes.at(-1)?.item.stores).toBeNull();
  expect(errors.length).toBeGreaterThan(250);
  expect(new Set(errors.map(({ extensions }) => extensions['code']))).toEqual(new Set(['BAD_USER_INPUT']));
  expect((await gateway.query(`{ totals { items } }`)).data).toEqual({ totals: { items: 300 } });
});
