// What a node looks at before and while it trusts the topics, its data folder and the shared topology (I8). Where something
// would make counts wrong, it ends with one message that says what to do; where it only may some day, it warns; and a
// partition count that changes under it stops what it reads, not what it answers.
import { expect, it } from 'vitest';
import { Cluster, startCluster } from '../support/cluster.ts';
import type { StockEvent } from '../support/cluster-oracle.ts';
import { eventually } from '../support/eventually.ts';
import { RawKafka } from '../support/raw-kafka.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';
import { tempDir } from '../support/temp-dir.ts';
import { uniqueId } from '../support/unique.ts';

const PARTITIONS = 4;
const AT_ONCE = { TOPOLOGY_WAIT_MS: '0' };
const FOREVER = { 'retention.ms': '-1', 'retention.bytes': '-1' };

/** Names only: no topic, no folder, no process. */
function plan(): Cluster {
  return new Cluster({ kafka: sharedKafka(), consul: sharedConsul(), partitions: PARTITIONS });
}

function events(stores: readonly string[]): StockEvent[] {
  return stores.flatMap((storeId) =>
    Array.from({ length: 20 }, (_, n): StockEvent => ({ role: 'shipments', key: `${storeId}/item-${n}`, count: n })),
  );
}

/** What a node says when it ends by itself, as it must, with 1. */
async function lastWords(cluster: Cluster, id: string, env: Record<string, string> = {}): Promise<string> {
  const { process } = await cluster.launchNode(id, { LOG_LEVEL: 'silent', ...AT_ONCE, ...env });
  expect(await process.exited).toEqual({ code: 1, signal: null });
  return process.output();
}

describeWithServices('a node that starts', ['kafka', 'consul'], () => {
  it('ends where topics are missing, names them all and the command that makes them', async () => {
    await using folder = await tempDir('node');
    await using cluster = plan();
    const { shipments, sales, deadLetters } = cluster.topics;
    await new RawKafka(cluster.brokers).createTopic(sales, PARTITIONS, FOREVER);
    expect(await lastWords(cluster, 'node-1', { DATA_DIR: folder.path })).toBe(
      `topics are missing: ${shipments}, ${deadLetters}. Create them with: npm run topics -- --partitions 16 --replication-factor 3`,
    );
  });

  it('ends where the topics differ in partitions or one is compacted, and says both at once', async () => {
    await using folder = await tempDir('node');
    await using cluster = plan();
    const kafka = new RawKafka(cluster.brokers);
    const { shipments, sales, deadLetters } = cluster.topics;
    await kafka.createTopic(shipments, 4, { ...FOREVER, 'cleanup.policy': 'compact,delete' });
    await kafka.createTopic(sales, 6, FOREVER);
    await kafka.createTopic(deadLetters, 1);
    const words = await lastWords(cluster, 'node-1', { DATA_DIR: folder.path });
    expect(words).toContain(`${shipments} has cleanup.policy=compact,delete, which loses events; it must be delete`);
    expect(words).toContain(`${shipments} has 4 partitions and ${sales} 6; both must have the same number`);
    expect(words.split('\n')).toHaveLength(1);
  });

  it('warns of finite retention, of each topic that has it, and serves', async () => {
    await using folder = await tempDir('node');
    await using cluster = plan();
    const kafka = new RawKafka(cluster.brokers);
    const { shipments, sales, deadLetters } = cluster.topics;
    await kafka.createTopic(shipments, PARTITIONS, { 'retention.ms': '86400000', 'retention.bytes': '1000000' });
    await kafka.createTopic(sales, PARTITIONS, FOREVER);
    await kafka.createTopic(deadLetters, 1);
    const { process } = await cluster.addNode('node-1', { ...AT_ONCE, DATA_DIR: folder.path });
    const warnings = process
      .output()
      .split('\n')
      .map((line) => JSON.parse(line) as { level: string; msg: string })
      .filter(({ level, msg }) => level === 'warn' && msg.includes('retention'));
    expect(warnings.map(({ msg }) => msg)).toEqual([
      `${shipments} has retention.ms=86400000 and retention.bytes=1000000: events will be removed, and a node that has not read them yet will refuse. Set both to -1`,
    ]);
  });

  it('ends where its settings, or its data folder, belong to another view than the directory says', async () => {
    await using cluster = await startCluster({
      kafka: sharedKafka(),
      consul: sharedConsul(),
      partitions: PARTITIONS,
      nodes: 1,
    });
    await cluster.produce(events(['1']));
    await cluster.allKeysCorrect();
    const sameView = `the topology of APPLICATION_ID ${cluster.applicationId} in the directory disagrees with this node`;
    const words = await lastWords(cluster, 'node-2', { DEDUPE_WINDOW: '5000', START_AT: 'log-start' });
    expect(words).toContain(
      `${sameView}: dedupeWindow is 100000 there and 5000 here; startAt is zero there and log-start`,
    );
    expect(words).toContain('Start this node with the same settings, or build a new view under another APPLICATION_ID');

    // The first node's folder, once under another application id, once with other settings.
    await cluster.node('node-1').process.stop();
    const dataDir = `${cluster.folder}/node-1`;
    const other = uniqueId('inventory');
    await new RawKafka(cluster.brokers).createTopic(`${other}-dead-letters`, 1);
    expect(await lastWords(cluster, 'node-1', { APPLICATION_ID: other })).toBe(
      `DATA_DIR ${dataDir} cannot be used: it belongs to APPLICATION_ID ${cluster.applicationId}, not ${other}. Give this node another DATA_DIR, or move the old one away`,
    );
    expect(await lastWords(cluster, 'node-1', { DEDUPE_WINDOW: '5000' })).toContain(
      `DATA_DIR ${dataDir} cannot be used: dedupeWindow is 100000 there and 5000 here`,
    );

    // Refusing has touched nothing.
    await cluster.addNode('node-1');
    await cluster.allKeysCorrect();
  });
});

