// A whole cluster for system tests: nodes and gateways as processes of their own on a real Kafka and Consul, with topics
// and an application id of the test's own, and an oracle of what every key must answer.
//
// The oracle counts what the log acknowledged, in bigints, and shares no code with the product. A record that another
// producer wrote is made known by `expectAlso`.
import { join } from 'node:path';
import type { LogWriter } from '../../cluster/event-log.ts';
import { KafkaEventLog } from '../../cluster/kafka-event-log.ts';
import { deadLettersTopic } from '../../cluster/shared-settings.ts';
import { requiredTopics, setUpTopics } from '../../tools/topic-setup.ts';
import { type StartedProcess, startProcess } from './child-process.ts';
import { ClusterOracle, type StockEvent } from './cluster-oracle.ts';
import { PROJECT_FOLDER } from './compose-file.ts';
import { Disposables } from './disposables.ts';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { HttpService } from './http-service.ts';
import { ReadWatch } from './read-watch.ts';
import { tempDir } from './temp-dir.ts';
import { uniqueDeployment } from './unique.ts';

const PARTITIONS = 12;
const READY_TIMEOUT_MS = 60_000;
const VISIBLE_TIMEOUT_MS = 60_000;
const TOPICS_WAIT_MS = 10_000;
const APPEND_TIMEOUT_MS = 10_000;
const CHECK_INTERVAL_MS = 100;

export interface ClusterOptions {
  /** `host:port` of the broker. */
  readonly kafka: string;
  /** `host:port` of the agent. */
  readonly consul: string;
  /** Called `node-1`, `node-2` … Default 2. */
  readonly nodes?: number;
  /** Default 1. */
  readonly gateways?: number;
  /** Default 12: no power of two, so that a wrong sign mask shows. */
  readonly partitions?: number;
  /** For every process, over the settings of the fixture. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One node or gateway and its process. */
export interface ClusterMember {
  readonly id: string;
  readonly process: StartedProcess;
  readonly http: HttpService;
}

/** Starts everything and resolves once all of it is ready. */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const { nodes = 2, gateways = 1 } = options;
  const cluster = new Cluster(options);
  try {
    await cluster.prepare();
    await Promise.all(Array.from({ length: nodes }, (_, index) => cluster.addNode(`node-${index + 1}`)));
    await Promise.all(Array.from({ length: gateways }, () => cluster.addGateway()));
    if (nodes > 0 && gateways > 0) await cluster.allOwned();
    return cluster;
  } catch (error) {
    await cluster[Symbol.asyncDispose]();
    throw error;
  }
}

export class Cluster implements AsyncDisposable {
  readonly applicationId: string;
  readonly topics: { readonly shipments: string; readonly sales: string; readonly deadLetters: string };
  readonly partitions: number;
  readonly brokers: string;
  /** What every key must answer. */
  readonly oracle = new ClusterOracle();
  /** By id; a node that was stopped or killed stays here until it is added again. */
  readonly nodes = new Map<string, ClusterMember>();
  readonly gateways: ClusterMember[] = [];
  readonly #options: ClusterOptions;
  readonly #resources = new Disposables();
  readonly #log: KafkaEventLog;
  #folder = '';
  #writer: LogWriter | undefined;

  /** Nothing is there yet but the names; see `prepare`. */
  constructor(options: ClusterOptions) {
    const { applicationId, shipmentsTopic, salesTopic } = uniqueDeployment();
    this.applicationId = applicationId;
    this.topics = { shipments: shipmentsTopic, sales: salesTopic, deadLetters: deadLettersTopic(applicationId) };
    this.partitions = options.partitions ?? PARTITIONS;
    this.brokers = options.kafka;
    this.#options = options;
    const settings = { brokers: [options.kafka], ssl: undefined, sasl: undefined, clientId: 'cluster-fixture' };
    this.#log = new KafkaEventLog({ settings, log: () => undefined });
    this.#resources.defer(() => this.#log.close());
  }

