// The command-line tools as an operator runs them, against a real Kafka: what they print, what they exit with, and that
// the log holds what they say.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { expect, it } from 'vitest';
import { partitionOfKey } from '../../schema/partitioner.ts';
import { startProcess, type StartedProcess } from '../support/child-process.ts';
import { PROJECT_FOLDER } from '../support/compose-file.ts';
import { eventually } from '../support/eventually.ts';
import { startKafka } from '../support/kafka-server.ts';
import { describeWithServices, sharedKafka } from '../support/services.ts';
import { tempDir } from '../support/temp-dir.ts';
import { uniqueDeployment, uniqueId } from '../support/unique.ts';

const PARTITIONS = 12;

type Deployment = ReturnType<typeof uniqueDeployment>;

function runTool(
  tool: 'topics' | 'produce',
  args: readonly string[],
  { brokers = sharedKafka(), deployment }: { brokers?: string; deployment: Deployment },
): StartedProcess {
  return startProcess({
    name: tool,
    command: process.execPath,
    args: ['--import', 'tsx', `tools/${tool}.ts`, ...args],
    cwd: PROJECT_FOLDER,
    env: {
      KAFKA_BROKERS: brokers,
      APPLICATION_ID: deployment.applicationId,
      SHIPMENTS_TOPIC: deployment.shipmentsTopic,
      SALES_TOPIC: deployment.salesTopic,
    },
  });
}

async function finish(program: StartedProcess): Promise<{ code: number | null; output: string }> {
  await using running = program;
  const { code } = await running.exited;
  return { code, output: running.output() };
}

const topicArgs = (partitions: number, ...more: string[]): string[] => [
  '--partitions',
  String(partitions),
  '--replication-factor',
  '1',
  ...more,
];

/** A deployment whose topics exist. */
async function deploymentWithTopics(): Promise<Deployment> {
  const deployment = uniqueDeployment();
  expect(await finish(runTool('topics', topicArgs(PARTITIONS), { deployment }))).toMatchObject({ code: 0 });
  return deployment;
}

/** Everything in both topics, summed by key by code that shares nothing with the tools. */
async function foldTopics({ shipmentsTopic, salesTopic }: Deployment): Promise<{
  sums: Map<string, { received: number; sold: number }>;
  records: number;
  misplaced: string[];
}> {
  const kafka = new Kafka({ brokers: [sharedKafka()], clientId: 'tools-test', logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  const topics = [shipmentsTopic, salesTopic];
  const ends = (await Promise.all(topics.map((topic) => admin.fetchTopicOffsets(topic)))).flat();
  await admin.disconnect();
  const total = ends.reduce((sum, { high }) => sum + Number(high), 0);
  const folded = { sums: new Map<string, { received: number; sold: number }>(), records: 0, misplaced: [] as string[] };
  const consumer = kafka.consumer({ groupId: uniqueId('reader'), allowAutoTopicCreation: false });
  await consumer.connect();
  await consumer.subscribe({ topics, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ topic, partition, message }) => {
      const key = String(message.key);
      const sums = folded.sums.get(key) ?? { received: 0, sold: 0 };
      sums[topic === shipmentsTopic ? 'received' : 'sold'] += Number(String(message.value));
      folded.sums.set(key, sums);
      folded.records += 1;
      if (partition !== partitionOfKey(key, PARTITIONS)) folded.misplaced.push(`${key} in ${partition}`);
    },
  });
  await eventually(`${total} records read`, () => folded.records >= total, { timeoutMs: 60_000 });
  await consumer.disconnect();
  return folded;
}

function readOracle(path: string): Map<string, { received: number; sold: number }> {
  const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return new Map(
    lines.map((line) => {
      const { key, received, sold } = JSON.parse(line) as { key: string; received: number; sold: number };
      return [key, { received, sold }];
    }),
  );
}

