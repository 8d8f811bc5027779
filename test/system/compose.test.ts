// docker-compose.yml, proven without an engine: docker-compose itself accepts the file, and every stockroom service of
// it runs here as a process with its own command and environment. Only host names become 127.0.0.1, volumes become
// temporary folders, and a port that is taken is replaced.
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { KafkaEventLog } from '../../cluster/kafka-event-log.ts';
import { type StartedProcess, startProcess } from '../support/child-process.ts';
import { type ComposeService, PROJECT_FOLDER, readComposeFile, stockroomServices } from '../support/compose-file.ts';
import { startConsul } from '../support/consul-server.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { startKafka } from '../support/kafka-server.ts';
import { runCommand } from '../support/run-command.ts';
import { describeWithServices, service } from '../support/services.ts';
import { tempDir } from '../support/temp-dir.ts';

const CLUSTER_TOKEN = 'a-token-of-the-compose-test';
const READY_TIMEOUT_MS = 90_000;
const CONFIG_TIMEOUT_MS = 60_000;

/** A service with what the engine would have provided replaced by what this machine has. */
interface NativeService {
  readonly name: string;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly healthCheck: readonly string[];
  readonly port: string;
}

async function makeNative(options: {
  readonly brokers: string;
  readonly consulAddress: string;
  readonly folder: string;
}): Promise<NativeService[]> {
  const services = stockroomServices(readComposeFile({ CLUSTER_TOKEN }));
  const replacements = new Map([
    ['kafka:9092', options.brokers],
    ['consul:8500', options.consulAddress],
  ]);
  for (const [name, { environment = {} }] of services) {
    const given = environment['HTTP_PORT'];
    if (given === undefined) continue;
    const port = (await isFree(Number(given))) ? given : String(await freePort());
    replacements.set(`${name}:${given}`, `127.0.0.1:${port}`);
  }
  return services.map(([name, definition]) => nativeService(name, definition, { ...options, replacements }));
}

function nativeService(
  name: string,
  { command = [], environment = {}, volumes = [], healthcheck }: ComposeService,
  { folder, replacements }: { folder: string; replacements: ReadonlyMap<string, string> },
): NativeService {
  const given = environment['HTTP_PORT'] ?? '';
  const port = replacements.get(`${name}:${given}`)?.split(':')[1] ?? '';
  const mounts = new Map(volumes.map((volume) => [volume.split(':')[1] ?? '', join(folder, name)]));
  const env = Object.entries(environment).map(([variable, value]): [string, string] => {
    if (variable === 'HTTP_PORT') return [variable, port];
    const named = [...replacements].find(([host]) => value === host || value === `http://${host}`);
    return [variable, named === undefined ? (mounts.get(value) ?? value) : value.replace(named[0], named[1])];
  });
  return {
    name,
    command,
    env: Object.fromEntries(env),
    healthCheck: (healthcheck?.test ?? []).slice(1).map((arg) => arg.replaceAll(`:${given}/`, `:${port}/`)),
    port,
  };
}

/** The engine publishes on 127.0.0.1, the services listen on all addresses: both must be free. */
async function isFree(port: number): Promise<boolean> {
  const tries = ['127.0.0.1', '0.0.0.0'].map(
    (host) => () =>
      new Promise<boolean>((resolve) => {
        const probe = createServer();
        probe.once('error', () => resolve(false));
        probe.listen({ port, host, exclusive: true }, () => probe.close(() => resolve(true)));
      }),
  );
  for (const isFreeOn of tries) if (!(await isFreeOn())) return false;
  return true;
}

function run({ name, command, env }: NativeService): StartedProcess {
  const [program = '', ...args] = command;
  expect(program).toBe('node');
  return startProcess({ name, command: process.execPath, args, env, cwd: PROJECT_FOLDER });
}

function runAll(services: readonly NativeService[]): AsyncDisposable & { readonly processes: StartedProcess[] } {
  const processes = services.map(run);
  return {
    processes,
    async [Symbol.asyncDispose]() {
      await Promise.all(processes.map((each) => each[Symbol.asyncDispose]()));
    },
  };
}

