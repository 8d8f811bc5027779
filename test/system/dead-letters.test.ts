// I8, no silent loss: a record that cannot be used is found again in the dead letters with its place, its bytes and the
// reason, and is counted; the records around it are applied as if it were not there. A crash loses none of them.
import { expect, it } from 'vitest';
import { Cluster, startCluster } from '../support/cluster.ts';
import type { StockEvent } from '../support/cluster-oracle.ts';
import { eventually } from '../support/eventually.ts';
import { foldLog, javaPartitionOf, type OracleRecord } from '../support/oracle.ts';
import { startKafka } from '../support/kafka-server.ts';
import { parseExposition, sumOf } from '../support/prometheus.ts';
import { RawKafka, type RawRecord, type ReadRecord } from '../support/raw-kafka.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';

const PARTITIONS = 12;
const PUBLISHED_TIMEOUT_MS = 60_000;
/** Looks at the outbox, over more than one round of the publisher, after which it is taken to stand still. */
const UNCHANGED_CHECKS = 25;
/** No date: past the year 9999, where no text for it exists. */
const NO_DATE = 9e15;
const A_NUMBER = expect.any(Number) as unknown;
const A_DATE = Date.UTC(2026, 10, 23, 20, 10);
/** So that the broker takes such a timestamp at all. */
const ANY_TIMESTAMP = {
  'retention.ms': '-1',
  'retention.bytes': '-1',
  'message.timestamp.before.max.ms': '9223372036854775807',
  'message.timestamp.after.max.ms': '9223372036854775807',
};
const LONG_BINARY = Buffer.alloc(5_000, Buffer.from([0xff, 0x00, 0x0a, 0x31]));
const BYTES_SHOWN = 1_024;

/** What is wrong with a record; the rest of it is right. */
type Fault = Partial<Pick<RawRecord, 'key' | 'value' | 'headers'>> & {
  readonly what: string;
  /** Part of the message. */
  readonly says: RegExp;
};

const KEY = /^the key is no storeId\/itemId: /;
const VALUE = /^the value is no count within ±1000000000: /;
const EVENT_ID = /^the header event-id must be one value of 1–64 of /;

const UNDECODABLE: readonly Fault[] = [
  { what: 'a wrong separator', key: '10:CA', says: KEY },
  { what: 'no separator', key: '10', says: KEY },
  { what: 'two separators', key: '10/CA/x', says: KEY },
  { what: 'a space', key: '10/C A', says: KEY },
  { what: 'a letter beyond ASCII', key: 'Zürich/CA', says: KEY },
  { what: 'a store called .', key: './CA', says: KEY },
  { what: 'an item called ..', key: '10/..', says: KEY },
  { what: 'a store id of 65 characters', key: `${'s'.repeat(65)}/CA`, says: KEY },
  { what: 'an item id of 65 characters', key: `10/${'i'.repeat(65)}`, says: KEY },
  { what: 'no store id', key: '/CA', says: KEY },
  { what: 'no item id', key: '10/', says: KEY },
  { what: 'a line break behind the key', key: '10/CA\n', says: KEY },
  { what: 'an empty key', key: '', says: KEY },
  { what: 'a key that is no UTF-8', key: Buffer.from([0xff, 0x2f, 0xfe]), says: KEY },
  { what: 'a null key', key: null, says: /^the key is null/ },
  { what: 'a fraction', value: '1.5', says: VALUE },
  { what: 'a plus sign', value: '+5', says: VALUE },
  { what: 'leading zeros', value: '007', says: VALUE },
  { what: 'an exponent', value: '1e3', says: VALUE },
  { what: 'NaN', value: 'NaN', says: VALUE },
  { what: 'thirty digits', value: '9'.repeat(30), says: VALUE },
  { what: 'one more than the bound', value: '1000000001', says: VALUE },
  { what: 'one less than the lower bound', value: '-1000000001', says: VALUE },
  { what: 'a space before the count', value: ' 5', says: VALUE },
  { what: 'a lone minus', value: '-', says: VALUE },
  { what: 'JSON', value: '{"count":5}', says: VALUE },
  { what: 'digits of another script', value: '٣', says: VALUE },
  { what: 'an empty value', value: '', says: VALUE },
  { what: 'binary', value: LONG_BINARY, says: VALUE },
  { what: 'a null value', value: null, says: /^the value is null/ },
  { what: 'an empty event id', headers: { 'event-id': '' }, says: EVENT_ID },
  { what: 'an event id with a space', headers: { 'event-id': 'a b' }, says: EVENT_ID },
  { what: 'an event id of 65 characters', headers: { 'event-id': 'e'.repeat(65) }, says: EVENT_ID },
  { what: 'two event ids', headers: { 'event-id': ['a', 'b'] }, says: EVENT_ID },
];

