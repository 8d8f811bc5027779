// The directory against a real Consul: the suite that the embedded one passes too, then what only Consul can do: stand in
// its catalogue as operators expect it, be killed, hang, and come back with or without its data.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ConsulDirectory } from '../../cluster/consul-directory.ts';
import { type Directory, DirectoryUnavailable, type DirectoryView, type NodeEntry } from '../../cluster/directory.ts';
import { type ConsulServer, startConsul } from '../support/consul-server.ts';
import { eventually } from '../support/eventually.ts';
import { describeWithServices } from '../support/services.ts';
import { uniqueId } from '../support/unique.ts';
import { type DirectoryHarness, directorySuite } from '../suites/directory.suite.ts';

const SHORT_PREDECESSOR_WAIT_MS = 3_000;

describeWithServices('ConsulDirectory', ['consul'], () => {
  let consul: ConsulServer;
  beforeAll(async () => {
    consul = await startConsul();
  });
  afterAll(() => consul[Symbol.asyncDispose]());

  directorySuite(async () => new ConsulHarness(consul));

  it('registers service, check and session as operators expect to find them', async () => {
    await using harness = new ConsulHarness(consul);
    const { membership } = await harness.join('node-1', { shards: { 4: 'serving' } });
    const epoch = await membership.acquire(4);
    const id = `${harness.applicationId}-node-1`;

    const services = await ask<{ ID: string; Service: string; Tags: string[]; Meta: Record<string, string> }>(
      consul,
      `/v1/agent/service/${id}`,
    );
    expect(services).toMatchObject({ ID: id, Service: 'inventory-node', Tags: [harness.applicationId] });
    expect(services.Meta['application-id']).toBe(harness.applicationId);
    const checks = await ask<Record<string, { Status: string; ServiceID: string }>>(consul, '/v1/agent/checks');
    expect(checks[`service:${id}`]).toMatchObject({ ServiceID: id, Status: 'passing' });

    const [key] = await ask<{ Session: string; LockIndex: number; Value: string }[]>(
      consul,
      `/v1/kv/${harness.applicationId}/partitions/4`,
    );
    expect(JSON.parse(Buffer.from(key?.Value ?? '', 'base64').toString())).toEqual({ nodeId: 'node-1' });
    expect(key?.LockIndex).toBe(epoch);
    const [session] = await ask<{ Behavior: string; TTL: string; LockDelay: number; Checks: string[] }[]>(
      consul,
      `/v1/session/info/${key?.Session}`,
    );
    expect(session).toMatchObject({ Behavior: 'release', TTL: '10s', LockDelay: 0, Checks: [`service:${id}`] });
  });

  it('keeps a partition key when it is released, and removes entries that dead nodes left behind', async () => {
    await using harness = new ConsulHarness(consul);
    const first = await harness.join('node-1');
    await first.membership.acquire(4);
    await harness.crash('node-1');
    await eventually('its session is gone', () => first.membership.lost.aborted, { timeoutMs: 20_000 });
    await harness.join('node-2');
    const keys = await ask<string[]>(consul, `/v1/kv/${harness.applicationId}/?keys=true`);
    expect(keys).toEqual([`${harness.applicationId}/nodes/node-2`, `${harness.applicationId}/partitions/4`]);
  });

  it('leaves out entries that somebody else wrote wrongly', async () => {
    await using harness = new ConsulHarness(consul);
    const { membership } = await harness.join('node-1');
    await membership.acquire(1);
    for (const key of ['nodes/x', 'partitions/2', 'partitions/01', 'nodes', 'other/thing']) {
      await put(consul, `/v1/kv/${harness.applicationId}/${key}`, 'no json');
    }
    const view = await firstView(harness.connect());
    expect([...view.nodes.keys()]).toEqual(['node-1']);
    expect([...view.owners.keys()]).toEqual([1]);
  });

  it('takes a damaged topology for a fault, never for an empty directory', async () => {
    await using harness = new ConsulHarness(consul);
    await put(consul, `/v1/kv/${harness.applicationId}/topology`, '{}');
    await expect(harness.connect().readTopology()).rejects.toMatchObject({ code: 'BAD_CONFIG' });
    const views: DirectoryView[] = [];
    const stop = new AbortController();
    harness.connect().watch((view) => views.push(view), stop.signal);
    await eventually('the fault is told', () => harness.retries.length > 0);
    expect(views).toEqual([]);
    stop.abort();
  });

  it('lets a process that restarts on its own address take over once its predecessor is found dead', async () => {
    await using harness = new ConsulHarness(consul);
    const first = await harness.join('node-1');
    await first.membership.acquire(0);
    // The successor listens on the same port and knows that it is not the process that is asked for.
    await first.server.restartAs('successor');
    const second = await harness.connect(20_000).join({ entry: first.entry, healthUrl: first.server.healthUrl });
    expect(await second.acquire(0)).toBeGreaterThan(1);
  });

  it('keeps the session of a node over a short outage of a Consul that keeps its data', async () => {
    await using persistent = await startConsul({ persistent: true });
    await using harness = new ConsulHarness(persistent);
    const { membership, directory } = await harness.join('node-1');
    const epoch = await membership.acquire(0);
    await persistent.kill();
    await expect(membership.acquire(1)).rejects.toBeInstanceOf(DirectoryUnavailable);
    expect(directory.connected).toBe(false);
    await persistent.start();
    expect(await membership.acquire(0)).toBe(epoch);
    expect(membership.lost.aborted).toBe(false);
  });

  it('takes an address with a scheme, and keeps the token out of every error', async () => {
    const token = 'a-token-that-nobody-may-see';
    const directory = new ConsulDirectory({
      settings: { address: `http://${consul.address}`, ssl: false, token },
      applicationId: uniqueId('inventory'),
      onRetry: () => undefined,
    });
    expect(await directory.readTopology()).toBeUndefined();
    await directory.close();
    const nowhere = new ConsulDirectory({
      settings: { address: '127.0.0.1:1', ssl: false, token },
      applicationId: 'inventory',
      onRetry: () => undefined,
    });
    const error = await nowhere.readTopology().catch((failure: unknown) => failure);
    expect(error).toBeInstanceOf(DirectoryUnavailable);
    expect((error as Error).message).toContain('127.0.0.1:1');
    expect(JSON.stringify(error) + String(error) + String((error as Error).cause)).not.toContain(token);
    await nowhere.close();
  });
});

