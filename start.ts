// `npm start`: the whole product in one process, with nothing but npm: three nodes and a gateway on the embedded event log
// and directory, and a demo stream of sales and shipments. The same code as in real deployments (node/, gateway/); only
// the two adapters differ, and gateway and nodes talk HTTP over loopback as they would over a network.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type FlagsTable, type Help, readArguments } from './cluster/cli.ts';
import { type Environment, type FieldValues, readSettings } from './cluster/config.ts';
import type { DirectoryView } from './cluster/directory.ts';
import { EmbeddedRegistry } from './cluster/embedded-directory.ts';
import { EmbeddedEventLog } from './cluster/embedded-event-log.ts';
import type { LogWriter } from './cluster/event-log.ts';
import { adapterLog, createLogger, repeated } from './cluster/logger.ts';
import { createRegistry } from './cluster/metrics.ts';
import { exitWithMessage, runServer, SERVER_EXIT_CODES, type Service } from './cluster/process.ts';
import { httpUrl } from './cluster/setting-parsers.ts';
import { PROCESS_TABLE } from './cluster/shared-settings.ts';
import { openShardClient, ShardClients } from './cluster/shard-clients.ts';
import { VERSION } from './cluster/version.ts';
import { GATEWAY_TABLE } from './gateway/config.ts';
import { createGateway } from './gateway/gateway.ts';
import { NODE_TABLE } from './node/config.ts';
import { createStatefulNode } from './node/stateful-node.ts';
import { openDemoStores, runDemoTraffic } from './tools/demo-traffic.ts';
import { requiredTopics, setUpTopics } from './tools/topic-setup.ts';

const NODES = 3;
const PARTITIONS = 16;
const APPLICATION_ID = 'inventory';
const TOPICS = { shipments: 'shipments', sales: 'sales' };

/** How long the banner waits for the shards, which a large log may keep from serving much longer. */
const FIRST_SHARDS_MS = 30_000;

const START_TABLE = {
  httpHost: PROCESS_TABLE.httpHost,
  httpPort: GATEWAY_TABLE.httpPort,
  dataDir: NODE_TABLE.dataDir,
  rowCacheBytes: NODE_TABLE.rowCacheBytes,
  corsOrigins: GATEWAY_TABLE.corsOrigins,
  pageScanRowsMax: GATEWAY_TABLE.pageScanRowsMax,
  logLevel: { ...PROCESS_TABLE.logLevel, default: 'warn' },
  drainTimeoutMs: PROCESS_TABLE.drainTimeoutMs,
} as const;
type StartSettings = FieldValues<typeof START_TABLE>;

const FLAGS = {
  noDemo: {
    flag: '--no-demo',
    value: null,
    parse: () => true,
    default: null,
    description: 'No demo stream of sales and shipments.',
  },
} as const satisfies FlagsTable;

const HELP: Help = {
  usage: 'npm start -- [--no-demo]',
  summary: `Runs ${NODES} nodes and a gateway in one process on an embedded event log, with demo traffic. The nodes listen on the ports behind HTTP_PORT.`,
  flags: FLAGS,
  settings: START_TABLE,
  exitCodes: SERVER_EXIT_CODES,
};

class AllInOne implements Service {
  readonly #settings: StartSettings;
  readonly #withDemo: boolean;
  readonly #logger: Logger;
  readonly #registry = new EmbeddedRegistry();
  readonly #clients = new ShardClients(undefined);
  readonly #stopping = new AbortController();
  readonly #services: Service[] = [];
  #log: EmbeddedEventLog | undefined;
  #writer: LogWriter | undefined;
  #demoDone: Promise<void> = Promise.resolve();

  constructor(settings: StartSettings, options: { readonly withDemo: boolean; readonly logger: Logger }) {
    this.#settings = settings;
    this.#withDemo = options.withDemo;
    this.#logger = options.logger;
  }