describeWithServices('a node that runs', ['kafka', 'consul'], () => {
  it('stops reading, not answering, when a topic is given more partitions', async () => {
    await using cluster = await startCluster({
      kafka: sharedKafka(),
      consul: sharedConsul(),
      partitions: PARTITIONS,
      nodes: 1,
    });
    const { process, http } = cluster.node('node-1');
    await cluster.produce(events(['1', '2']));
    await cluster.allKeysCorrect();
    const { shipments, sales } = cluster.topics;
    const kafka = new RawKafka(cluster.brokers);
    await kafka.growTopic(shipments, PARTITIONS + 2);
    const line = await process.waitForLine(/TOPOLOGY_MISMATCH/);
    const said = `TOPOLOGY_MISMATCH: expected ${PARTITIONS} partitions, ${shipments} has ${PARTITIONS + 2} and ${sales} ${PARTITIONS}; ingestion has stopped and reads go on.`;
    expect((JSON.parse(line) as { msg: string }).msg).toContain(said);
    expect((JSON.parse(line) as { msg: string }).msg).toContain('build a new view under another APPLICATION_ID');

    // Under the old count in either topic: none of it is read.
    const late = ['1', '2'].flatMap((storeId) =>
      [shipments, sales].map((topic) => ({ topic, key: `${storeId}/item-1`, value: '1000' })),
    );
    await kafka.write(late, { partitions: PARTITIONS });
    const reads = cluster.watchReads();
    await eventually('the fault was told again since', () => process.output().split('TOPOLOGY_MISMATCH').length > 2, {
      timeoutMs: 30_000,
    });
    expect(await reads.end()).toEqual({ wrong: [], failed: [] });
    await cluster.allKeysCorrect();
    expect(await http.get('/readyz')).toMatchObject({ status: 200, body: { ready: true, refused: [] } });

    // A start would have to place keys elsewhere: refused, not guessed.
    await process.stop();
    expect(await lastWords(cluster, 'node-1')).toContain(
      `${shipments} has ${PARTITIONS + 2} partitions and ${sales} ${PARTITIONS}; both must have the same number`,
    );
    await kafka.growTopic(sales, PARTITIONS + 2);
    expect(await lastWords(cluster, 'node-1')).toContain(
      `partitions is ${PARTITIONS} there and ${PARTITIONS + 2} here`,
    );
  });
});
