// A log that no longer fits what a shard has folded (I8): its topic was deleted and made again under the same name, or
// records were removed before they were read. Counts of two logs must never be added up: each shard that is concerned
// refuses with a reason that says what to do, and reads fail with a code, they do not answer with less or with a mix.
import { expect, it } from 'vitest';
import { type Cluster, type ClusterMember, ready, startCluster } from '../support/cluster.ts';
import type { StockEvent } from '../support/cluster-oracle.ts';
import { eventually } from '../support/eventually.ts';
import { javaPartitionOf } from '../support/oracle.ts';
import { parseExposition, sumOf } from '../support/prometheus.ts';
import { RawKafka } from '../support/raw-kafka.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';
import { uniqueId } from '../support/unique.ts';

const PARTITIONS = 4;
const KEYS_PER_PARTITION = 6;
const ROUNDS = 2;
/** Records in each partition of each topic, before something happens to it. */
const RECORDS = KEYS_PER_PARTITION * ROUNDS;
/** Longer than the grace time of a log that ends too early. */
const REFUSED_TIMEOUT_MS = 30_000;

/** Equally many keys for each partition. */
const KEYS = Array.from({ length: PARTITIONS }, (_, partition) => {
  const all = Array.from({ length: 200 }, (_key, n) => `store-${n % 3}/item-${n}`);
  return all.filter((key) => javaPartitionOf(Buffer.from(key), PARTITIONS) === partition).slice(0, KEYS_PER_PARTITION);
});

interface Readiness {
  readonly ready: boolean;
  readonly refused: readonly { readonly partition: number; readonly reason: string }[];
}

async function startFilled(): Promise<Cluster> {
  const cluster = await startCluster({
    kafka: sharedKafka(),
    consul: sharedConsul(),
    nodes: 1,
    partitions: PARTITIONS,
  });
  await cluster.produce(
    Array.from({ length: ROUNDS }, () =>
      KEYS.flat().flatMap((key, n): StockEvent[] => [
        { role: 'shipments', key, count: 100 + n },
        { role: 'sales', key, count: 1 + n },
      ]),
    ).flat(),
  );
  await cluster.allKeysCorrect();
  return cluster;
}

/** Deletes the sales topic, makes it again, and fills partition p with `lengths[p]` other sales of the same keys. */
async function recreateSales(cluster: Cluster, lengths: readonly number[]): Promise<void> {
  const kafka = new RawKafka(cluster.brokers);
  const topic = cluster.topics.sales;
  await kafka.recreateTopic(topic);
  const records = lengths.flatMap((length, partition) =>
    Array.from({ length }, (_, n) => ({ topic, key: KEYS[partition]?.[n % KEYS_PER_PARTITION] ?? '', value: '7' })),
  );
  await kafka.write(records, { partitions: PARTITIONS });
}

/** Grown past the old position, of its length, shorter, and empty. */
const NEW_LENGTHS = [RECORDS + 8, RECORDS, RECORDS - 7, 0];
/** Far longer than a node may go without a fetch. */
const SUSPENDED_MS = 2_000;

/**
 * Stops the process as a suspended machine would, between two fetches: records that change nothing let the broker answer
 * the one that is under way, so that it has none to tell of what happens to the topic next.
 */
async function suspend(cluster: Cluster, { process }: ClusterMember): Promise<{ resume(): Promise<void> }> {
  process.kill('SIGSTOP');
  const suspendedAt = performance.now();
  const nothing = KEYS.map(([key = '']) => ({ topic: cluster.topics.sales, key, value: '0' }));
  await new RawKafka(cluster.brokers).write(nothing, { partitions: PARTITIONS });
  return {
    async resume() {
      await eventually('it was suspended long enough', () => performance.now() - suspendedAt >= SUSPENDED_MS);
      process.kill('SIGCONT');
    },
  };
}

/** Waits until the node refuses every partition; the reasons in the order of partitions. */
async function allRefused({ id, http }: ClusterMember): Promise<string[]> {
  return eventually(
    `${id} refuses every partition`,
    async () => {
      const { refused } = (await http.get('/readyz')).body as Readiness;
      if (refused.length < PARTITIONS) return undefined;
      return [...refused].sort((a, b) => a.partition - b.partition).map(({ reason }) => reason);
    },
    { timeoutMs: REFUSED_TIMEOUT_MS },
  );
}

