// I7, static stability: what goes on while Consul or Kafka is away, and that the cluster heals without moving anything.
// Each test has a Consul, and the last one a Kafka, of its own, since it takes them away.
import { expect, it } from 'vitest';
import { type Cluster, type ClusterMember, ready, startCluster } from '../support/cluster.ts';
import type { StockEvent } from '../support/cluster-oracle.ts';
import { type ConsulServer, startConsul } from '../support/consul-server.ts';
import { ConsulView } from '../support/consul-view.ts';
import { eventually } from '../support/eventually.ts';
import { startKafka } from '../support/kafka-server.ts';
import { parseExposition, sumOf } from '../support/prometheus.ts';
import { describeWithServices, sharedKafka } from '../support/services.ts';

/** Noticing a hung agent takes one blocking query and its margin; a session's end up to twice its time-to-live. */
const NOTICE_TIMEOUT_MS = 60_000;
const NO_FAULTS = { wrong: [], failed: [] };
/** Changes of ownership that mean that a partition went to another node. */
const MOVES = ['hand-over', 'take-over', 'fenced', 'not-ready', 'leaving'];

function stock(storeId: string): StockEvent[] {
  return Array.from({ length: 60 }, (_, index): StockEvent[] => [
    { role: 'shipments', key: `${storeId}/item-${index}`, count: 10 + index },
    { role: 'sales', key: `${storeId}/item-${index}`, count: 2 * index },
  ]).flat();
}

async function metricsOf({ http }: ClusterMember): Promise<ReturnType<typeof parseExposition>> {
  return parseExposition((await http.get('/metrics')).body as string);
}

function members(cluster: Cluster): ClusterMember[] {
  return [...cluster.nodes.values(), ...cluster.gateways];
}

/** Waits until every node and gateway says that it can, or cannot, reach Consul. */
async function allConnected(cluster: Cluster, connected: boolean): Promise<void> {
  await eventually(
    `Consul is ${connected ? '' : 'not '}reached by anyone`,
    async () => {
      const seen = await Promise.all(members(cluster).map(metricsOf));
      return seen.every((metrics) => sumOf(metrics, 'stockroom_directory_connected') === Number(connected));
    },
    { timeoutMs: NOTICE_TIMEOUT_MS },
  );
}

/** How often a partition has changed hands since the nodes started. */
async function movesOf(cluster: Cluster): Promise<number> {
  const seen = await Promise.all([...cluster.nodes.values()].map(metricsOf));
  return seen
    .flatMap((metrics) => MOVES.map((reason) => sumOf(metrics, 'stockroom_shard_moves_total', { reason })))
    .reduce((sum, moves) => sum + moves, 0);
}

/** A cluster of two nodes that has settled, with some stock; who owns what. */
async function settled(consul: ConsulServer): Promise<{
  cluster: Cluster;
  view: ConsulView;
  owners: Record<string, number[]>;
}> {
  const cluster = await startCluster({ kafka: sharedKafka(), consul: consul.address });
  const view = new ConsulView(consul.address, cluster.applicationId);
  await cluster.produce(stock('10'));
  await cluster.allKeysCorrect();
  const owners = await eventually(
    'both nodes own their share',
    async () => {
      const seen = await view.owners();
      const counts = Object.values(seen).map((owned) => owned.length);
      const held = members(cluster)
        .slice(0, 2)
        .map(async (node) => (await node.http.get('/readyz')).body);
      const bodies = (await Promise.all(held)) as { shards: object; owned: number }[];
      const isQuiet = bodies.every(({ shards, owned }) => Object.keys(shards).length === owned);
      return counts.length === 2 && Math.min(...counts) >= 4 && isQuiet && seen;
    },
    { timeoutMs: NOTICE_TIMEOUT_MS },
  );
  return { cluster, view, owners };
}

/** Waits until `owners` own what they did before, under the session of now. */
async function ownedAgain(view: ConsulView, owners: Record<string, number[]>): Promise<void> {
  await eventually(
    'every node owns again what it did',
    async () => {
      expect(await view.owners()).toEqual(owners);
      return true;
    },
    { timeoutMs: NOTICE_TIMEOUT_MS },
  );
}

async function expectNotReady({ http }: ClusterMember): Promise<void> {
  await eventually(`${http.url} listens`, async () => (await http.get('/healthz')).status === 200, {
    timeoutMs: NOTICE_TIMEOUT_MS,
  });
  expect(await http.get('/readyz')).toMatchObject({ status: 503, body: { ready: false } });
  const query = '{ inventory(storeId: "10", itemId: "item-1") { onHand } store(id: "10") { id } totals { items } }';
  const { data, errors } = await http.query(query);
  expect(data).toEqual({ inventory: null, store: null, totals: null });
  const seen = errors?.map(({ path, extensions }) => `${path?.join('.')} ${extensions?.code}`) ?? [];
  expect(new Set(seen)).toEqual(new Set(['inventory NOT_READY', 'store NOT_READY', 'totals NOT_READY']));
  const rest = await http.rest('10', 'item-1');
  expect(rest).toMatchObject({ status: 503, body: { code: 'NOT_READY', retryable: true } });
  expect(rest.headers.get('retry-after')).toMatch(/^[1-9]/);
}