describeWithServices('npm run topics', ['kafka'], () => {
  it('creates what is missing, then finds everything as expected', async () => {
    const deployment = uniqueDeployment();
    const { applicationId, shipmentsTopic, salesTopic } = deployment;
    const names = [shipmentsTopic, salesTopic, `${applicationId}-dead-letters`];
    const first = await finish(runTool('topics', topicArgs(PARTITIONS), { deployment }));
    expect(first).toEqual({ code: 0, output: names.map((name) => `${name}: created`).join('\n') });
    const second = await finish(runTool('topics', topicArgs(PARTITIONS), { deployment }));
    expect(second).toEqual({ code: 0, output: names.map((name) => `${name}: as expected`).join('\n') });
  });

  it('says what differs, exits with 1 and alters nothing', async () => {
    const deployment = await deploymentWithTopics();
    const more = await finish(runTool('topics', topicArgs(PARTITIONS * 2), { deployment }));
    expect(more.code).toBe(1);
    expect(more.output).toContain(
      `${deployment.salesTopic}: differs (left alone): partitions is ${PARTITIONS}, expected ${PARTITIONS * 2}`,
    );
    expect(await finish(runTool('topics', topicArgs(PARTITIONS), { deployment }))).toMatchObject({ code: 0 });
  });

  it('takes the topics’ names as options too', async () => {
    const deployment = uniqueDeployment();
    const [shipments, sales] = [uniqueId('in'), uniqueId('out')];
    const args = topicArgs(1, '--shipments', shipments, '--sales', sales);
    const { code, output } = await finish(runTool('topics', args, { deployment }));
    expect([code, output]).toEqual([0, expect.stringContaining(`${shipments}: created\n${sales}: created`)]);
  });

  it('exits with 2 for what the broker will not have, wrong options, and a Kafka out of reach', async () => {
    const deployment = uniqueDeployment();
    const tooMany = ['--partitions', '1', '--replication-factor', '3'];
    const refused = await finish(runTool('topics', tooMany, { deployment }));
    expect(refused).toEqual({ code: 2, output: expect.stringContaining('INVALID_REPLICATION_FACTOR') });
    const wrong = await finish(runTool('topics', ['--partitions', '0', '--bogus'], { deployment }));
    expect(wrong.code).toBe(2);
    expect(wrong.output).toMatch(/3 faults[^]*--bogus[^]*--partitions[^]*--replication-factor/);
    const unreachable = await finish(
      runTool('topics', topicArgs(1, '--wait-ms', '0'), { deployment, brokers: '127.0.0.1:1' }),
    );
    expect(unreachable).toEqual({ code: 2, output: expect.stringContaining('ECONNREFUSED') });
  });

  it('waits for a broker that is still starting', async () => {
    await using kafka = await startKafka();
    await kafka.stop();
    await using topics = runTool('topics', topicArgs(1, '--wait-ms', '90000'), {
      deployment: uniqueDeployment(),
      brokers: kafka.brokers,
    });
    await kafka.start();
    expect((await topics.exited).code).toBe(0);
    expect(topics.output()).toMatch(/created$/);
  });
});

describeWithServices('npm run produce', ['kafka'], () => {
  it('fills the topics with what its oracle says, each key where Java would put it', async () => {
    await using folder = await tempDir('produce');
    const oracle = join(folder.path, 'oracle.jsonl');
    const deployment = await deploymentWithTopics();
    const args = ['--events', '20000', '--stores', '30', '--items', '20', '--seed', '42', '--oracle', oracle];
    const { code, output } = await finish(runTool('produce', args, { deployment }));
    expect(code).toBe(0);
    expect(output).toMatch(/20000 of 20000 events \(100%\), \d+\/s\n20000 of 20000 events acknowledged$/);
    const log = await foldTopics(deployment);
    expect(log).toMatchObject({ records: 20_000, misplaced: [] });
    const expected = readOracle(oracle);
    expect(log.sums).toEqual(expected);
    expect([...expected.keys()]).toEqual([...expected.keys()].sort((a, b) => (a < b ? -1 : 1)));
  });

  it('stops on Ctrl-C with an oracle of exactly what the log holds', async () => {
    await using folder = await tempDir('produce');
    const oracle = join(folder.path, 'oracle.jsonl');
    const deployment = await deploymentWithTopics();
    const plan = ['--events', '5000000', '--stores', '5', '--items', '5', '--seed', '1', '--rate', '4000'];
    await using producing = runTool('produce', [...plan, '--event-ids', '--oracle', oracle], { deployment });
    await producing.waitForLine(/ of 5000000 events \(0%\)/);
    producing.kill('SIGINT');
    expect(await producing.exited).toEqual({ code: 130, signal: null });
    const acknowledged = Number(/(\d+) of 5000000 events acknowledged$/.exec(producing.output())?.[1]);
    expect(acknowledged).toBeGreaterThan(0);
    const log = await foldTopics(deployment);
    expect(log.records).toBe(acknowledged);
    expect(log.sums).toEqual(readOracle(oracle));
  });

  it('exits with 2 where the topics are missing or differ in partitions, saying what to do', async () => {
    const deployment = uniqueDeployment();
    const plan = ['--events', '10', '--stores', '1', '--items', '1', '--seed', '1'];
    const missing = await finish(runTool('produce', plan, { deployment }));
    expect(missing.code).toBe(2);
    expect(missing.output).toMatch(/SHIPMENTS_TOPIC: expected [^]*SALES_TOPIC: expected .*npm run topics/);
    const uneven = { ...deployment, salesTopic: (await deploymentWithTopics()).salesTopic };
    expect(await finish(runTool('topics', topicArgs(3), { deployment: uneven }))).toMatchObject({ code: 1 });
    const differing = await finish(runTool('produce', plan, { deployment: uneven }));
    expect(differing).toEqual({
      code: 2,
      output: expect.stringMatching(/SALES_TOPIC: expected 3 partitions .*got 12/),
    });
  });

  it('exits with 2 before the first event for wrong options or an oracle it cannot write', async () => {
    const deployment = uniqueDeployment();
    const wrong = await finish(runTool('produce', ['--events', '1e6', '--sales-share', '80'], { deployment }));
    expect(wrong.code).toBe(2);
    expect(wrong.output).toMatch(/5 faults[^]*--events[^]*--stores[^]*--items[^]*--seed[^]*--sales-share/);
    const plan = ['--events', '1', '--stores', '1', '--items', '1', '--seed', '1'];
    const unwritable = await finish(runTool('produce', [...plan, '--oracle', '/nowhere/oracle'], { deployment }));
    expect(unwritable).toEqual({ code: 2, output: expect.stringMatching(/--oracle: .*ENOENT/) });
  });
});