/** What an operator finds: the reason of each partition in the log at level error, and the state among the metrics. */
async function expectSeenFromOutside({ process, http }: ClusterMember, reasons: readonly string[]): Promise<void> {
  const errors = process
    .output()
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as { level: string; partition?: number; reason?: string })
    .filter(({ level }) => level === 'error');
  for (const [partition, reason] of reasons.entries()) {
    expect(errors).toContainEqual(expect.objectContaining({ partition, reason }));
  }
  const metrics = parseExposition((await http.get('/metrics')).body as string);
  expect(sumOf(metrics, 'stockroom_shard_state', { state: 'refused' })).toBe(PARTITIONS);
  expect(sumOf(metrics, 'stockroom_shard_state', { state: 'serving' })).toBe(0);
}

/** Every surface fails with a code; none says "unknown", zero or an old number. */
async function expectErrorsNotAnswers({ gateway }: Cluster, node: ClusterMember): Promise<void> {
  await eventually('the gateway has heard of it', async () => {
    const answer = await gateway.query('{ totals { items } store(id: "store-0") { totals { items } } }');
    expect(answer.data).toEqual({ totals: null, store: null });
    expect(answer.errors?.map(({ extensions }) => extensions?.code)).toEqual([
      'INCOMPLETE_RESULT',
      'INCOMPLETE_RESULT',
    ]);
    return true;
  });
  const keys = KEYS.flat().map((key) => ({ storeId: key.split('/')[0], itemId: key.split('/')[1] }));
  const query = 'query ($keys: [InventoryKeyInput!]!) { inventories(keys: $keys) { onHand } }';
  const { data, errors } = await gateway.query(query, { keys });
  expect(data).toEqual({ inventories: keys.map(() => null) });
  expect(errors?.map(({ path, extensions }) => [path?.[1], extensions?.code, extensions?.retryable])).toEqual(
    keys.map((_, index) => [index, 'OWNER_UNAVAILABLE', true]),
  );
  for (const http of [gateway, node.http]) {
    const answer = await http.rest(keys[0]?.storeId ?? '', keys[0]?.itemId ?? '');
    expect([answer.status, (answer.body as { code: string }).code]).toEqual([503, 'OWNER_UNAVAILABLE']);
  }
}

describeWithServices('a topic that was deleted and made again', ['kafka', 'consul'], () => {
  it('is refused, however long the new log is, while the node runs', async () => {
    await using cluster = await startFilled();
    const node = cluster.node('node-1');
    await using reads = cluster.watchReads();
    await recreateSales(cluster, NEW_LENGTHS);

    const reasons = await allRefused(node);
    const { sales } = cluster.topics;
    const whatToDo =
      'Counts built from the old log cannot be continued with it: restore the topic, or build a new view under another APPLICATION_ID';
    expect(reasons).toEqual([
      `${sales} partition 0 holds another record at offset ${RECORDS - 1} than the one consumed there: the topic was recreated. ${whatToDo}`,
      `${sales} partition 1 holds another record at offset ${RECORDS - 1} than the one consumed there: the topic was recreated. ${whatToDo}`,
      `${sales} partition 2 ends at offset ${RECORDS - 7}, but ${RECORDS} is the next one needed: the topic was recreated or lost its end. ${whatToDo}`,
      `${sales} partition 3 ends at offset 0, but ${RECORDS} is the next one needed: the topic was recreated or lost its end. ${whatToDo}`,
    ]);

    // Until then the old state may be read, as one; from here on nothing.
    const { wrong, failed } = await reads.end();
    expect(wrong).toEqual([]);
    expect(failed.length).toBeGreaterThan(0);
    await expectSeenFromOutside(node, reasons);
    await expectErrorsNotAnswers(cluster, node);
  });

  it('is refused, grown past the position, when the node was suspended meanwhile and heard of nothing', async () => {
    await using cluster = await startFilled();
    const node = cluster.node('node-1');
    await using reads = cluster.watchReads();
    const suspended = await suspend(cluster, node);
    await recreateSales(cluster, [RECORDS + 8, RECORDS + 9, RECORDS + 10, RECORDS + 11]);
    await suspended.resume();

    const reasons = await allRefused(node);
    expect(reasons.filter((reason) => !reason.includes('holds another record at offset'))).toEqual([]);
    expect((await reads.end()).wrong).toEqual([]);
    await expectSeenFromOutside(node, reasons);
    await expectErrorsNotAnswers(cluster, node);
  });

  it('is refused, however long the new log is, when the node was stopped meanwhile', async () => {
    await using cluster = await startFilled();
    await cluster.node('node-1').process.stop();
    await recreateSales(cluster, NEW_LENGTHS);
    await using reads = cluster.watchReads();
    const node = await cluster.launchNode('node-1');

    const reasons = await allRefused(node);
    expect(reasons[0]).toContain(`partition 0 holds another record at offset ${RECORDS - 1} than`);
    expect(reasons[1]).toContain(`partition 1 holds another record at offset ${RECORDS - 1} than`);
    expect(reasons[2]).toContain(`partition 2 ends at offset ${RECORDS - 7}, but ${RECORDS} is the next one`);
    expect(reasons[3]).toContain(`partition 3 ends at offset 0, but ${RECORDS} is the next one`);
    expect(await node.http.get('/readyz')).toMatchObject({ status: 503, body: { ready: false } });
    expect((await reads.end()).wrong).toEqual([]);
    await expectSeenFromOutside(node, reasons);
    await expectErrorsNotAnswers(cluster, node);
  });
});

