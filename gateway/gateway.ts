// One gateway: the only file that knows all its parts.
//
//   directory ──▶ Routes ──▶ Router ──▶ NodeLinks ──▶ nodes        start: listen at once, 503 on /readyz and NOT_READY
//                              ▲                                          until the first routing table
//   clients ──▶ HttpServer ──▶ GraphqlServer ──▶ resolvers         close: /readyz 503, no new connections, requests
//                                                                         under way finish, then the nodes are let go

import { performance } from 'node:perf_hooks';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Directory, DirectoryView } from '../cluster/directory.ts';
import { closeServer, listenOn } from '../cluster/http-listener.ts';
import type { SharedSettings } from '../cluster/shared-settings.ts';
import { COUNT_MAX } from '../schema/events.ts';
import type { InventoryError } from '../schema/errors.ts';
import { ROW_VERSION } from '../schema/inventory-row.ts';
import { topologyMismatch } from '../schema/topology.ts';
import type { GatewaySettings } from './config.ts';
import { GraphqlServer } from './graphql-server.ts';
import { HttpServer } from './http-server.ts';
import { createGatewayMetrics, type GatewayMetrics } from './metrics.ts';
import { type NodeLink, NodeLinks } from './node-links.ts';
import { REQUEST_DEADLINE_MS } from './request-scope.ts';
import { Router } from './router.ts';
import { Routes } from './routes.ts';

/** Kept back from DRAIN_TIMEOUT_MS for what follows the last request. */
const CLOSE_MARGIN_MS = 1_000;

export interface GatewayOptions {
  readonly directory: Directory;
  /** Opens a link to the node at a base URL. */
  readonly openShardApi: (url: string) => NodeLink;
  readonly settings: Pick<GatewaySettings, 'corsOrigins' | 'pageScanRowsMax'> &
    Pick<SharedSettings, 'applicationId' | 'topics' | 'httpHost' | 'httpPort' | 'drainTimeoutMs'>;
  readonly logger: Logger;
  readonly registry: Registry;
  /** Told once with BAD_CONFIG if the directory describes another deployment: the process should end. */
  readonly onMisfit: (error: InventoryError) => void;
}

export interface Gateway {
  /** Resolves once requests are taken; rejects if the port is taken. */
  listen(): Promise<{ readonly url: string }>;
  /** Drains and ends within DRAIN_TIMEOUT_MS. */
  close(): Promise<void>;
}

export function createGateway(options: GatewayOptions): Gateway {
  return new GatewayProcess(options);
}

class GatewayProcess implements Gateway {
  readonly #options: GatewayOptions;
  readonly #routes: Routes;
  readonly #links: NodeLinks;
  readonly #graphql: GraphqlServer;
  readonly #http: HttpServer;
  #draining = false;
  #listening: Promise<{ readonly url: string }> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: GatewayOptions) {
    const { logger, registry, settings } = options;
    const { applicationId, corsOrigins, pageScanRowsMax } = settings;
    const now = (): number => performance.now();
    const metrics = this.#createMetrics(registry);
    this.#options = options;
    this.#routes = this.#createRoutes(now);
    this.#links = this.#createLinks(now, metrics);
    this.#routes.onChange((table) => this.#links.keepOnly(table));
    const onReroute = (reason: string): void => metrics.reroutes.inc({ reason });
    const router = new Router({ routes: this.#routes, links: this.#links, logger, now, onReroute });
    this.#graphql = new GraphqlServer({ logger });
    this.#http = new HttpServer({
      graphql: this.#graphql,
      router,
      applicationId,
      corsOrigins,
      pageScanRowsMax,
      readiness: () => this.#readiness(),
      registry,
      metrics,
      logger,
      now,
    });
  }

  listen(): Promise<{ readonly url: string }> {
    this.#listening ??= this.#listen();
    return this.#listening;
  }

  close(): Promise<void> {
    this.#draining = true;
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #listen(): Promise<{ readonly url: string }> {
    const { httpHost: host, httpPort } = this.#options.settings;
    await this.#graphql.start();
    this.#routes.start();
    const port = await listenOn(this.#http.server, { host, port: httpPort });
    return { url: `http://${host.includes(':') ? `[${host}]` : host}:${port}` };
  }

  /** Waits for a start that is under way: only what has started can be ended. */
  async #close(): Promise<void> {
    if (this.#listening === undefined) return;
    const { drainTimeoutMs } = this.#options.settings;
    await this.#listening.catch(() => {});
    await closeServer(this.#http.server, Math.max(0, drainTimeoutMs - CLOSE_MARGIN_MS));
    this.#routes.stop();
    await Promise.all([this.#links.close(), this.#graphql.stop()]);
  }

  #createMetrics(registry: Registry): GatewayMetrics {
    return createGatewayMetrics(registry, {
      directoryConnected: () => this.#routes.connected,
      routingTableAgeMs: () => this.#routes.ageMs(),
      requestsUnderWay: () => this.#http.underWay,
    });
  }

  #createRoutes(now: () => number): Routes {
    const { directory, logger, onMisfit, settings } = this.#options;
    return new Routes({
      directory,
      now,
      misfit: ({ topology }: DirectoryView) => {
        if (topology === null) return undefined;
        // The rest is the nodes' affair; a gateway takes it as it stands there.
        const partitioner = 'murmur2' as const;
        const keyCodec = 'storeId/itemId' as const;
        const formats = { partitioner, keyCodec, countMax: COUNT_MAX, rowVersion: ROW_VERSION };
        return topologyMismatch({ ...topology, ...formats, topics: settings.topics }, topology);
      },
      onMisfit: (error) => {
        logger.fatal({ err: error }, error.message);
        onMisfit(error);
      },
    });
  }

  #createLinks(now: () => number, metrics: GatewayMetrics): NodeLinks {
    return new NodeLinks({
      open: this.#options.openShardApi,
      now,
      onRequestEnd: (outcome) => metrics.nodeRequests.inc({ outcome }),
      lingerMs: REQUEST_DEADLINE_MS,
    });
  }

  #readiness(): { ready: boolean; details: Record<string, unknown> } {
    const table = this.#routes.current();
    const details = {
      ...(this.#draining ? { reason: 'draining' } : table === undefined ? { reason: 'no routing table yet' } : {}),
      directory: { connected: this.#routes.connected },
      routingTable:
        table === undefined
          ? null
          : {
              ageMs: this.#routes.ageMs(),
              incarnation: table.incarnation,
              partitions: table.partitions,
              owned: [...table.owners.values()].filter(({ live }) => live).length,
            },
    };
    return { ready: !this.#draining && table !== undefined, details };
  }
}
