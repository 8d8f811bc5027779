// The router of a gateway over a fake cluster, without HTTP and GraphQL around it.

import { performance } from 'node:perf_hooks';
import { pino } from 'pino';
import { NodeLinks } from '../../gateway/node-links.ts';
import { RequestContext } from '../../gateway/request-context.ts';
import { RequestScope } from '../../gateway/request-scope.ts';
import { Router } from '../../gateway/router.ts';
import { Routes } from '../../gateway/routes.ts';
import type { FakeCluster } from './fake-nodes.ts';

export interface RouterFixture {
  readonly router: Router;
  readonly routes: Routes;
  readonly links: NodeLinks;
  /** Codes of the failures after which a lookup was asked again. */
  readonly reroutes: string[];
  /** Codes of the requests to nodes. */
  readonly outcomes: string[];
  /** What was logged, parsed. */
  readonly logLines: Record<string, unknown>[];
  readonly scope: (deadlineMs?: number) => RequestScope;
  readonly context: (options?: { readonly pageScanRowsMax?: number }) => RequestContext;
}

export function routerOver(cluster: FakeCluster): RouterFixture {
  const reroutes: string[] = [];
  const outcomes: string[] = [];
  const logLines: Record<string, unknown>[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void logLines.push(JSON.parse(line)) });
  const now = (): number => performance.now();
  const { directory } = cluster;
  const routes = new Routes({ directory, now, misfit: () => undefined, onMisfit: () => {} });
  const links = new NodeLinks({
    open: cluster.openShardApi,
    now,
    onRequestEnd: (outcome) => outcomes.push(outcome),
    lingerMs: 0,
  });
  const router = new Router({ routes, links, logger, now, onReroute: (reason) => reroutes.push(reason) });
  routes.start();
  const scope = (deadlineMs = 2_000): RequestScope => new RequestScope('test', Math.round(now()) + deadlineMs);
  const context = ({ pageScanRowsMax = 10_000 } = {}): RequestContext =>
    new RequestContext({ router, scope: scope(), applicationId: 'inventory', pageScanRowsMax });
  return { router, routes, links, reroutes, outcomes, logLines, scope, context };
}