const ROLES = ['shipments', 'sales'] as const;
/** Counted, but without a time. */
const LATE = '20/late';

interface BadRecord {
  readonly what: string;
  readonly role: StockEvent['role'];
  readonly record: RawRecord & { readonly partition: number };
  readonly reason: string;
  readonly says: RegExp;
}

/** One record for each fault, over all partitions and both topics. */
function badRecords({ topics }: Cluster): BadRecord[] {
  const undecodable = UNDECODABLE.map(({ what, says, ...fault }, n): BadRecord => {
    const [role, partition] = [ROLES[n % 2] ?? 'sales', n % PARTITIONS];
    const record = { topic: topics[role], key: keyIn(partition, n), value: '5', partition, ...fault };
    return { what, role, record, reason: 'DECODE_FAILED', says };
  });
  const right = partitionOf('10/CA');
  const wrong = (right + 1) % PARTITIONS;
  const misplaced = ROLES.map((role): BadRecord => {
    const record = { topic: topics[role], key: '10/CA', value: '5', partition: wrong };
    const says = new RegExp(`^10/CA belongs to partition ${right} of 12 and was written to ${wrong}: .*murmur2_random`);
    return { what: 'a wrong partition', role, record, reason: 'WRONG_PARTITION', says };
  });
  const undated = ROLES.map((role): BadRecord => {
    const record = { topic: topics[role], key: LATE, value: '8', partition: partitionOf(LATE), timestamp: NO_DATE };
    const says = /^the timestamp 9000000000000000 is no date .*the count is applied without a time/;
    return { what: 'a timestamp that is no date', role, record, reason: 'TIMESTAMP_INVALID', says };
  });
  return [...undecodable, ...misplaced, ...undated];
}

interface DeadLetter {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly reason: string;
  readonly message: string;
  readonly applied: boolean;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
}

/** A cluster whose topics take any timestamp. */
async function startLenient(): Promise<Cluster> {
  const cluster = new Cluster({ kafka: sharedKafka(), consul: sharedConsul(), partitions: PARTITIONS });
  const kafka = new RawKafka(cluster.brokers);
  await kafka.createTopic(cluster.topics.shipments, PARTITIONS, ANY_TIMESTAMP);
  await kafka.createTopic(cluster.topics.sales, PARTITIONS, ANY_TIMESTAMP);
  await cluster.prepare();
  await Promise.all([cluster.addNode('node-1'), cluster.addNode('node-2')]);
  await cluster.addGateway();
  await cluster.allOwned();
  return cluster;
}

function partitionOf(key: string): number {
  return javaPartitionOf(Buffer.from(key), PARTITIONS);
}

/** A key of the partition; another one for each `n`. */
function keyIn(partition: number, n: number): string {
  for (let i = 0; ; i += 1) {
    const key = `store-${n}/item-${i}`;
    if (partitionOf(key) === partition) return key;
  }
}

/** Sum of a counter over all nodes. */
async function counted(cluster: Cluster, name: string, labels: Record<string, string> = {}): Promise<number> {
  const scrapes = [...cluster.nodes.values()].map(async ({ http }) =>
    sumOf(parseExposition((await http.get('/metrics')).body as string), name, labels),
  );
  return (await Promise.all(scrapes)).reduce((sum, each) => sum + each, 0);
}

/** Every dead letter published, by key; a key that comes again must say the same. */
async function readDeadLetters(cluster: Cluster): Promise<Map<string, DeadLetter>> {
  const letters = new Map<string, DeadLetter>();
  for (const { key, value } of await new RawKafka(cluster.brokers).read(cluster.topics.deadLetters)) {
    const letter = JSON.parse(String(value)) as DeadLetter;
    expect(letter).toEqual(letters.get(String(key)) ?? letter);
    letters.set(String(key), letter);
  }
  return letters;
}

function base64(bytes: string | Buffer | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).subarray(0, BYTES_SHOWN).toString('base64');
}

