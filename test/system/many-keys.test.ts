// Memory stays bounded whatever the number of keys: a node whose row cache holds a few hundred rows folds a log of far more
// keys, and single keys, stores and the chain still answer exactly what the log adds up to.
//
// MANY_KEYS sets the number of keys, for a run by hand:
//   MANY_KEYS=2000000 npx vitest run --project system test/system/many-keys.test.ts
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { type EventPlan, Oracle, type OracleEntry, plannedKey, seededRandom } from '../../tools/event-generator.ts';
import { produceEvents } from '../../tools/producer.ts';
import { Cluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { parseExposition, sumOf } from '../support/prometheus.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';

const PARTITIONS = 12;
const KEYS = Number(process.env['MANY_KEYS'] ?? 200_000);
const STORES = 100;
const ITEMS = Math.ceil(KEYS / STORES);
const SEED = 20_261_123;
/** About one key in eight is never named. */
const EVENTS = KEYS * 2;
/** The least that a node takes: some hundred rows in all. */
const ROW_CACHE_BYTES = 65_536;
/** Of the whole process, program and RocksDB included, whatever the number of keys. */
const RESIDENT_BYTES_MAX = 640 * 1024 * 1024;
const SAMPLED_KEYS = 5_000;
const SAMPLED_STORES = 10;
const KEYS_PER_REQUEST = 500;
/** Grows with MANY_KEYS, by a rate that every machine keeps up with. */
const TIMEOUT_MS = 120_000 + KEYS / 5;

const PLAN: EventPlan = { seed: SEED, events: EVENTS, stores: STORES, items: ITEMS, salesShare: 0.6, eventIds: false };

/** Writes the events of the plan; what they add up to. */
async function produce(cluster: Cluster): Promise<Oracle> {
  const oracle = new Oracle(PLAN);
  const writer = await cluster.log.openWriter({ name: 'many-keys' });
  const { acknowledged, error } = await produceEvents({
    ...{ writer, plan: PLAN, topics: cluster.topics, ratePerS: undefined, signal: new AbortController().signal },
    onAcknowledged: (events) => {
      for (const event of events) oracle.add(event);
    },
  });
  await writer.close();
  expect([acknowledged, error]).toEqual([EVENTS, undefined]);
  return oracle;
}

interface Totals {
  items: number;
  received: number;
  sold: number;
  onHand: number;
  oversoldItems: number;
  outOfStockItems: number;
}
const TOTALS = 'totals { items received sold onHand oversoldItems outOfStockItems }';

function totalsOf(entries: readonly OracleEntry[]): Totals {
  const totals = { items: 0, received: 0, sold: 0, onHand: 0, oversoldItems: 0, outOfStockItems: 0 };
  for (const { received, sold } of entries) {
    totals.items += 1;
    totals.received += received;
    totals.sold += sold;
    totals.onHand += received - sold;
    totals.oversoldItems += received < sold ? 1 : 0;
    totals.outOfStockItems += received <= sold ? 1 : 0;
  }
  return totals;
}

/** Most memory that the process ever had resident, in bytes; undefined where the system does not tell. */
async function peakResidentBytes(pid: number): Promise<number | undefined> {
  const path = `/proc/${pid}/status`;
  if (!existsSync(path)) return undefined;
  const [, kibibytes] = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(path, 'utf8')) ?? [];
  return Number(kibibytes) * 1024;
}

/** Waits until every event is applied; seconds that the node needed for them. */
async function secondsToApply(cluster: Cluster): Promise<number> {
  const startedAt = performance.now();
  await cluster.addNode('node-1', { ROW_CACHE_BYTES: String(ROW_CACHE_BYTES), TOPOLOGY_WAIT_MS: '0' });
  await eventually(
    'every event is applied',
    async () => {
      const metrics = parseExposition((await cluster.node('node-1').http.get('/metrics')).body as string);
      return sumOf(metrics, 'stockroom_events_applied_total') === EVENTS;
    },
    { timeoutMs: TIMEOUT_MS },
  );
  return (performance.now() - startedAt) / 1_000;
}

/** Differences between what the gateway answers for a sample of the plan's keys, unnamed ones among them, and `byKey`. */
async function wrongKeys({ gateway }: Cluster, byKey: ReadonlyMap<string, OracleEntry>): Promise<string[]> {
  const random = seededRandom(SEED + 1);
  const sample = Array.from({ length: SAMPLED_KEYS }, () =>
    plannedKey({ store: Math.floor(random() * STORES), item: Math.floor(random() * ITEMS) }),
  );
  expect(sample.filter((key) => byKey.has(key)).length).toBeGreaterThan(SAMPLED_KEYS / 2);
  expect(sample.every((key) => byKey.has(key))).toBe(false);
  const query = 'query ($keys: [InventoryKeyInput!]!) { inventories(keys: $keys) { id received sold onHand } }';
  const wrong: string[] = [];
  for (let first = 0; first < sample.length; first += KEYS_PER_REQUEST) {
    const keys = sample.slice(first, first + KEYS_PER_REQUEST);
    const ids = keys.map((key) => key.split('/')).map(([storeId, itemId]) => ({ storeId, itemId }));
    const { data, errors } = await gateway.query<{ inventories: unknown[] }>(query, { keys: ids });
    expect(errors).toBeUndefined();
    for (const [index, key] of keys.entries()) {
      const entry = byKey.get(key);
      const want = entry && {
        id: key,
        received: entry.received,
        sold: entry.sold,
        onHand: entry.received - entry.sold,
      };
      const [got, expected] = [JSON.stringify(data?.inventories[index]), JSON.stringify(want ?? null)];
      if (got !== expected) wrong.push(`${key}: got ${got}, expected ${expected}`);
    }
  }
  return wrong;
}

describeWithServices('a node with far more keys than its row cache holds', ['kafka', 'consul'], () => {
  it(
    `answers ${KEYS} keys, their stores and the chain exactly, within bounded memory`,
    { timeout: TIMEOUT_MS * 2 },
    async () => {
      await using cluster = new Cluster({ kafka: sharedKafka(), consul: sharedConsul(), partitions: PARTITIONS });
      await cluster.prepare();
      const oracle = await produce(cluster);
      const seconds = await secondsToApply(cluster);
      await cluster.addGateway();
      await cluster.allOwned();

      const entries = [...oracle.entries()];
      const chain = await cluster.gateway.query<{ totals: Totals }>(`{ ${TOTALS} }`);
      expect(chain).toEqual({ status: 200, data: { totals: totalsOf(entries) } });
      for (let store = 1; store <= SAMPLED_STORES; store += 1) {
        const answer = await cluster.gateway.query(`{ store(id: "${store}") { ${TOTALS} } }`);
        const own = entries.filter(({ key }) => key.startsWith(`${store}/`));
        expect(answer).toEqual({ status: 200, data: { store: { totals: totalsOf(own) } } });
      }
      const byKey = new Map(entries.map((entry) => [entry.key as string, entry]));
      expect(await wrongKeys(cluster, byKey)).toEqual([]);

      const peak = await peakResidentBytes(cluster.node('node-1').process.pid);
      console.log(
        `${entries.length} keys, ${EVENTS} events: applied ${seconds.toFixed(1)} s after the node was started, at most ${peak === undefined ? 'unknown' : Math.round(peak / 2 ** 20)} MiB resident`,
      );
      expect(peak ?? 0).toBeLessThan(RESIDENT_BYTES_MAX);
    },
  );
});