describeWithServices('a log that has lost its beginning', ['kafka', 'consul'], () => {
  it('is refused only where records were removed that had not been read', async () => {
    await using cluster = await startFilled();
    const kafka = new RawKafka(cluster.brokers);
    const { shipments, sales } = cluster.topics;
    await cluster.node('node-1').process.stop();
    await kafka.removeRecordsBefore(shipments, RECORDS);
    await cluster.addNode('node-1');
    await cluster.allKeysCorrect();

    await cluster.node('node-1').process.stop();
    const unread = KEYS.flat().map((key) => ({ topic: sales, key, value: '1' }));
    await kafka.write(unread, { partitions: PARTITIONS });
    await kafka.removeRecordsBefore(sales, RECORDS + 2);
    const node = await cluster.launchNode('node-1');
    const reasons = await allRefused(node);
    for (const [partition, reason] of reasons.entries()) {
      expect(reason).toContain(
        `${sales} partition ${partition} begins at offset ${RECORDS + 2}, but ${RECORDS} is the next one needed: records were removed unread. Stop the node, set retention.ms=-1 and retention.bytes=-1 on the topic, and rebuild`,
      );
    }
    await expectSeenFromOutside(node, reasons);
    await expectErrorsNotAnswers(cluster, node);
  });

  it('is refused by a first start, unless START_AT=log-start says that it is meant', async () => {
    await using cluster = await startCluster({
      kafka: sharedKafka(),
      consul: sharedConsul(),
      nodes: 0,
      gateways: 0,
      partitions: PARTITIONS,
    });
    const kafka = new RawKafka(cluster.brokers);
    const { shipments, sales } = cluster.topics;
    const written = KEYS.flat().flatMap((key) => [
      { topic: shipments, key, value: '50' },
      { topic: sales, key, value: '3' },
    ]);
    await kafka.write([...written, ...written], { partitions: PARTITIONS });
    await kafka.removeRecordsBefore(sales, KEYS_PER_PARTITION);

    const node = await cluster.launchNode('node-1', { TOPOLOGY_WAIT_MS: '0' });
    const reasons = await allRefused(node);
    for (const [partition, reason] of reasons.entries()) {
      expect(reason).toContain(
        `${sales} partition ${partition} begins at offset ${KEYS_PER_PARTITION}, but 0 is the next one needed: records were removed unread.`,
      );
      expect(reason).toContain('if that is meant, start every node with START_AT=log-start under a new APPLICATION_ID');
    }
    await expectSeenFromOutside(node, reasons);
    await cluster.addGateway();
    await expectErrorsNotAnswers(cluster, node);

    const other = { APPLICATION_ID: uniqueId('inventory'), START_AT: 'log-start', TOPOLOGY_WAIT_MS: '0' };
    await kafka.createTopic(`${other.APPLICATION_ID}-dead-letters`, 1, { 'cleanup.policy': 'compact' });
    const knowing = await cluster.addNode('node-2', other);
    const gateway = await cluster.addGateway({ APPLICATION_ID: other.APPLICATION_ID });
    cluster.expectAlso(
      KEYS.flat().flatMap((key): StockEvent[] => [
        { role: 'shipments', key, count: 100 },
        { role: 'sales', key, count: 3 },
      ]),
    );
    await cluster.allKeysCorrect(gateway.http);

    // Once made so, a node that would start at zero disagrees with the view.
    await knowing.process.stop();
    const { process } = await cluster.launchNode('node-3', { ...other, START_AT: 'zero' });
    expect(await process.exited).toEqual({ code: 1, signal: null });
    expect(process.output()).toContain('startAt is log-start there and zero here');
    await ready(await cluster.launchNode('node-2', other));
    await cluster.allKeysCorrect(gateway.http);
  });
});
