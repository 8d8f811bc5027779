// What an operator sees of real processes: metrics as a scraper reads them, and the log as a collector reads it.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { PROJECT_FOLDER } from '../support/compose-file.ts';
import { type Cluster, type ClusterMember, startCluster } from '../support/cluster.ts';
import { startConsul } from '../support/consul-server.ts';
import { eventually } from '../support/eventually.ts';
import { type MetricFamily, parseExposition, sumOf } from '../support/prometheus.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';

type Metrics = ReadonlyMap<string, MetricFamily>;

const STORE = 'store-zebra';
const ITEMS = Array.from({ length: 30 }, (_, index) => `item-giraffe-${index}`);
const PARTITIONS = 12;
const FAULT_WINDOW_MS = 10_000;
/** Timers may fire, and clocks be read, a little early. */
const WINDOW_TOLERANCE_MS = 100;

async function metricsOf({ http }: ClusterMember): Promise<Metrics> {
  const { status, headers, body } = await http.get('/metrics');
  expect([status, headers.get('content-type')]).toEqual([200, expect.stringMatching(/^text\/plain; version=0\.0\.4/)]);
  return parseExposition(body as string);
}

/** The sets of label names that a metric's samples carry, `le` aside. */
function labelsOf(metrics: Metrics, name: string): string[] {
  const samples = metrics.get(name)?.samples ?? [];
  const names = samples.map(({ labels }) =>
    Object.keys(labels)
      .filter((label) => label !== 'le')
      .sort()
      .join(' '),
  );
  return [...new Set(names)];
}

/** Names of our own metrics; those of the Node process come with the library. */
function ownNames(metrics: Metrics): string[] {
  return [...metrics.keys()].filter((name) => !/^stockroom_(process|nodejs)_/.test(name)).sort();
}

/** Metrics of the README's table that `from` has. */
function readmeNames(from: 'node' | 'gateway'): string[] {
  const readme = readFileSync(join(PROJECT_FOLDER, 'README.md'), 'utf8');
  const rows = [...readme.matchAll(/^\| `(stockroom_\w+)` +\| (node|gateway|both) /gm)];
  return rows.flatMap(([, name = '', owner]) => (owner === from || owner === 'both' ? [name] : [])).sort();
}

async function trafficOn(cluster: Cluster): Promise<void> {
  await cluster.produce(
    ITEMS.flatMap((item) => [
      { role: 'shipments', key: `${STORE}/${item}`, count: 10 },
      { role: 'sales', key: `${STORE}/${item}`, count: 3 },
    ]),
  );
  await cluster.allKeysCorrect();
  const { gateway } = cluster;
  await gateway.rest(STORE, ITEMS[0] ?? '');
  await gateway.rest(STORE, 'item-unknown');
  await gateway.query('query Named { inventory(storeId: "no/such", itemId: "x") { onHand } }');
  for (const { http } of cluster.nodes.values()) await http.rest(STORE, ITEMS[0] ?? '');
}