  /** Makes the topics. Call once, before anything is started. */
  async prepare(): Promise<void> {
    const { applicationId, topics, partitions } = this;
    this.#folder = this.#resources.use(await tempDir('cluster')).path;
    const specs = requiredTopics({ applicationId, topics, partitions, replicationFactor: 1 });
    await setUpTopics(this.#log, { specs, waitMs: TOPICS_WAIT_MS });
  }

  /** The first one. */
  get gateway(): HttpService {
    const [first] = this.gateways;
    if (first === undefined) throw new Error('the cluster has no gateway');
    return first.http;
  }

  /** Holds the nodes' disks, each in a folder of the node's id. */
  get folder(): string {
    return this.#folder;
  }

  /** The log, for a test that needs more of it. */
  get log(): KafkaEventLog {
    return this.#log;
  }

  /** A node by its id. */
  node(id: string): ClusterMember {
    const member = this.nodes.get(id);
    if (member === undefined) throw new Error(`the cluster has no node ${id}`);
    return member;
  }

  /** Starts a node, on the disk and the port that it had before if it had some, and resolves once it is ready. */
  async addNode(id: string, env: Readonly<Record<string, string>> = {}): Promise<ClusterMember> {
    const member = await this.launchNode(id, env);
    this.nodes.set(id, member);
    await ready(member);
    return member;
  }

  /** Starts a node's process and does not wait; `addNode` is for all tests but those of the start. */
  async launchNode(id: string, env: Readonly<Record<string, string>> = {}): Promise<ClusterMember> {
    const port = this.nodes.get(id)?.http.port ?? (await freePort());
    const dataDir = join(this.#folder, id);
    return this.#launch('node/main.ts', { id, port, env: { NODE_ID: id, DATA_DIR: dataDir, ...env } });
  }

  /** Starts a gateway and resolves once it is ready. */
  async addGateway(env: Readonly<Record<string, string>> = {}): Promise<ClusterMember> {
    const member = await this.launchGateway(env);
    await ready(member);
    return member;
  }

  /** Starts a gateway's process and does not wait. It becomes the last of `gateways`. */
  async launchGateway(env: Readonly<Record<string, string>> = {}): Promise<ClusterMember> {
    const port = await freePort();
    const member = this.#launch('gateway/main.ts', { id: `gateway-${port}`, port, env });
    this.gateways.push(member);
    return member;
  }

  /** The environment of a process of this cluster. */
  environment(): Record<string, string> {
    return {
      KAFKA_BROKERS: this.#options.kafka,
      CONSUL_HTTP_ADDR: this.#options.consul,
      APPLICATION_ID: this.applicationId,
      SHIPMENTS_TOPIC: this.topics.shipments,
      SALES_TOPIC: this.topics.sales,
      ...this.#options.env,
    };
  }

  /** Appends events, in order per key, and adds them to the oracle once they are acknowledged. */
  async produce(events: readonly StockEvent[]): Promise<void> {
    const records = events.map(({ role, key, count }) => ({ topic: this.topics[role], key, value: String(count) }));
    this.#writer ??= await this.#log.openWriter({ name: 'cluster-fixture' });
    await this.#writer.append(records, { timeoutMs: APPEND_TIMEOUT_MS });
    this.expectAlso(events);
  }

  /** Adds events to the oracle that another producer has written. */
  expectAlso(events: readonly StockEvent[]): void {
    for (const event of events) this.oracle.add(event);
  }

  /** Waits until every key, every store and the chain answer what the oracle says; throws with the differences. */
  async allKeysCorrect(via: HttpService = this.gateway): Promise<void> {
    await eventually(
      'every key, store and total is what the log adds up to',
      async () => {
        const { wrong, failed } = await this.oracle.compare(via);
        if (wrong.length + failed.length > 0) throw new Error([...wrong, ...failed].join('\n'));
        return true;
      },
      { timeoutMs: VISIBLE_TIMEOUT_MS, intervalMs: CHECK_INTERVAL_MS },
    );
  }

  /** Reads what is known by now, over and over, until it is ended: see ReadWatch. */
  watchReads(via: readonly HttpService[] = [this.gateway]): ReadWatch {
    return new ReadWatch(this.oracle.copy(), via);
  }

  /** Waits until the first gateway can read every partition. */
  async allOwned(): Promise<void> {
    await eventually(
      'every partition is owned',
      async () => {
        const { body } = await this.gateway.get('/readyz');
        const table = (body as { routingTable: { owned: number } | null }).routingTable;
        if (table?.owned !== this.partitions) return false;
        const { data } = await this.gateway.query<{ totals: object | null }>('{ totals { items } }');
        return data?.totals !== null && data?.totals !== undefined;
      },
      { timeoutMs: READY_TIMEOUT_MS },
    );
  }

  /** Kills what still runs, the latest first. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources[Symbol.asyncDispose]();
  }

  #launch(
    program: string,
    { id, port, env }: { id: string; port: number; env: Record<string, string> },
  ): ClusterMember {
    const started = startProcess({
      name: id,
      command: process.execPath,
      args: ['--import', 'tsx', program],
      cwd: PROJECT_FOLDER,
      env: { ...this.environment(), HTTP_PORT: String(port), ...env },
    });
    this.#resources.use(started);
    return { id, process: started, http: new HttpService(port) };
  }
}

/** Waits until it answers 200 on /readyz; fails at once, with its output, when it exits instead. */
export async function ready({ id, process: started, http }: ClusterMember): Promise<void> {
  const outcome = await eventually(
    `${id} is ready`,
    async () => {
      if (!started.running) return 'exited';
      return (await http.get('/readyz')).status === 200 && 'ready';
    },
    { timeoutMs: READY_TIMEOUT_MS },
  ).catch((error: unknown) => {
    throw started.failure(String(error));
  });
  if (outcome === 'exited') throw started.failure('exited before it was ready');
}
