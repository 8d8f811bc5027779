// Tills and warehouses write with clients that are not ours. Those that partition like Java are found, key by key, through
// the gateway; those that do not end in the dead letters with the client setting named, and change no count. 12 partitions:
// a power of two would hide a wrong sign mask.
import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { type Cluster, startCluster } from '../support/cluster.ts';
import type { StockEvent } from '../support/cluster-oracle.ts';
import { eventually } from '../support/eventually.ts';
import { javaPartitionOf } from '../support/oracle.ts';
import { produceWithJava, produceWithKcat } from '../support/other-producers.ts';
import { parseExposition, sumOf } from '../support/prometheus.ts';
import { RawKafka, type ReadRecord } from '../support/raw-kafka.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';

const PARTITIONS = 12;
const PUBLISH_TIMEOUT_MS = 30_000;

function start(): Promise<Cluster> {
  return startCluster({ kafka: sharedKafka(), consul: sharedConsul(), partitions: PARTITIONS });
}

/** Events on keys of every length and alphabet that an id may have, counts all different. */
function eventsOf(producer: string, keys: number): StockEvent[] {
  return Array.from({ length: keys }, (_, n): StockEvent[] => {
    const key = `${producer}.${n % 7}/${'Item'.slice(n % 4)}${n}${'-x_'.repeat(n % 11)}`;
    return [
      { role: 'shipments', key, count: 1_000 + n },
      { role: 'sales', key, count: 3 * n + 1 },
      { role: 'sales', key, count: -n },
    ];
  }).flat();
}

async function writeWithKcat(
  cluster: Cluster,
  events: readonly StockEvent[],
  partitioner: 'murmur2_random' | 'default',
) {
  for (const role of ['shipments', 'sales'] as const) {
    const records = events
      .filter((event) => event.role === role)
      .map(({ key, count }) => ({ key, value: String(count) }));
    await produceWithKcat({ brokers: cluster.brokers, topic: cluster.topics[role], partitioner }, records);
  }
}

/** The dead letters, once there are `count` of them. */
async function deadLetters(cluster: Cluster, count: number): Promise<ReadRecord[]> {
  const kafka = new RawKafka(cluster.brokers);
  const published = async () => (await kafka.endOffsets(cluster.topics.deadLetters))[0] ?? 0;
  await eventually(`${count} dead letters are published`, async () => (await published()) >= count, {
    timeoutMs: PUBLISH_TIMEOUT_MS,
  });
  return kafka.read(cluster.topics.deadLetters);
}

async function misplacedCounted(cluster: Cluster): Promise<number> {
  const scrapes = [...cluster.nodes.values()].map(async ({ http }) =>
    sumOf(parseExposition((await http.get('/metrics')).body as string), 'stockroom_dead_letters_total', {
      reason: 'WRONG_PARTITION',
    }),
  );
  return (await Promise.all(scrapes)).reduce((sum, each) => sum + each, 0);
}

describeWithServices('records of other clients', ['kafka', 'consul', 'java', 'kcat'], () => {
  it('are found under their keys when kcat partitions by murmur2 and when Java does by default', async () => {
    await using cluster = await start();
    const [byKcat, byJava] = [eventsOf('kcat', 300), eventsOf('java', 300)];
    await writeWithKcat(cluster, byKcat, 'murmur2_random');
    const written = await produceWithJava(
      cluster.brokers,
      byJava.map(({ role, key, count }) => ({ topic: cluster.topics[role], key, value: String(count) })),
    );
    expect(new Set(written.map(({ partition }) => partition)).size).toBe(PARTITIONS);
    cluster.expectAlso([...byKcat, ...byJava]);
    await cluster.allKeysCorrect();

    const { data } = await cluster.gateway.query('{ totals { items received sold } }');
    const sum = (of: number[]): number => of.reduce((a, b) => a + b, 0);
    const n = Array.from({ length: 300 }, (_, index) => index);
    expect(data).toEqual({
      totals: { items: 600, received: 2 * sum(n.map((i) => 1_000 + i)), sold: 2 * sum(n.map((i) => 2 * i + 1)) },
    });
    expect(await misplacedCounted(cluster)).toBe(0);
    expect(await new RawKafka(cluster.brokers).endOffsets(cluster.topics.deadLetters)).toEqual([0]);
  });

  it('end in the dead letters, the setting named, where kcat partitions by its default and not like Java', async () => {
    await using cluster = await start();
    const events = eventsOf('crc', 200);
    await writeWithKcat(cluster, events, 'default');

    // librdkafka's default is CRC32 of the key; by chance some keys lie where Java would have put them.
    const chosen = (key: string): number => crc32(key) % PARTITIONS;
    const isPlaced = ({ key }: StockEvent): boolean => chosen(key) === javaPartitionOf(Buffer.from(key), PARTITIONS);
    const misplaced = events.filter((event) => !isPlaced(event));
    expect(misplaced.length).toBeLessThan(events.length);
    cluster.expectAlso(events.filter(isPlaced));

    const letters = await deadLetters(cluster, misplaced.length);
    const told = letters.map(({ key, value }) => ({
      id: String(key),
      letter: JSON.parse(String(value)) as DeadLetter,
    }));
    for (const { id, letter } of told) {
      const key = Buffer.from(letter.key, 'base64').toString();
      expect(letter).toMatchObject({ reason: 'WRONG_PARTITION', partition: chosen(key), applied: false });
      expect(id).toBe(`${letter.topic}/${letter.partition}/${letter.offset}`);
      const right = javaPartitionOf(Buffer.from(key), PARTITIONS);
      expect(letter.message).toContain(`${key} belongs to partition ${right} of 12 and was written to ${chosen(key)}`);
      expect(letter.message).toContain('kcat: partitioner=murmur2_random');
    }
    const written = ({ letter: { topic, key, value } }: (typeof told)[number]): string =>
      `${topic} ${Buffer.from(key, 'base64').toString()} ${Buffer.from(value, 'base64').toString()}`;
    expect(told.map(written).sort()).toEqual(
      misplaced.map(({ role, key, count }) => `${cluster.topics[role]} ${key} ${count}`).sort(),
    );
    await eventually(
      'every dead letter is counted',
      async () => (await misplacedCounted(cluster)) === misplaced.length,
    );

    await cluster.allKeysCorrect();
    const { key = '' } = misplaced[0] ?? {};
    const [storeId = '', itemId = ''] = key.split('/');
    const query = 'query ($storeId: ID!, $itemId: ID!) { inventory(storeId: $storeId, itemId: $itemId) { onHand } }';
    expect(await cluster.gateway.query(query, { storeId, itemId })).toEqual({ status: 200, data: { inventory: null } });
    expect((await cluster.gateway.rest(storeId, itemId)).status).toBe(404);
  });
});

/** The fields read here of a dead letter's JSON. */
interface DeadLetter {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly message: string;
  readonly applied: boolean;
  /** Base64. */
  readonly key: string;
  readonly value: string;
}
