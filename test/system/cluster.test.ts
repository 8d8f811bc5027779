// The life of a cluster on real Kafka and Consul: nodes join, leave, die and come back, and every key answers what the
// log adds up to. I4, I6: an answer may fail for a moment after a death, it is never wrong.
import { expect, it } from 'vitest';
import { type Cluster, startCluster } from '../support/cluster.ts';
import type { StockEvent } from '../support/cluster-oracle.ts';
import { ConsulView } from '../support/consul-view.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { javaPartitionOf } from '../support/oracle.ts';
import { parseExposition, sumOf } from '../support/prometheus.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';

const PARTITIONS = 12;
const MOVE_TIMEOUT_MS = 60_000;
const ALL_PARTITIONS = Array.from({ length: PARTITIONS }, (_, partition) => partition);

/** Events on every partition, some stock oversold. */
function stock(stores: readonly string[], items = 40): StockEvent[] {
  return stores.flatMap((storeId) =>
    Array.from({ length: items }, (_, index): StockEvent[] => [
      { role: 'shipments', key: `${storeId}/item-${index}`, count: 100 + index },
      { role: 'sales', key: `${storeId}/item-${index}`, count: 7 * index },
    ]).flat(),
  );
}

async function startCounting(nodes = 2): Promise<{ cluster: Cluster; consul: ConsulView }> {
  const cluster = await startCluster({ kafka: sharedKafka(), consul: sharedConsul(), nodes, partitions: PARTITIONS });
  return { cluster, consul: new ConsulView(sharedConsul(), cluster.applicationId) };
}

/** Waits until exactly `nodeIds` own all partitions, none of them much more than its share; who owns what. */
async function ownedBy(consul: ConsulView, nodeIds: readonly string[]): Promise<Record<string, number[]>> {
  const even = Math.ceil(PARTITIONS / nodeIds.length);
  return eventually(
    `${nodeIds.join(', ')} own all partitions`,
    async () => {
      const owners = await consul.owners();
      expect(Object.keys(owners).sort()).toEqual([...nodeIds].sort());
      expect(
        Object.values(owners)
          .flat()
          .sort((a, b) => a - b),
      ).toEqual(ALL_PARTITIONS);
      for (const owned of Object.values(owners)) expect(owned.length).toBeLessThanOrEqual(even + 1);
      return owners;
    },
    { timeoutMs: MOVE_TIMEOUT_MS },
  );
}

function partitionOf(key: string): number {
  return javaPartitionOf(Buffer.from(key), PARTITIONS);
}