describeWithServices('a cluster that loses Consul', ['kafka', 'consul'], () => {
  it('reads and ingests on while Consul is gone, and heals without a move when it is back', async () => {
    await using consul = await startConsul({ persistent: true });
    const { cluster, view, owners } = await settled(consul);
    await using _ = cluster;
    const incarnation = await view.incarnation();
    const moves = await movesOf(cluster);
    const reads = cluster.watchReads();

    await consul.kill();
    await allConnected(cluster, false);
    await cluster.produce(stock('20'));
    await cluster.allKeysCorrect();
    for (const { http } of members(cluster)) expect((await http.get('/readyz')).status).toBe(200);

    await consul.start();
    await allConnected(cluster, true);
    await ownedAgain(view, owners);
    await cluster.produce(stock('21'));
    await cluster.allKeysCorrect();
    expect(await reads.end()).toEqual(NO_FAULTS);
    expect(await view.incarnation()).toBe(incarnation);
    expect(await movesOf(cluster)).toBe(moves);
  });

  // Twice, for what a node or a gateway keeps of the incarnation before must be that of the last, not of the first; and the
  // second time after so long that everyone tries again but now and then, so some hear of the new one well before others.
  it('replaces the incarnation when Consul comes back empty, twice, and no read fails', async () => {
    await using consul = await startConsul();
    const { cluster, view, owners } = await settled(consul);
    await using _ = cluster;
    const moves = await movesOf(cluster);
    const incarnations = [await view.incarnation()];
    const reads = cluster.watchReads();
    for (const storeId of ['20', '21']) {
      await consul.kill();
      await allConnected(cluster, false);
      if (storeId === '21') await cluster.gateways[0]?.process.waitForLine(/"repeated":.*a request to Consul failed/);
      await consul.start();
      await ownedAgain(view, owners);
      const incarnation = await view.incarnation();
      expect(incarnations).not.toContain(incarnation);
      incarnations.push(incarnation);
      await eventually('the gateway routes by the new incarnation', async () => {
        const { body } = await cluster.gateway.get('/readyz');
        return (body as { routingTable: { incarnation: string } }).routingTable.incarnation === incarnation;
      });
      await cluster.produce(stock(storeId));
      await cluster.allKeysCorrect();
    }
    await reads.moreRounds();
    expect(await reads.end()).toEqual(NO_FAULTS);
    expect(await movesOf(cluster)).toBe(moves);
    for (const id of cluster.nodes.keys()) {
      expect(await view.ask(`/agent/service/${cluster.applicationId}-${id}`)).toMatchObject({
        Service: 'inventory-node',
      });
    }

    const { http } = await cluster.addGateway();
    await cluster.allKeysCorrect(http);
    await cluster.addNode('node-3');
    await eventually('the new node takes its share', async () => 'node-3' in (await view.owners()), {
      timeoutMs: NOTICE_TIMEOUT_MS,
    });
    await cluster.allKeysCorrect();
  });

  it('reads and ingests on while Consul hangs; a gateway that starts meanwhile is NOT_READY, never empty', async () => {
    await using consul = await startConsul();
    const { cluster, view, owners } = await settled(consul);
    await using _ = cluster;
    const moves = await movesOf(cluster);
    const reads = cluster.watchReads();

    consul.pause();
    const started = await cluster.launchGateway();
    await expectNotReady(started);
    await cluster.produce(stock('20'));
    await cluster.allKeysCorrect();
    await allConnected(cluster, false);
    await expectNotReady(started);

    consul.resume();
    await ready(started);
    await cluster.allKeysCorrect(started.http);
    await allConnected(cluster, true);
    await ownedAgain(view, owners);
    expect(await reads.end()).toEqual(NO_FAULTS);
    expect(await movesOf(cluster)).toBe(moves);
  });
});

describeWithServices('a cluster that loses Kafka', ['kafka', 'consul'], () => {
  it('reads on while Kafka is gone, and ingests on when it is back', async () => {
    await using kafka = await startKafka();
    await using consul = await startConsul();
    await using cluster = await startCluster({ kafka: kafka.brokers, consul: consul.address });
    await cluster.produce(stock('10'));
    await cluster.allKeysCorrect();
    const reads = cluster.watchReads();
    const logConnected = async (connected: boolean): Promise<void> => {
      await eventually(
        `Kafka is ${connected ? '' : 'not '}reached by the nodes`,
        async () => {
          const seen = await Promise.all([...cluster.nodes.values()].map(metricsOf));
          return seen.every((metrics) => sumOf(metrics, 'stockroom_log_connected') === Number(connected));
        },
        { timeoutMs: NOTICE_TIMEOUT_MS },
      );
    };

    await kafka.kill();
    await logConnected(false);
    for (const { http } of members(cluster)) expect((await http.get('/readyz')).status).toBe(200);
    await reads.moreRounds();

    await kafka.start();
    await eventually('the log takes records', async () => (await cluster.log.ranges(cluster.topics.sales)).length > 0, {
      timeoutMs: NOTICE_TIMEOUT_MS,
    });
    await cluster.produce(stock('20'));
    await cluster.allKeysCorrect();
    await logConnected(true);
    expect(await reads.end()).toEqual(NO_FAULTS);
  });
});
