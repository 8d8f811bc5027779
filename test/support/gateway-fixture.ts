// A gateway on loopback over a fake cluster, and a client for it.

import { pino } from 'pino';
import { Registry } from 'prom-client';
import { createGateway, type Gateway, type GatewayOptions } from '../../gateway/gateway.ts';
import { FakeCluster, type FakeClusterOptions, TOPICS } from './fake-nodes.ts';

export interface GraphqlAnswer {
  readonly status: number;
  readonly data: Record<string, unknown> | null | undefined;
  readonly errors: readonly GraphqlError[];
}
export interface GraphqlError {
  readonly message: string;
  readonly path?: readonly (string | number)[];
  readonly extensions: Readonly<Record<string, unknown>>;
}

export interface GatewayFixtureOptions extends FakeClusterOptions {
  readonly pageScanRowsMax?: number;
  readonly corsOrigins?: readonly string[];
  readonly drainTimeoutMs?: number;
  /** False: the directory has shown nothing yet. */
  readonly ready?: boolean;
  readonly openShardApi?: GatewayOptions['openShardApi'];
}

/** A running gateway. Disposing it closes it. */
export class GatewayFixture implements AsyncDisposable {
  readonly cluster: FakeCluster;
  readonly gateway: Gateway;
  readonly url: string;
  readonly registry: Registry;
  /** What it logged, parsed. */
  readonly logLines: readonly Record<string, unknown>[];

  private constructor(parts: Omit<GatewayFixture, 'query' | 'get' | typeof Symbol.asyncDispose>) {
    this.cluster = parts.cluster;
    this.gateway = parts.gateway;
    this.url = parts.url;
    this.registry = parts.registry;
    this.logLines = parts.logLines;
  }

  static async start(options: GatewayFixtureOptions = {}): Promise<GatewayFixture> {
    const cluster = new FakeCluster(options);
    if (options.ready === false) cluster.directory.view = undefined;
    const registry = new Registry();
    const logLines: Record<string, unknown>[] = [];
    const logger = pino({ level: 'info' }, { write: (line: string) => void logLines.push(JSON.parse(line)) });
    const { pageScanRowsMax = 10_000, corsOrigins = [], drainTimeoutMs = 5_000 } = options;
    const gateway = createGateway({
      directory: cluster.directory,
      openShardApi: options.openShardApi ?? cluster.openShardApi,
      settings: {
        applicationId: 'inventory',
        topics: TOPICS,
        httpHost: '127.0.0.1',
        httpPort: 0,
        drainTimeoutMs,
        pageScanRowsMax,
        corsOrigins,
      },
      logger,
      registry,
      onMisfit: () => {},
    });
    const { url } = await gateway.listen();
    return new GatewayFixture({ cluster, gateway, url, registry, logLines });
  }

  /** POSTs a query. */
  async query(query: string, variables?: Record<string, unknown>): Promise<GraphqlAnswer> {
    const response = await fetch(`${this.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    const { data, errors = [] } = (await response.json()) as Partial<GraphqlAnswer>;
    return { status: response.status, data, errors };
  }

  get(path: string, init: RequestInit = {}): Promise<Response> {
    return fetch(this.url + path, init);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.gateway.close();
  }
}