describeWithServices('a record that cannot be used', ['kafka', 'consul'], () => {
  it('ends in the dead letters with place, reason and bytes, and the good ones around it are applied', async () => {
    await using cluster = await startLenient();
    const kafka = new RawKafka(cluster.brokers);
    const bad = badRecords(cluster);
    // Each between two good ones of its partition, and one with a proper time before the ones without.
    const good: StockEvent[] = ROLES.map((role) => ({ role, key: LATE, count: 1 }));
    await kafka.write(
      ROLES.map((role) => ({ topic: cluster.topics[role], key: LATE, value: '1', timestamp: A_DATE })),
      { partitions: PARTITIONS },
    );
    const sandwiches = bad.flatMap(({ record, role }, n) => {
      const around = [n, n + 1_000].map((store) => ({ role, key: keyIn(record.partition, store), count: 1 + store }));
      good.push(...around);
      const [before, after] = around.map(({ key, count }) => ({ topic: record.topic, key, value: String(count) }));
      return [before as RawRecord, record, after as RawRecord];
    });
    const offsets = await kafka.write(sandwiches, { partitions: PARTITIONS });
    cluster.expectAlso(good);
    cluster.expectAlso(ROLES.map((role) => ({ role, key: LATE, count: 8 })));

    await eventually(
      'every dead letter is published and counted',
      async () => (await counted(cluster, 'stockroom_dead_letters_total')) >= bad.length,
      { timeoutMs: PUBLISHED_TIMEOUT_MS },
    );
    const letters = await readDeadLetters(cluster);
    const found = bad.map(({ what, record: { topic, partition } }, n) => [
      what,
      letters.get(`${topic}/${partition}/${offsets[3 * n + 1]}`),
    ]);
    expect(found).toEqual(
      bad.map(({ what, record: { topic, partition, key, value, timestamp }, reason, says }, n) => [
        what,
        {
          ...{ topic, partition, offset: offsets[3 * n + 1], reason, applied: reason === 'TIMESTAMP_INVALID' },
          ...{ key: base64(key), value: base64(value), timestamp: timestamp ?? A_NUMBER },
          message: expect.stringMatching(says) as unknown,
        },
      ]),
    );
    expect(letters.size).toBe(bad.length);
    await cluster.allKeysCorrect();

    // The last record's time is told, not the last that was one.
    const times = '{ inventory(storeId: "20", itemId: "late") { received sold lastShipmentAt lastSaleAt } }';
    expect((await cluster.gateway.query(times)).data).toEqual({
      inventory: { received: 9, sold: 9, lastShipmentAt: null, lastSaleAt: null },
    });
    const byReason = (reason: string) => counted(cluster, 'stockroom_dead_letters_total', { reason });
    expect(await byReason('DECODE_FAILED')).toBe(UNDECODABLE.length);
    expect(await byReason('WRONG_PARTITION')).toBe(ROLES.length);
    expect(await byReason('TIMESTAMP_INVALID')).toBe(ROLES.length);
    expect(await counted(cluster, 'stockroom_dead_letters_dropped_total')).toBe(0);
    expect(await counted(cluster, 'stockroom_dead_letter_outbox_records')).toBe(0);

    // The same by the oracle, which decodes what lies in the log with other code.
    const log = [...(await kafka.read(cluster.topics.shipments)), ...(await kafka.read(cluster.topics.sales))];
    const oracle = foldLog(
      log.map((record) => toOracleRecord(record, cluster)),
      { partitions: PARTITIONS },
    );
    const place = (role: StockEvent['role'], partition: number, offset: number): string =>
      `${cluster.topics[role]}/${partition}/${offset}`;
    expect([...letters.keys()].sort()).toEqual(
      oracle.deadLetters.map(({ role, partition, offset }) => place(role, partition, offset)).sort(),
    );
  });

  // Far more bad records than one request publishes, good ones between them. While they are published the broker stops
  // answering, and the node is killed with a request under way: what that holds comes twice, and nothing is missing.
  it('is published at least once, under the same key, when the node is killed while it publishes', async () => {
    await using kafka = await startKafka();
    await using cluster = await startCluster({
      kafka: kafka.brokers,
      consul: sharedConsul(),
      partitions: PARTITIONS,
      nodes: 1,
    });
    await cluster.node('node-1').process.stop();
    const topic = cluster.topics.sales;
    const keys = Array.from({ length: 120 }, (_key, n) => `store-${n}/item`);
    const values = Array.from({ length: 301 }, (_value, round) => (round === 150 ? '4' : 'four'));
    const total = keys.length * (values.length - 1);
    const raw = new RawKafka(cluster.brokers);
    await raw.write(
      values.flatMap((value) => keys.map((key) => ({ topic, key, value }))),
      { partitions: PARTITIONS },
    );
    cluster.expectAlso(keys.map((key) => ({ role: 'sales', key, count: 4 })));

    const doomed = await cluster.launchNode('node-1');
    const published = async () => (await cluster.log.ranges(cluster.topics.deadLetters))[0]?.endOffset ?? 0;
    const publishing = { timeoutMs: PUBLISHED_TIMEOUT_MS, intervalMs: 1 };
    await eventually('some dead letters are published', async () => (await published()) > 0, publishing);
    kafka.pause();
    const waiting = () => counted(cluster, 'stockroom_dead_letter_outbox_records');
    let [last, unchanged] = [Number.NaN, 0];
    await eventually('a request of the publisher is under way', async () => {
      const now = await waiting();
      unchanged = now === last ? unchanged + 1 : 0;
      last = now;
      return unchanged >= UNCHANGED_CHECKS;
    });
    expect(last).toBeGreaterThan(0);
    await doomed.process[Symbol.asyncDispose]();
    kafka.resume();

    await cluster.addNode('node-1');
    await cluster.allKeysCorrect();
    await eventually('the outbox is empty', async () => (await waiting()) === 0, publishing);
    const letters = await readDeadLetters(cluster);
    const bad = (await raw.read(topic)).filter(({ value }) => value?.toString() === 'four');
    expect(bad).toHaveLength(total);
    expect(bad.filter(({ partition, offset }) => !letters.has(`${topic}/${partition}/${offset}`))).toEqual([]);
    expect(letters.size).toBe(total);
    expect(await published()).toBeGreaterThan(total);
  });
});