async function healthy(candidate: NativeService): Promise<void> {
  const [, ...args] = candidate.healthCheck;
  const isHealthy = async (): Promise<boolean> => {
    await using check = startProcess({ name: 'health check', command: process.execPath, args });
    return (await check.exited).code === 0;
  };
  await eventually(`${candidate.name} is healthy`, isHealthy, { timeoutMs: READY_TIMEOUT_MS, intervalMs: 500 });
}

async function askGraphql(port: string, query: string): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  });
  return response.json();
}

async function appendGoldenCase(brokers: string): Promise<void> {
  const settings = { brokers: [brokers], ssl: undefined, sasl: undefined, clientId: 'compose-test' };
  const log = new KafkaEventLog({ settings, log: () => undefined });
  const writer = await log.openWriter({ name: 'compose-test' });
  await writer.append(
    [
      { topic: 'shipments', key: '10/CA', value: '200' },
      { topic: 'sales', key: '10/CA', value: '20' },
      { topic: 'sales', key: '10/CA', value: '100' },
    ],
    { timeoutMs: 10_000 },
  );
  await log.close();
}

describeWithServices('docker-compose config', ['docker-compose'], () => {
  const config = (token: string): Promise<{ stdout: string }> =>
    runCommand(service('docker-compose').command, ['-f', 'docker-compose.yml', 'config'], {
      cwd: PROJECT_FOLDER,
      env: { CLUSTER_TOKEN: token },
      timeoutMs: CONFIG_TIMEOUT_MS,
    });

  it('accepts the file, and refuses it without CLUSTER_TOKEN', async () => {
    expect((await config(CLUSTER_TOKEN)).stdout).toContain(`CLUSTER_TOKEN: ${CLUSTER_TOKEN}`);
    await expect(config('')).rejects.toThrow(/CLUSTER_TOKEN must be set/);
  });
});

describeWithServices('the services of docker-compose.yml, run natively', ['kafka', 'consul'], () => {
  it('come up in order, answer the golden case, and stop cleanly', { timeout: 300_000 }, async () => {
    await using kafka = await startKafka();
    await using consul = await startConsul();
    await using folder = await tempDir('compose');
    const natives = await makeNative({ brokers: kafka.brokers, consulAddress: consul.address, folder: folder.path });
    const native = (name: string): NativeService => natives.find((each) => each.name === name) as NativeService;
    const nodes = ['node-1', 'node-2', 'node-3'].map(native);
    const gateways = ['gateway-1', 'gateway-2'].map(native);

    await using topics = run(native('topics'));
    expect([await topics.exited, topics.output()]).toEqual([{ code: 0, signal: null }, expect.any(String)]);

    await using servers = runAll([...nodes, ...gateways]);
    await Promise.all([...nodes, ...gateways].map(healthy));
    for (const node of nodes) expect(existsSync(join(folder.path, node.name))).toBe(true);

    await appendGoldenCase(kafka.brokers);
    for (const { port } of gateways) {
      const query = '{ inventory(storeId: "10", itemId: "CA") { received sold onHand } }';
      await eventually(`the gateway on ${port} has the golden case`, async () => {
        expect(await askGraphql(port, query)).toEqual({
          data: { inventory: { received: 200, sold: 120, onHand: 80 } },
        });
        return true;
      });
    }
    for (const { port } of [...nodes, ...gateways]) {
      const response = await fetch(`http://127.0.0.1:${port}/inventory/stores/10/items/CA/count`);
      expect([response.status, await response.json()]).toEqual([200, { storeId: '10', itemId: 'CA', count: 80 }]);
    }
    const unguarded = await fetch(`http://127.0.0.1:${nodes[0]?.port}/internal/reads`, { method: 'POST', body: '{}' });
    expect(unguarded.status).toBe(401);

    const exits = await Promise.all(servers.processes.map((each) => each.stop()));
    expect(exits).toEqual(exits.map(() => ({ code: 0, signal: null })));
  });
});