describeWithServices('metrics', ['kafka', 'consul'], () => {
  it('show what the README lists, with labels, and never a store or an item', async () => {
    await using cluster = await startCluster({ kafka: sharedKafka(), consul: sharedConsul(), partitions: PARTITIONS });
    await trafficOn(cluster);
    await writeBadRecord(cluster);
    const nodes = [...cluster.nodes.values()];
    await eventually('no shard lags', async () => {
      const seen = await Promise.all(nodes.map(metricsOf));
      return seen.every((metrics) => sumOf(metrics, 'stockroom_shard_lag_records') === 0);
    });
    const [gateway] = cluster.gateways;
    if (gateway === undefined) throw new Error('no gateway');
    const nodeMetrics = await Promise.all(nodes.map(metricsOf));
    const gatewayMetrics = await metricsOf(gateway);

    for (const metrics of nodeMetrics) expect(ownNames(metrics)).toEqual(readmeNames('node'));
    expect(ownNames(gatewayMetrics)).toEqual(readmeNames('gateway'));
    for (const metrics of [...nodeMetrics, gatewayMetrics]) expectSound(metrics);

    const total = (name: string, labels = {}): number =>
      nodeMetrics.reduce((sum, metrics) => sum + sumOf(metrics, name, labels), 0);
    expect(total('stockroom_events_applied_total')).toBeGreaterThanOrEqual(2 * ITEMS.length);
    expect(total('stockroom_partitions_owned')).toBe(PARTITIONS);
    expect(total('stockroom_shard_state', { state: 'serving' })).toBeGreaterThanOrEqual(PARTITIONS);
    expect(total('stockroom_shard_moves_total', { reason: 'first' })).toBeGreaterThanOrEqual(PARTITIONS);
    expect(total('stockroom_dead_letters_total', { reason: 'DECODE_FAILED' })).toBe(1);
    expect(total('stockroom_directory_connected')).toBe(nodes.length);
    expect(total('stockroom_log_connected')).toBe(nodes.length);
    for (const metrics of nodeMetrics) {
      expect(labelsOf(metrics, 'stockroom_shard_lag_records')).toEqual(['partition topic']);
      expect(labelsOf(metrics, 'stockroom_shard_state')).toEqual(['partition state']);
      expect(labelsOf(metrics, 'stockroom_shard_moves_total')).toEqual(['reason']);
      for (const surface of ['rest', 'internal']) {
        expect(sumOf(metrics, 'stockroom_request_duration_seconds', { surface })).toBeGreaterThan(0);
      }
    }

    const requests = (labels: Record<string, string>): number =>
      sumOf(gatewayMetrics, 'stockroom_request_duration_seconds', labels);
    expect(requests({ surface: 'graphql', operation_type: 'query', code: 'OK' })).toBeGreaterThan(0);
    expect(requests({ surface: 'graphql', operation_type: 'query', code: 'BAD_USER_INPUT' })).toBe(1);
    expect(requests({ surface: 'rest', operation_type: 'query', code: 'OK' })).toBe(1);
    expect(requests({ surface: 'rest', operation_type: 'query', code: 'NOT_FOUND' })).toBe(1);
    expect(sumOf(gatewayMetrics, 'stockroom_node_requests_total', { outcome: 'OK' })).toBeGreaterThan(0);
    expect(sumOf(gatewayMetrics, 'stockroom_directory_connected')).toBe(1);

    await cluster.node('node-2').process[Symbol.asyncDispose]();
    await eventually('reads of the dead node are asked again', async () => {
      await cluster.oracle.compareKeys(cluster.gateway);
      const after = await metricsOf(gateway);
      expect(labelsOf(after, 'stockroom_reroutes_total')).toEqual(['reason']);
      expect(sumOf(after, 'stockroom_reroutes_total')).toBeGreaterThan(0);
      expect(sumOf(after, 'stockroom_node_requests_total', { outcome: 'OWNER_UNAVAILABLE' })).toBeGreaterThan(0);
      return true;
    });
  });
});

/** A sale that is no number: one dead letter. */
async function writeBadRecord(cluster: Cluster): Promise<void> {
  const writer = await cluster.log.openWriter({ name: 'bad-record' });
  await writer.append([{ topic: cluster.topics.sales, key: `${STORE}/${ITEMS[0]}`, value: '1.5' }], {
    timeoutMs: 10_000,
  });
  await eventually('it is in the dead letters', async () => {
    const seen = await Promise.all([...cluster.nodes.values()].map(metricsOf));
    return seen.some((metrics) => sumOf(metrics, 'stockroom_dead_letters_total') === 1);
  });
}

/** Rules for every metric: prefix, help, units and counters by name, build info, no name of the shop anywhere. */
function expectSound(metrics: Metrics): void {
  expect([...metrics.values()].filter((family) => !isSound(family))).toEqual([]);
  expect(labelsOf(metrics, 'stockroom_build_info')).toEqual(['node version']);
  expect(sumOf(metrics, 'stockroom_build_info')).toBe(1);
  expect(labelsOf(metrics, 'stockroom_request_duration_seconds')).toEqual(['code operation_type surface']);
}

