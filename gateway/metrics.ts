// What a gateway tells about itself to whoever scrapes /metrics. Labels are surfaces, operation types and codes: closed
// lists, never a store, an item or the text of a query.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { METRIC_PREFIX } from '../cluster/metrics.ts';

/** What the gauges read when they are scraped. */
export interface GatewayGauges {
  directoryConnected(): boolean;
  /** Undefined before the first routing table. */
  routingTableAgeMs(): number | undefined;
  requestsUnderWay(): number;
}

/** The gateway's counters and histogram; registers its gauges with `registry`. */
export function createGatewayMetrics(registry: Registry, gauges: GatewayGauges) {
  const registers = [registry];
  return {
    gauges: createGauges(registry, gauges),
    requestSeconds: new Histogram({
      name: `${METRIC_PREFIX}request_duration_seconds`,
      help: 'Time to answer a request, by the code of its first error, OK without one.',
      labelNames: ['surface', 'operation_type', 'code'],
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
    nodeRequests: new Counter({
      name: `${METRIC_PREFIX}node_requests_total`,
      help: 'Requests to nodes, by outcome: OK or the code of the failure.',
      labelNames: ['outcome'],
      registers,
    }),
    reroutes: new Counter({
      name: `${METRIC_PREFIX}reroutes_total`,
      help: 'Reads that were asked a second time, by the code of the first failure.',
      labelNames: ['reason'],
      registers,
    }),
  };
}
export type GatewayMetrics = ReturnType<typeof createGatewayMetrics>;

function createGauges(registry: Registry, gauges: GatewayGauges): readonly Gauge[] {
  const registers = [registry];
  return [
    new Gauge({
      name: `${METRIC_PREFIX}directory_connected`,
      help: '1 while the directory can be reached.',
      registers,
      collect() {
        this.set(Number(gauges.directoryConnected()));
      },
    }),
    new Gauge({
      name: `${METRIC_PREFIX}routing_table_age_seconds`,
      help: 'Time since the routing table last changed; absent before the first one.',
      registers,
      collect() {
        const ageMs = gauges.routingTableAgeMs();
        if (ageMs === undefined) this.remove();
        else this.set(ageMs / 1_000);
      },
    }),
    new Gauge({
      name: `${METRIC_PREFIX}requests_under_way`,
      help: 'Requests that this gateway is answering now.',
      registers,
      collect() {
        this.set(gauges.requestsUnderWay());
      },
    }),
  ];
}