  async listen(): Promise<{ readonly url: string }> {
    const { dataDir } = this.#settings;
    this.#log = await EmbeddedEventLog.open({ directory: join(dataDir, 'log'), log: adapterLog(this.#logger) });
    const specs = requiredTopics({
      applicationId: APPLICATION_ID,
      topics: TOPICS,
      partitions: PARTITIONS,
      replicationFactor: 1,
    });
    await setUpTopics(this.#log, { specs, waitMs: 0 });
    const nodes = Array.from({ length: NODES }, (_, i) => this.#createNode(i + 1, this.#log as EmbeddedEventLog));
    const gateway = this.#createGateway();
    // Closed in this order: the gateway first, so that nobody asks a node that is gone.
    this.#services.push(gateway, ...nodes);
    this.#writer = await this.#log.openWriter();
    const isEmpty = (await this.#log.ranges(TOPICS.shipments)).every(({ endOffset }) => endOffset === 0);
    if (this.#withDemo && isEmpty) await openDemoStores({ writer: this.#writer, topics: TOPICS });
    await Promise.all(nodes.map((node) => node.listen()));
    const { url } = await gateway.listen();
    await this.#everyPartitionOwned();
    if (this.#withDemo) this.#demoDone = this.#runDemo(this.#writer);
    process.stdout.write(banner(url, { dataDir, withDemo: this.#withDemo }));
    return { url };
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#demoDone;
    const [gateway, ...nodes] = this.#services;
    await gateway?.close();
    await Promise.all(nodes.map((node) => node.close()));
    await this.#clients.close();
    await this.#writer?.close();
    await this.#log?.close();
  }

  #createNode(number: number, eventLog: EmbeddedEventLog): Service {
    const { httpHost, httpPort, dataDir, rowCacheBytes, drainTimeoutMs } = this.#settings;
    const nodeId = `node-${number}`;
    const port = httpPort + number;
    return createStatefulNode({
      eventLog,
      directory: this.#registry.connect(),
      shardApiAt: (url) => this.#clients.at(url),
      settings: {
        ...{ nodeId, httpHost, drainTimeoutMs, applicationId: APPLICATION_ID, topics: TOPICS, clusterToken: undefined },
        httpPort: port,
        advertisedUrl: httpUrl({ host: httpHost, port }),
        dataDir: join(dataDir, nodeId),
        rowCacheBytes: Math.floor(rowCacheBytes / NODES),
        startAt: 'zero',
        topologyWaitMs: 0,
        dedupeWindow: Number(NODE_TABLE.dedupeWindow.default),
      },
      logger: this.#logger.child({ node: nodeId }),
      registry: createRegistry({ version: VERSION, node: nodeId }),
      onFailure: exitWithMessage,
    });
  }

  #createGateway(): Service {
    const { httpHost, httpPort, corsOrigins, pageScanRowsMax, drainTimeoutMs } = this.#settings;
    return createGateway({
      directory: this.#registry.connect(),
      openShardApi: (url) => openShardClient(url, undefined),
      settings: {
        httpHost,
        httpPort,
        corsOrigins,
        pageScanRowsMax,
        drainTimeoutMs,
        applicationId: APPLICATION_ID,
        topics: TOPICS,
      },
      logger: this.#logger.child({ node: 'gateway' }),
      registry: createRegistry({ version: VERSION, node: 'gateway' }),
      onMisfit: exitWithMessage,
    });
  }

  /** What the banner shows works when pasted: so it waits for the shards to serve, but not for ever. Rejects when stopped. */
  async #everyPartitionOwned(): Promise<void> {
    const watching = new AbortController();
    const stopped = this.#stopping.signal;
    const owned = new Promise<void>((resolve) => {
      const onView = ({ owners }: DirectoryView): void => (owners.size === PARTITIONS ? resolve() : undefined);
      this.#registry.connect().watch(onView, watching.signal);
    });
    try {
      await Promise.race([
        owned,
        sleep(FIRST_SHARDS_MS, undefined, { signal: AbortSignal.any([stopped, watching.signal]) }),
      ]);
    } finally {
      watching.abort();
    }
  }

  #runDemo(writer: LogWriter): Promise<void> {
    return runDemoTraffic({
      ...{ writer, topics: TOPICS, random: Math.random, signal: this.#stopping.signal },
      sleep: (ms, signal) => sleep(ms, undefined, { signal }),
      onFault: (err) => repeated(this.#logger, 'demo', { err }, 'the demo stream could not write'),
    });
  }
}

function banner(url: string, { dataDir, withDemo }: { dataDir: string; withDemo: boolean }): string {
  return `
Stockroom is running: ${NODES} nodes and a gateway; state in ${dataDir}${withDemo ? '; a demo stream is running' : ''}

  GraphQL and GraphiQL   ${url}/graphql
  plain REST             ${url}/inventory/stores/10/items/CA/count

Three queries to paste into GraphiQL:

  { inventory(storeId: "10", itemId: "CA") { onHand received sold lastSaleAt } }
  { store(id: "10") { totals { items onHand outOfStockItems } items(first: 5, orderBy: ON_HAND_ASC) { nodes { itemId onHand } } } }
  { totals { items onHand received sold coverage { partitions answered } } }

Ctrl-C stops it.
`;
}

function start(args: readonly string[], env: Environment) {
  const { noDemo } = readArguments(FLAGS, { args });
  const settings = readSettings(START_TABLE, { env, check: () => [] });
  const logger = createLogger({ level: settings.logLevel, node: 'all-in-one' });
  return { service: new AllInOne(settings, { withDemo: noDemo !== true, logger }), logger, settings };
}

// oxlint-disable-next-line node/no-process-env -- the one place where the environment enters this process
await runServer(HELP, (args) => start(args, process.env));