/** One application id in a Consul, and the processes that use it. */
class ConsulHarness implements DirectoryHarness {
  readonly applicationId = uniqueId('inventory');
  readonly retries: unknown[] = [];
  readonly #consul: ConsulServer;
  readonly #directories: Directory[] = [];
  readonly #servers = new Map<string, HealthServer>();

  constructor(consul: ConsulServer) {
    this.#consul = consul;
  }

  connect(predecessorWaitMs = SHORT_PREDECESSOR_WAIT_MS): Directory {
    const directory = new ConsulDirectory({
      settings: { address: this.#consul.address, ssl: false },
      applicationId: this.applicationId,
      onRetry: (error) => this.retries.push(error),
      predecessorWaitMs,
    });
    this.#directories.push(directory);
    return directory;
  }

  async startNode(nodeId: string): Promise<HealthServer> {
    const server = await HealthServer.start();
    if (this.#servers.has(nodeId)) this.#servers.set(`second ${nodeId}`, server);
    else this.#servers.set(nodeId, server);
    return server;
  }

  async join(nodeId: string, more: Partial<NodeEntry> = {}) {
    const server = await this.startNode(nodeId);
    const directory = this.connect();
    const url = new URL(server.healthUrl).origin;
    const entry: NodeEntry = { nodeId, url, zone: null, version: '1', draining: false, shards: {}, ...more };
    const membership = await directory.join({ entry, healthUrl: server.healthUrl });
    return { server, directory, entry, membership };
  }

  async crash(nodeId: string): Promise<void> {
    await this.#servers.get(nodeId)?.stop();
    this.#servers.delete(nodeId);
  }

  async setReachable(reachable: boolean): Promise<void> {
    if (reachable) this.#consul.resume();
    else this.#consul.pause();
  }

  async wipe(): Promise<void> {
    await this.#consul.kill();
    await this.#consul.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#consul.resume();
    await Promise.all(this.#directories.map((directory) => directory.close()));
    await Promise.all([...this.#servers.values()].map((server) => server.stop()));
  }
}

/** What a node's /healthz is: answers 200 to whoever asks for this very process. */
class HealthServer {
  readonly #port: number;
  #server: Server;
  #name = 'first';

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.#port = port;
  }

  static async start(): Promise<HealthServer> {
    const server = await listen('first', 0);
    return new HealthServer(server, (server.address() as AddressInfo).port);
  }

  get healthUrl(): string {
    return `http://127.0.0.1:${this.#port}/healthz?process=${this.#name}`;
  }

  /** Another process takes the address over. */
  async restartAs(name: string): Promise<void> {
    await this.stop();
    this.#name = name;
    this.#server = await listen(name, this.#port);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function listen(name: string, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const asked = new URL(request.url ?? '', 'http://node').searchParams.get('process');
    response.writeHead(asked === name ? 200 : 409).end();
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}

async function ask<T>(consul: ConsulServer, path: string): Promise<T> {
  return (await (await fetch(`http://${consul.address}${path}`)).json()) as T;
}

async function put(consul: ConsulServer, path: string, body: string): Promise<void> {
  const response = await fetch(`http://${consul.address}${path}`, { method: 'PUT', body });
  if (!response.ok) throw new Error(`PUT ${path}: ${response.status}`);
}

async function firstView(directory: Directory): Promise<DirectoryView> {
  const stop = new AbortController();
  const view = await new Promise<DirectoryView>((resolve) => directory.watch(resolve, stop.signal));
  stop.abort();
  return view;
}