describeWithServices('a cluster on Kafka and Consul', ['kafka', 'consul'], () => {
  // Two nodes hold all; a third joins and takes its share; one leaves cleanly, another is killed and comes back with its
  // disk. Reads go on throughout: none is ever wrong, and none fails but right after the kill.
  it('keeps every key right while nodes join, leave, die and come back', { timeout: 240_000 }, async () => {
    const { cluster, consul } = await startCounting();
    await using _ = cluster;
    await cluster.produce(stock(['10', '11']));
    await cluster.allKeysCorrect();
    await ownedBy(consul, ['node-1', 'node-2']);

    const joining = cluster.watchReads();
    await cluster.addNode('node-3');
    const owners = await ownedBy(consul, ['node-1', 'node-2', 'node-3']);
    expect(owners['node-3']?.length).toBeGreaterThan(0);
    expect(await joining.end()).toEqual({ wrong: [], failed: [] });
    await cluster.allKeysCorrect();

    const leaving = cluster.watchReads();
    expect(await cluster.node('node-1').process.stop()).toEqual({ code: 0, signal: null });
    await ownedBy(consul, ['node-2', 'node-3']);
    expect(await leaving.end()).toEqual({ wrong: [], failed: [] });
    expect((await consul.entries()).has('nodes/node-1')).toBe(false);
    await cluster.produce(stock(['12']));
    await cluster.allKeysCorrect();

    const { 'node-2': held = [] } = await ownedBy(consul, ['node-2', 'node-3']);
    const dying = cluster.watchReads();
    await cluster.node('node-2').process[Symbol.asyncDispose]();
    await ownedBy(consul, ['node-3']);
    await cluster.allKeysCorrect();
    expect((await dying.end()).wrong).toEqual([]);

    const missed = stock(['13']);
    await cluster.produce(missed);
    await cluster.allKeysCorrect();
    const restarted = await cluster.addNode('node-2');
    expect((await ownedBy(consul, ['node-2', 'node-3']))['node-2']).toEqual(held);
    await cluster.allKeysCorrect();
    const metrics = parseExposition((await restarted.http.get('/metrics')).body as string);
    const own = missed.filter(({ key }) => held.includes(partitionOf(key)));
    expect(own.length).toBeGreaterThan(0);
    expect(sumOf(metrics, 'stockroom_events_applied_total')).toBe(own.length);
  });

  it('stands in Consul as operators expect to find it', async () => {
    const { cluster, consul } = await startCounting();
    await using _ = cluster;
    const owners = await ownedBy(consul, ['node-1', 'node-2']);
    const { applicationId } = cluster;
    const entries = await consul.entries();

    expect(entries.get('topology')?.value).toMatchObject({
      incarnation: expect.stringMatching(/^[0-9a-f-]{36}$/),
      partitions: PARTITIONS,
      partitioner: 'murmur2',
      keyCodec: 'storeId/itemId',
      countMax: 1_000_000_000,
      dedupeWindow: 100_000,
      topics: { shipments: cluster.topics.shipments, sales: cluster.topics.sales },
      startAt: 'zero',
    });
    for (const [nodeId, { http }] of cluster.nodes) {
      const serviceId = `${applicationId}-${nodeId}`;
      const entry = entries.get(`nodes/${nodeId}`);
      expect(entry?.value).toMatchObject({
        ...{ nodeId, url: http.url, zone: null, draining: false },
        shards: Object.fromEntries((owners[nodeId] ?? []).map((partition) => [partition, 'serving'])),
      });

      expect(await consul.ask(`/agent/service/${serviceId}`)).toMatchObject({
        ID: serviceId,
        Service: 'inventory-node',
        Tags: [applicationId],
        Meta: { 'application-id': applicationId, url: http.url },
        Address: '127.0.0.1',
        Port: http.port,
      });
      const checks = await consul.ask<Record<string, unknown>>('/agent/checks');
      expect(checks[`service:${serviceId}`]).toMatchObject({
        ServiceID: serviceId,
        Status: 'passing',
        Type: 'http',
        Output: expect.stringContaining(`${http.url}/healthz`) as unknown,
      });
      expect(await consul.ask(`/session/info/${entry?.session}`)).toEqual([
        expect.objectContaining({
          Checks: [`service:${serviceId}`],
          LockDelay: 0,
          Behavior: 'release',
          TTL: '10s',
        }),
      ]);
    }
    const status = await cluster.gateway.query<{ cluster: { partitions: { owner: string; epoch: string }[] } }>(
      '{ cluster { partitions { partition owner epoch } } }',
    );
    for (const partition of ALL_PARTITIONS) {
      const { value, session, lockIndex } = entries.get(`partitions/${partition}`) ?? {};
      const { nodeId } = value as { nodeId: string };
      expect(session).toBe(entries.get(`nodes/${nodeId}`)?.session);
      expect(status.data?.cluster.partitions[partition]).toEqual({ partition, owner: nodeId, epoch: `${lockIndex}` });
    }
  });

  it('refuses a second live process with the node id of the first', async () => {
    const { cluster, consul } = await startCounting(1);
    await using _ = cluster;
    const owners = await ownedBy(consul, ['node-1']);
    await cluster.produce(stock(['10']));
    await cluster.allKeysCorrect();
    const reads = cluster.watchReads();
    const second = await cluster.launchNode('node-1', {
      HTTP_PORT: String(await freePort()),
      DATA_DIR: `${cluster.folder}/elsewhere`,
    });
    expect(await second.process.exited).toEqual({ code: 1, signal: null });
    const { url } = cluster.node('node-1').http;
    expect(second.process.output()).toContain(`NODE_ID node-1 is taken by a live process at ${url}`);
    expect(await reads.end()).toEqual({ wrong: [], failed: [] });
    expect(await consul.owners()).toEqual(owners);
  });

  it('refuses a second live process on the disk of the first', async () => {
    const { cluster } = await startCounting(1);
    await using _ = cluster;
    const disk = `${cluster.folder}/node-1`;
    const second = await cluster.launchNode('node-2', { DATA_DIR: disk });
    expect(await second.process.exited).toEqual({ code: 1, signal: null });
    expect(second.process.output()).toBe(
      `bad configuration:\n  DATA_DIR: ${disk}/store is in use by another process; each node needs a directory of its own`,
    );
  });
});
