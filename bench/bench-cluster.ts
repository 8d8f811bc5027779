// What a measurement runs against: Kafka and Consul of its own, topics filled beforehand, and nodes and gateways as
// processes with the commands that deployments use.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KafkaEventLog } from '../cluster/kafka-event-log.ts';
import { type StartedProcess, startProcess } from '../test/support/child-process.ts';
import { startConsul } from '../test/support/consul-server.ts';
import { eventually } from '../test/support/eventually.ts';
import { freePort } from '../test/support/free-port.ts';
import { startKafka } from '../test/support/kafka-server.ts';
import { tempDir } from '../test/support/temp-dir.ts';
import { produceEvents } from '../tools/producer.ts';
import { requiredTopics, setUpTopics } from '../tools/topic-setup.ts';

const TOPICS = { shipments: 'shipments', sales: 'sales' };
const SALES_SHARE = 0.8;
const START_TIMEOUT_MS = 60_000;

export interface BenchSize {
  readonly events: number;
  readonly stores: number;
  readonly items: number;
  readonly partitions: number;
  readonly readSeconds: number;
  /** Runs of each read measurement, of which the median is shown. */
  readonly rounds: number;
}

/** A node or gateway process under measurement. */
export interface BenchProcess {
  readonly url: string;
  readonly process: StartedProcess;
  /** Peak of its resident memory so far. */
  peakRssBytes(): Promise<number>;
}

export interface BenchCluster extends AsyncDisposable {
  /** Starts the program in `main`, e.g. `node/main.ts`, without waiting for it. */
  start(name: string, main: string, env?: Readonly<Record<string, string>>): Promise<BenchProcess>;
}

/** Starts Kafka and Consul and writes the events of `size` into the topics. */
export async function startBenchCluster(size: BenchSize): Promise<BenchCluster> {
  const started: AsyncDisposable[] = [];
  const kept = <Resource extends AsyncDisposable>(resource: Resource): Resource => {
    started.push(resource);
    return resource;
  };
  const kafka = kept(await startKafka());
  const consul = kept(await startConsul());
  const folder = kept(await tempDir('bench'));
  await fillTopics(kafka.brokers, size);
  const start: BenchCluster['start'] = async (name, main, env = {}) => {
    const port = await freePort();
    const addresses = { KAFKA_BROKERS: kafka.brokers, CONSUL_HTTP_ADDR: consul.address, HTTP_PORT: String(port) };
    const own = { NODE_ID: name, DATA_DIR: join(folder.path, name), TOPOLOGY_WAIT_MS: '0', LOG_LEVEL: 'warn' };
    const args = ['--import', 'tsx', main];
    const program = kept(
      startProcess({ name, command: process.execPath, args, env: { ...addresses, ...own, ...env } }),
    );
    return { url: `http://127.0.0.1:${port}`, process: program, peakRssBytes: () => peakRssBytes(program.pid) };
  };
  const dispose = async (): Promise<void> => {
    for (const resource of started.toReversed()) await resource[Symbol.asyncDispose]();
  };
  return { start, [Symbol.asyncDispose]: dispose };
}

/** Resolves once `/readyz` answers 200: a node's first placed shards serve, a gateway has a routing table. */
export async function ready({ url, process }: BenchProcess): Promise<void> {
  const check = async (): Promise<boolean> => (await fetch(`${url}/readyz`).catch(() => undefined))?.status === 200;
  const exited = process.exited.then(() => Promise.reject(process.failure('exited before it was ready')));
  const isReady = eventually(`${process.name} is ready`, check, { timeoutMs: START_TIMEOUT_MS, intervalMs: 20 });
  await Promise.race([isReady, exited]);
}

async function fillTopics(brokers: string, size: BenchSize): Promise<void> {
  const settings = { brokers: brokers.split(','), ssl: undefined, sasl: undefined, clientId: 'bench' };
  const eventLog = new KafkaEventLog({ settings, log: () => undefined });
  const specs = requiredTopics({
    applicationId: 'inventory',
    topics: TOPICS,
    partitions: size.partitions,
    replicationFactor: 1,
  });
  await setUpTopics(eventLog, { specs, waitMs: START_TIMEOUT_MS });
  const { events, stores, items } = size;
  const plan = { seed: 1, events, stores, items, salesShare: SALES_SHARE, eventIds: false };
  const writer = await eventLog.openWriter({ name: 'bench' });
  const run = { writer, plan, topics: TOPICS, ratePerS: undefined, signal: new AbortController().signal };
  const { acknowledged, error } = await produceEvents({ ...run, onAcknowledged: () => undefined });
  await writer.close();
  await eventLog.close();
  if (acknowledged !== events)
    throw new Error(`only ${acknowledged} of ${events} events were written`, { cause: error });
}

async function peakRssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1] ?? Number.NaN) * 1_024;
}
