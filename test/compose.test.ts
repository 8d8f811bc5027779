// docker-compose.yml and Dockerfile, checked without an engine: what they promise the processes is what these read.
// test/system/compose.test.ts runs every service of the file natively.
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readGatewaySettings } from '../gateway/config.ts';
import { readNodeSettings } from '../node/config.ts';
import { startProcess } from './support/child-process.ts';
import { type ComposeService, PROJECT_FOLDER, readComposeFile, stockroomServices } from './support/compose-file.ts';

const CLUSTER_TOKEN = '0123456789abcdef';
const file = readComposeFile({ CLUSTER_TOKEN });
const ours = stockroomServices(file);
const nodes = ours.filter(([, { command }]) => command?.includes('node/main.ts'));
const gateways = ours.filter(([, { command }]) => command?.includes('gateway/main.ts'));
const servers = [...nodes, ...gateways];

const projectFile = (name: string): string => readFileSync(join(PROJECT_FOLDER, name), 'utf8');

function environmentOf({ environment = {} }: ComposeService): Record<string, string> {
  for (const value of Object.values(environment)) if (typeof value !== 'string') throw new Error('quote numbers');
  return { ...environment };
}

/** Runs a service's health check as the engine would, against `port` instead of its own. */
async function checkHealth({ healthcheck, environment = {} }: ComposeService, port: number): Promise<number | null> {
  const [kind, command = '', ...args] = healthcheck?.test ?? [];
  expect([kind, command]).toEqual(['CMD', 'node']);
  const rewritten = args.map((arg) => arg.replaceAll(`:${environment['HTTP_PORT']}/`, `:${port}/`));
  expect(rewritten).not.toEqual(args);
  await using check = startProcess({ name: 'health check', command: process.execPath, args: rewritten });
  return (await check.exited).code;
}

function answering(status: number): Promise<Server & AsyncDisposable> {
  const server = createServer((_, response) => response.writeHead(status).end());
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(server));
  });
}

