// A real Kafka for tests: one process, KRaft, broker and controller in one, on free loopback ports, in a folder of its
// own. It can be killed, paused, and started again on the same port with the same log.
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Kafka, logLevel } from 'kafkajs';
import { findKafka } from './kafka-jars.ts';
import { RestartableServer, startOnFreePorts } from './restartable-server.ts';
import { runCommand } from './run-command.ts';
import { tempDir } from './temp-dir.ts';

const START_TIMEOUT_MS = 90_000;
const FORMAT_TIMEOUT_MS = 60_000;
const PROBE_TIMEOUT_MS = 2_000;
const HEAP = '-Xmx768m';

export interface KafkaOptions {
  /** Over the test settings below; see Kafka's broker configuration. */
  readonly properties?: Readonly<Record<string, string>>;
}

/** `brokers` is `127.0.0.1:port`, the same for its whole life; `start()` finds the log as `stop()` or `kill()` left it. */
export type KafkaServer = RestartableServer & { readonly brokers: string };

/** Resolves when the broker answers; throws with the end of its log when it does not, or when Kafka is not available. */
export async function startKafka({ properties = {} }: KafkaOptions = {}): Promise<KafkaServer> {
  const found = await findKafka();
  if (!found.available) throw new Error(`Kafka is not available: ${found.reason}`);
  const { java, classPath } = found;
  return startOnFreePorts(2, async ([port = 0, controllerPort = 0]) => {
    const folder = await tempDir('kafka');
    const settingsFile = join(folder.path, 'server.properties');
    const settings = { ...testSettings({ port, controllerPort, logFolder: join(folder.path, 'log') }), ...properties };
    await writeFile(
      settingsFile,
      Object.entries(settings)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    );
    const format = ['kafka.tools.StorageTool', 'format', '--cluster-id', clusterId(), '--config', settingsFile];
    await runCommand(java, [HEAP, '-cp', classPath, ...format], { timeoutMs: FORMAT_TIMEOUT_MS });
    const brokers = `127.0.0.1:${port}`;
    const server = new RestartableServer({
      name: `kafka at ${brokers}`,
      command: java,
      args: [HEAP, '-cp', classPath, 'kafka.Kafka', settingsFile],
      folder,
      isReady: () => describesCluster(brokers),
      startTimeoutMs: START_TIMEOUT_MS,
    });
    return Object.assign(server, { brokers });
  });
}

/** One broker that is quick to start, to delete and to compact, and never makes a topic by itself. */
function testSettings(at: { port: number; controllerPort: number; logFolder: string }): Record<string, string> {
  return {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${at.controllerPort}`,
    'controller.listener.names': 'CONTROLLER',
    listeners: `PLAINTEXT://127.0.0.1:${at.port},CONTROLLER://127.0.0.1:${at.controllerPort}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${at.port}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    'log.dirs': at.logFolder,
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '4',
    // A broker killed and started again is let back in only once its former session has run out.
    'broker.session.timeout.ms': '3000',
    'broker.heartbeat.interval.ms': '500',
    'group.initial.rebalance.delay.ms': '0',
    'log.initial.task.delay.ms': '500',
    'log.retention.check.interval.ms': '1000',
    'log.segment.delete.delay.ms': '1000',
    'log.cleaner.backoff.ms': '250',
    'log.cleaner.dedupe.buffer.size': '8388608',
  };
}

async function describesCluster(brokers: string): Promise<boolean> {
  const admin = new Kafka({
    brokers: [brokers],
    clientId: 'test-support',
    logLevel: logLevel.NOTHING,
    connectionTimeout: PROBE_TIMEOUT_MS,
    requestTimeout: PROBE_TIMEOUT_MS,
    retry: { retries: 0 },
  }).admin();
  try {
    await admin.connect();
    return (await admin.describeCluster()).brokers.length === 1;
  } finally {
    await admin.disconnect();
  }
}

/** Kafka's own form of an id: 16 bytes in base64url. The first digit is fixed: a `-` there would look like a flag. */
function clusterId(): string {
  return `S${randomBytes(16).toString('base64url').slice(1)}`;
}
