// A till may write in transactions: what it aborts must not count, and the control records that end a transaction are
// offsets without a record. A node must come to the end of such a log (lag 0), at an abort marker too, and find its place
// in it again after a stop and after a crash.
import { expect, it } from 'vitest';
import { type Cluster, startCluster } from '../support/cluster.ts';
import type { StockEvent } from '../support/cluster-oracle.ts';
import { eventually } from '../support/eventually.ts';
import { produceWithJava } from '../support/other-producers.ts';
import { parseExposition, sumOf } from '../support/prometheus.ts';
import { RawKafka } from '../support/raw-kafka.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';
import { uniqueId } from '../support/unique.ts';

const PARTITIONS = 4;
const LAG_TIMEOUT_MS = 30_000;

/** Events of one transaction, on every partition of both topics. */
function round(number: number): StockEvent[] {
  return Array.from({ length: 24 }, (_, n): StockEvent[] => [
    { role: 'shipments', key: `store-${n}/item`, count: 1_000 * number + n },
    { role: 'sales', key: `store-${n}/item`, count: 10 * number },
  ]).flat();
}

class Till {
  readonly #transactionalId = uniqueId('till');
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  async commit(events: readonly StockEvent[]): Promise<void> {
    await this.#run(events, 'commit');
    this.#cluster.expectAlso(events);
  }

  async abort(events: readonly StockEvent[]): Promise<void> {
    await this.#run(events, 'abort');
  }

  async #run(events: readonly StockEvent[], end: 'commit' | 'abort'): Promise<void> {
    const { brokers, topics } = this.#cluster;
    const records = events.map(({ role, key, count }) => ({ topic: topics[role], key, value: String(count) }));
    await produceWithJava(brokers, records, { transactionalId: this.#transactionalId, end });
  }
}

interface Progress {
  readonly nextOffset: string;
  readonly endOffset: string;
  readonly lag: number;
}
type PartitionProgress = { readonly shipments: Progress | null; readonly sales: Progress | null };

/** Waits until the cluster query, the metrics and Kafka agree that everything up to the very end is read. */
async function readToTheEnd(cluster: Cluster): Promise<void> {
  const kafka = new RawKafka(cluster.brokers);
  const ends = {
    shipments: await kafka.endOffsets(cluster.topics.shipments),
    sales: await kafka.endOffsets(cluster.topics.sales),
  };
  await eventually(
    'nodes and gateway tell that the end is reached',
    async () => {
      const fields = '{ nextOffset endOffset lag }';
      const answer = await cluster.gateway.query<{ cluster: { partitions: PartitionProgress[] } }>(
        `{ cluster { partitions { shipments ${fields} sales ${fields} } } }`,
      );
      const atEnd = (end: number | undefined): Progress => ({ nextOffset: `${end}`, endOffset: `${end}`, lag: 0 });
      expect(answer.data?.cluster.partitions).toEqual(
        ends.shipments.map((end, partition) => ({ shipments: atEnd(end), sales: atEnd(ends.sales[partition]) })),
      );
      for (const { http } of cluster.nodes.values()) {
        const metrics = parseExposition((await http.get('/metrics')).body as string);
        expect(sumOf(metrics, 'stockroom_shard_lag_records')).toBe(0);
      }
      return true;
    },
    { timeoutMs: LAG_TIMEOUT_MS },
  );
}

describeWithServices('a log written in transactions', ['kafka', 'consul', 'java'], () => {
  it('counts what was committed, nothing that was aborted, and is read to its very end', async () => {
    await using cluster = await startCluster({
      kafka: sharedKafka(),
      consul: sharedConsul(),
      nodes: 1,
      partitions: PARTITIONS,
    });
    const till = new Till(cluster);
    // Aborted first: at the beginning there is no committed record to hold on to.
    await till.abort(round(1));
    await readToTheEnd(cluster);
    expect((await cluster.gateway.query('{ totals { items received sold } }')).data).toEqual({
      totals: { items: 0, received: 0, sold: 0 },
    });
    await till.commit(round(2));
    await till.commit(round(3));
    await till.abort(round(4));
    await readToTheEnd(cluster);
    await cluster.allKeysCorrect();

    // Stopped in good order, and another round of each comes while it is away.
    const { process } = cluster.node('node-1');
    expect(await process.stop()).toEqual({ code: 0, signal: null });
    await till.commit(round(5));
    await till.abort(round(6));
    const restarted = await cluster.addNode('node-1');
    await cluster.allOwned();
    await readToTheEnd(cluster);
    await cluster.allKeysCorrect();
    const applied = sumOf(
      parseExposition((await restarted.http.get('/metrics')).body as string),
      'stockroom_events_applied_total',
    );
    expect(applied, 'of what came meanwhile, and no more').toBe(round(5).length);

    // Killed with nothing behind its last record but control records and aborted ones.
    await restarted.process[Symbol.asyncDispose]();
    await cluster.addNode('node-1');
    await cluster.allOwned();
    await readToTheEnd(cluster);
    await cluster.allKeysCorrect();

    await till.commit(round(7));
    await readToTheEnd(cluster);
    await cluster.allKeysCorrect();
    expect(cluster.node('node-1').process.output()).not.toMatch(/"refused"/);
    expect(await new RawKafka(cluster.brokers).endOffsets(cluster.topics.deadLetters)).toEqual([0]);
  });
});
