// The golden case, end to end: 200 received, 20 and 100 sold, so 80 on hand. The article that the product follows prints
// 280 for it; README.md says why.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EmbeddedEventLog } from '../../cluster/embedded-event-log.ts';
import { requiredTopics, setUpTopics } from '../../tools/topic-setup.ts';
import { startAllInOne } from '../support/all-in-one.ts';
import { startCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import type { HttpService } from '../support/http-service.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';
import { tempDir } from '../support/temp-dir.ts';

const EVENTS = [
  { role: 'shipments', key: '10/CA', count: 200 },
  { role: 'sales', key: '10/CA', count: 20 },
  { role: 'sales', key: '10/CA', count: 100 },
] as const;
const STOCK = { received: 200, sold: 120, onHand: 80 };
const QUERY = `query ($keys: [InventoryKeyInput!]!) {
  inventory(storeId: "10", itemId: "CA") { id storeId itemId received sold onHand oversold store { id } item { id } }
  inventories(keys: $keys) { received sold onHand }
  store(id: "10") { totals { items received sold onHand } items { nodes { itemId onHand } } }
  item(id: "CA") { totals { items received sold onHand } stores { nodes { storeId onHand } } }
  totals { items received sold onHand oversoldItems outOfStockItems coverage { complete missing } }
  unknown: inventory(storeId: "10", itemId: "CB") { onHand }
}`;

const ANSWER = {
  inventory: {
    id: '10/CA',
    storeId: '10',
    itemId: 'CA',
    oversold: false,
    ...STOCK,
    store: { id: '10' },
    item: { id: 'CA' },
  },
  inventories: [STOCK, null],
  store: { totals: { items: 1, ...STOCK }, items: { nodes: [{ itemId: 'CA', onHand: 80 }] } },
  item: { totals: { items: 1, ...STOCK }, stores: { nodes: [{ storeId: '10', onHand: 80 }] } },
  totals: {
    items: 1,
    ...STOCK,
    oversoldItems: 0,
    outOfStockItems: 0,
    coverage: { complete: true, missing: [] },
  },
  unknown: null,
};

/** The gateway's answer to the query, once all three events are in it. */
async function answerOf(gateway: HttpService): Promise<unknown> {
  const keys = [
    { storeId: '10', itemId: 'CA' },
    { storeId: '11', itemId: 'CA' },
  ];
  return eventually('GraphQL answers the golden case', async () => {
    const { data, errors } = await gateway.query<typeof ANSWER>(QUERY, { keys });
    expect(errors).toBeUndefined();
    return data?.totals.sold === STOCK.sold ? data : undefined;
  });
}

/** What REST says of the key and of one that no event names; and whether a node that answers by itself says so. */
async function restOf(service: HttpService, nodeId?: string): Promise<unknown> {
  const [known, unknown] = [await service.rest('10', 'CA'), await service.rest('10', 'CB')];
  const isForwarded = known.headers.get('stockroom-forwarded') === '1';
  const isByAnother = known.headers.get('stockroom-served-by') !== nodeId;
  return [known.status, known.body, isForwarded === isByAnother, unknown.status];
}
const REST = [200, { storeId: '10', itemId: 'CA', count: 80 }, true, 404];

async function writeEmbeddedLog(dataDir: string): Promise<void> {
  const log = await EmbeddedEventLog.open({ directory: join(dataDir, 'log') });
  const topics = { shipments: 'shipments', sales: 'sales' };
  const specs = requiredTopics({ applicationId: 'inventory', topics, partitions: 16, replicationFactor: 1 });
  await setUpTopics(log, { specs, waitMs: 0 });
  const writer = await log.openWriter();
  const records = EVENTS.map(({ role, key, count }) => ({ topic: topics[role], key, value: String(count) }));
  await writer.append(records, { timeoutMs: 5_000 });
  await writer.close();
  await log.close();
}

describe('the golden case on the embedded log and directory', () => {
  it('is 80 by GraphQL and REST, of the gateway and of every node', async () => {
    await using folder = await tempDir('golden');
    await writeEmbeddedLog(folder.path);
    await using running = await startAllInOne({ dataDir: folder.path, args: ['--no-demo'] });
    expect(await answerOf(running.gateway)).toEqual(ANSWER);
    expect(await restOf(running.gateway)).toEqual(REST);
    for (const [index, node] of running.nodes.entries()) {
      expect(await restOf(node, `node-${index + 1}`)).toEqual(REST);
    }
  });
});

describeWithServices('the golden case on Kafka and Consul', ['kafka', 'consul'], () => {
  it('is 80 by GraphQL and REST, of the gateway and of every node', async () => {
    await using cluster = await startCluster({ kafka: sharedKafka(), consul: sharedConsul() });
    await cluster.produce(EVENTS);
    expect(await answerOf(cluster.gateway)).toEqual(ANSWER);
    expect(await restOf(cluster.gateway)).toEqual(REST);
    for (const { id, http } of cluster.nodes.values()) expect(await restOf(http, id)).toEqual(REST);
  });
});