function isSound({ name, help, type, samples }: MetricFamily): boolean {
  // The library's gauges of the event loop end in `_total`, too.
  const endsAsCounter = name.endsWith('_total') && !name.startsWith('stockroom_nodejs_');
  return (
    name.startsWith('stockroom_') &&
    !/_(ms|milliseconds|kb|mb)(_|$)/.test(name) &&
    help !== '' &&
    ['counter', 'gauge', 'histogram'].includes(type) &&
    endsAsCounter === (type === 'counter') &&
    !samples.some(({ labels }) => /zebra|giraffe|item-unknown|Named/.test(JSON.stringify(labels)))
  );
}

interface LogLine {
  readonly time: string;
  readonly level: string;
  readonly node: string;
  readonly msg?: string;
  readonly partition?: number;
  readonly epoch?: number;
  readonly repeated?: number;
  readonly [field: string]: unknown;
}

/** Every line of a process's output, each of which must be JSON. */
function linesOf({ process: started }: ClusterMember): LogLine[] {
  return started
    .output()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LogLine);
}

describeWithServices('logs', ['kafka', 'consul'], () => {
  it('are JSON lines with the fields to filter by, one for each change of ownership', async () => {
    await using cluster = await startCluster({
      kafka: sharedKafka(),
      consul: sharedConsul(),
      partitions: PARTITIONS,
      env: { LOG_LEVEL: 'debug' },
    });
    const nodes = [...cluster.nodes.values()];
    await cluster.addNode('node-3');
    await cluster.node('node-1').process.stop();
    const { gateway } = cluster;
    await fetch(`${gateway.url}/inventory/stores/10/items/none/count`, {
      headers: { 'x-request-id': 'asked-by-a-test' },
    });

    for (const member of [...nodes, ...cluster.gateways]) {
      for (const line of linesOf(member)) {
        expect(line.node).toBe(member.id);
        expect(new Date(line.time).toISOString()).toBe(line.time);
        expect(['debug', 'info']).toContain(line.level);
      }
    }
    const line = await (cluster.gateways[0] as ClusterMember).process.waitForLine(/"requestId":"asked-by-a-test"/);
    expect(JSON.parse(line)).toMatchObject({ level: 'debug', surface: 'rest', code: 'NOT_FOUND' });

    const changes = linesOf(cluster.node('node-1')).filter(({ msg }) => msg?.startsWith('owns the partition'));
    const gained = changes.filter(({ msg }) => msg === 'owns the partition');
    const lost = changes.filter(({ msg }) => msg === 'owns the partition no more');
    expect(gained.length).toBeGreaterThan(0);
    const epochs = (lines: LogLine[]): string[] => lines.map(({ partition, epoch }) => `${partition} ${epoch}`).sort();
    expect(new Set(epochs(gained)).size).toBe(gained.length);
    expect(epochs(lost)).toEqual(epochs(gained));
    for (const { level, partition, epoch, reason } of changes) {
      expect([level, typeof partition, typeof epoch]).toEqual(['info', 'number', 'number']);
      expect(['first', 'hand-over', 'take-over', 're-acquired', 'leaving']).toContain(reason);
    }
  });

  it('name a repeated fault once per 10 s, with a count', { timeout: 120_000 }, async () => {
    await using consul = await startConsul();
    await using cluster = await startCluster({ kafka: sharedKafka(), consul: consul.address, nodes: 1 });
    await consul.kill();
    const members = [cluster.node('node-1'), cluster.gateways[0] as ClusterMember];
    for (const member of members) {
      const faults = await eventually(
        `${member.id} has logged the fault three times`,
        () => {
          const found = linesOf(member).filter(({ msg }) => msg === 'a request to Consul failed; trying again');
          return found.length >= 3 && found;
        },
        { timeoutMs: 60_000, intervalMs: 200 },
      );
      const about = expect.objectContaining({ message: expect.stringContaining('Consul') as unknown }) as unknown;
      for (const fault of faults) expect(fault).toMatchObject({ level: 'warn', err: about });
      const [first, ...later] = faults;
      expect(first).not.toHaveProperty('repeated');
      for (const { repeated } of later) expect(repeated).toBeGreaterThan(0);
      const gapsMs = later.map(({ time }, index) => Date.parse(time) - Date.parse(faults[index]?.time ?? ''));
      for (const gapMs of gapsMs) expect(gapMs).toBeGreaterThan(FAULT_WINDOW_MS - WINDOW_TOLERANCE_MS);
    }
  });
});
