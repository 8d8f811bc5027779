// What a node tells about itself to whoever scrapes /metrics. Labels are partitions, states and closed lists, never a
// store, an item or an offset. The README lists them; test/system scrapes and parses them.

import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { TOPIC_ROLES, type TopicRole } from '../schema/events.ts';
import { SHARD_STATE_NAMES, type ShardStateName } from '../schema/topology.ts';

/** What the gauges read when they are scraped. */
export interface NodeGauges {
  shards(): Iterable<{
    readonly partition: number;
    readonly state: ShardStateName;
    readonly lag: Readonly<Record<TopicRole, number | null>>;
    readonly outboxSize: number;
  }>;
  ownedPartitions(): number;
  directoryConnected(): boolean;
  logConnected(): boolean;
}

/** The node's counters and histograms; registers its gauges with `registry`. */
export function createNodeMetrics(registry: Registry, gauges: NodeGauges) {
  registerShardGauges(registry, gauges);
  registerConnectionGauges(registry, gauges);
  const registers = [registry];
  return {
    eventsApplied: new Counter({ name: 'stockroom_events_applied_total', help: 'Events folded into rows.', registers }),
    duplicates: new Counter({
      name: 'stockroom_duplicate_events_total',
      help: 'Events not applied because their event id was seen within the dedupe window; conflict: with another count.',
      labelNames: ['kind'],
      registers,
    }),
    deadLetters: new Counter({
      name: 'stockroom_dead_letters_total',
      help: 'Records published to the dead-letter topic by the owner of their partition.',
      labelNames: ['reason'],
      registers,
    }),
    deadLettersDropped: new Counter({
      name: 'stockroom_dead_letters_dropped_total',
      help: 'Dead letters for which the outbox had no room; their coordinates are in the log of this node.',
      registers,
    }),
    shardMoves: new Counter({
      name: 'stockroom_shard_moves_total',
      help: 'Changes of ownership that this node took part in.',
      labelNames: ['reason'],
      registers,
    }),
    requestSeconds: new Histogram({
      name: 'stockroom_request_duration_seconds',
      help: 'Time to answer a request.',
      labelNames: ['surface', 'operation_type', 'code'],
      buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
      registers,
    }),
  };
}
export type NodeMetrics = ReturnType<typeof createNodeMetrics>;

function registerShardGauges(registry: Registry, gauges: NodeGauges): void {
  const registers = [registry];
  const perShard = ['partition'] as const;
  new Gauge({
    name: 'stockroom_shard_lag_records',
    help: 'Records of the topic that the shard has not applied yet, by the last end offset seen.',
    labelNames: [...perShard, 'topic'],
    registers,
    collect() {
      this.reset();
      for (const { partition, lag } of gauges.shards()) {
        for (const topic of TOPIC_ROLES) if (lag[topic] !== null) this.set({ partition, topic }, lag[topic]);
      }
    },
  });
  new Gauge({
    name: 'stockroom_shard_state',
    help: '1 for the state a shard is in, 0 for the others.',
    labelNames: [...perShard, 'state'],
    registers,
    collect() {
      this.reset();
      for (const shard of gauges.shards()) {
        for (const state of SHARD_STATE_NAMES)
          this.set({ partition: shard.partition, state }, Number(shard.state === state));
      }
    },
  });
  new Gauge({
    name: 'stockroom_dead_letter_outbox_records',
    help: 'Dead letters that are not published yet.',
    labelNames: perShard,
    registers,
    collect() {
      this.reset();
      for (const { partition, outboxSize } of gauges.shards()) this.set({ partition }, outboxSize);
    },
  });
}

function registerConnectionGauges(registry: Registry, gauges: NodeGauges): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge('stockroom_partitions_owned', 'Partitions that this node owns.', () => gauges.ownedPartitions());
  gauge('stockroom_directory_connected', '1 while Consul answers.', () => Number(gauges.directoryConnected()));
  gauge('stockroom_log_connected', '1 while Kafka answers.', () => Number(gauges.logConnected()));
}