describeWithServices('a record that repeats an event id', ['kafka', 'consul'], () => {
  it('is counted once, by key and topic, also when the node was killed in between', async () => {
    await using cluster = await startCluster({
      kafka: sharedKafka(),
      consul: sharedConsul(),
      partitions: PARTITIONS,
      nodes: 1,
    });
    const kafka = new RawKafka(cluster.brokers);
    const write = (events: readonly (StockEvent & { id?: string })[]) =>
      kafka.write(
        events.map(({ role, key, count, id }) => ({
          topic: cluster.topics[role],
          key,
          value: String(count),
          ...(id === undefined ? {} : { headers: { 'event-id': id, source: 'till-7' } }),
        })),
        { partitions: PARTITIONS },
      );
    const first: (StockEvent & { id?: string })[] = [
      { role: 'shipments', key: '10/CA', count: 200, id: 'delivery-1' },
      { role: 'sales', key: '10/CA', count: 20, id: 'receipt-1' },
      { role: 'sales', key: '10/CB', count: 20, id: 'receipt-1' },
      { role: 'shipments', key: '10/CA', count: 5, id: 'receipt-1' },
      { role: 'sales', key: '10/CA', count: 1 },
    ];
    await write(first);
    await write([
      { role: 'shipments', key: '10/CA', count: 200, id: 'delivery-1' },
      { role: 'sales', key: '10/CA', count: 20, id: 'receipt-1' },
      { role: 'sales', key: '10/CA', count: 21, id: 'receipt-1' },
    ]);
    cluster.expectAlso(first);
    await cluster.allKeysCorrect();
    const duplicates = (kind: string) => counted(cluster, 'stockroom_duplicate_events_total', { kind });
    await eventually('the repetitions are counted', async () => (await duplicates('same')) === 2);
    expect(await duplicates('conflict')).toBe(1);
    expect(await counted(cluster, 'stockroom_events_applied_total')).toBe(first.length);

    await cluster.node('node-1').process[Symbol.asyncDispose]();
    await write([{ role: 'shipments', key: '10/CA', count: 200, id: 'delivery-1' }]);
    const next: StockEvent = { role: 'shipments', key: '10/CA', count: 3 };
    await write([next]);
    cluster.expectAlso([next]);
    await cluster.addNode('node-1');
    await cluster.allKeysCorrect();
    expect(await duplicates('same')).toBe(1);
    expect(await counted(cluster, 'stockroom_events_applied_total')).toBe(1);
  });
});

function toOracleRecord({ topic, ...record }: ReadRecord, { topics }: Cluster): OracleRecord {
  return { ...record, role: topic === topics.sales ? 'sales' : 'shipments' };
}
