// The registry that /metrics shows: what every process has. Prefix `stockroom_`, base units, counters end in `_total`,
// and no store, item or query text as a label, or the number of series would grow with the shop.

import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

export const METRIC_PREFIX = 'stockroom_';

/** A registry of its own for one node or gateway: build info and the process's own figures (CPU, memory, event loop). */
export function createRegistry({ version, node }: { readonly version: string; readonly node: string }): Registry {
  const registry = new Registry();
  const build = new Gauge({
    name: `${METRIC_PREFIX}build_info`,
    help: 'Always 1; the labels tell the version and the name of this process.',
    labelNames: ['version', 'node'],
    registers: [registry],
  });
  build.set({ version, node }, 1);
  collectDefaultMetrics({ register: registry, prefix: METRIC_PREFIX });
  return registry;
}