describe('docker-compose.yml', () => {
  it('holds Kafka, Consul, a one-shot topics service, three nodes and two gateways', () => {
    expect(Object.keys(file.services)).toEqual([
      'kafka',
      'consul',
      'topics',
      'node-1',
      'node-2',
      'node-3',
      'gateway-1',
      'gateway-2',
    ]);
    expect(nodes.map(([name]) => name)).toEqual(['node-1', 'node-2', 'node-3']);
    expect(gateways.map(([name]) => name)).toEqual(['gateway-1', 'gateway-2']);
    expect(file.services['topics']?.restart).toBe('no');
  });

  it('pins every image of others to a version', () => {
    const images = Object.values(file.services).flatMap(({ image }) => (image === 'stockroom:local' ? [] : [image]));
    for (const image of images) expect(image).toMatch(/^[\w./-]+:\d+\.\d+\.\d+$/);
    expect(images).toHaveLength(2);
  });

  it('refuses to start without CLUSTER_TOKEN, naming it', () => {
    expect(() => readComposeFile({})).toThrow(/^CLUSTER_TOKEN must be set/);
  });

  it.each(nodes)('gives %s settings that a node takes', (name, service) => {
    const settings = readNodeSettings({ ...environmentOf(service), DATA_DIR: '' });
    expect(settings).toMatchObject({
      nodeId: name,
      advertisedUrl: `http://${name}:${settings.httpPort}`,
      clusterToken: CLUSTER_TOKEN,
      kafka: { brokers: ['kafka:9092'] },
      consul: { address: 'consul:8500' },
    });
  });

  it.each(gateways)('gives %s settings that a gateway takes', (_, service) => {
    expect(readGatewaySettings(environmentOf(service))).toMatchObject({ clusterToken: CLUSTER_TOKEN });
  });

  it('opens each server’s own port, to this machine only', () => {
    const ports = servers.map(([, { environment, ports: published }]) => [environment?.['HTTP_PORT'], published]);
    expect(ports).toEqual(
      ['4001', '4002', '4003', '4000', '4010'].map((port) => [port, [`127.0.0.1:${port}:${port}`]]),
    );
    const all = Object.values(file.services).flatMap(({ ports: published = [] }) => published);
    expect(all.every((port) => port.startsWith('127.0.0.1:'))).toBe(true);
  });

  it('leaves every server more time to stop than its drain takes', () => {
    for (const [, service] of servers) {
      const graceMs = Number(/^(\d+)s$/.exec(service.stop_grace_period ?? '')?.[1]) * 1_000;
      expect(graceMs).toBeGreaterThan(Number(service.environment?.['DRAIN_TIMEOUT_MS']));
    }
  });

  it('gives every node a volume of its own, where its data is', () => {
    const volumes = nodes.map(([, { volumes: mounted }]) => mounted);
    expect(volumes).toEqual(nodes.map(([name]) => [`${name}-data:/data`]));
    for (const [name, service] of nodes) {
      expect(service.environment?.['DATA_DIR']).toBe('/data');
      expect(Object.keys(file.volumes)).toContain(`${name}-data`);
    }
  });

  it('starts things in order: topics on a healthy Kafka, nodes on topics that are as they should be', () => {
    expect(file.services['topics']?.depends_on).toEqual({ kafka: { condition: 'service_healthy' } });
    for (const [, service] of nodes) {
      expect(service.depends_on).toEqual({
        topics: { condition: 'service_completed_successfully' },
        consul: { condition: 'service_healthy' },
      });
    }
    const awaited = Object.values(file.services).flatMap(({ depends_on: needs = {} }) =>
      Object.entries(needs).flatMap(([name, { condition }]) => (condition === 'service_healthy' ? [name] : [])),
    );
    for (const name of awaited) expect(file.services[name]?.healthcheck?.test).toBeDefined();
  });

  it.each(ours)('runs %s without a shell, without rights it does not need', (_, service) => {
    const [program, ...args] = service.command ?? [];
    expect([program, ...args.slice(0, 2)]).toEqual(['node', '--import', 'tsx']);
    expect(existsSync(join(PROJECT_FOLDER, args[2] ?? ''))).toBe(true);
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    });
  });

  it.each(servers)('checks the health of %s: ready is healthy, anything else is not', async (_, service) => {
    const ready = await answering(200);
    const starting = await answering(503);
    const portOf = (server: Server): number => (server.address() as AddressInfo).port;
    const startingPort = portOf(starting);
    const [healthy, notReady] = await Promise.all([
      checkHealth(service, portOf(ready)),
      checkHealth(service, startingPort),
    ]);
    await Promise.all([ready[Symbol.asyncDispose](), starting[Symbol.asyncDispose]()]);
    expect([healthy, notReady, await checkHealth(service, startingPort)]).toEqual([0, 1, 1]);
  });
});

describe('Dockerfile', () => {
  const dockerfile = projectFile('Dockerfile');

  it('runs as a user without rights, node being the process itself', () => {
    expect(dockerfile).toMatch(/^USER node$/m);
    expect(dockerfile).toMatch(/^ENTRYPOINT \[\]$/m);
    expect(dockerfile).toMatch(/^CMD \["node", /m);
  });

  it('brings the library that RocksDB needs, and no development packages', () => {
    expect(dockerfile).toContain('libatomic1');
    expect(dockerfile).toContain('npm ci --omit=dev');
  });

  it('gets every folder that the services run from, and nothing of this machine', () => {
    const kept = projectFile('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'));
    expect(kept[0]).toBe('*');
    expect(kept).toEqual(
      expect.arrayContaining(['!schema', '!cluster', '!node', '!gateway', '!tools', '!start.ts', '!package-lock.json']),
    );
    for (const line of kept.slice(1)) expect(existsSync(join(PROJECT_FOLDER, line.slice(1)))).toBe(true);
  });
});
