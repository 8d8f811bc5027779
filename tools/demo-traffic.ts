// The demo stream of `npm start`: a few stores that receive and sell a few items, forever, a little at a time.

import type { LogWriter } from '../cluster/event-log.ts';
import type { SourceTopics } from '../cluster/shared-settings.ts';
import { encodeCount, type TopicRole } from '../schema/events.ts';
import { inventoryKey } from '../schema/inventory-key.ts';

export const DEMO_STORES = ['10', '11', '12', '20', '21'] as const;
export const DEMO_ITEMS = [
  'CA',
  'CB',
  'bread',
  'butter',
  'milk',
  'tea-green',
  'tea-black',
  'salt',
  'rice-1kg',
  'rice-5kg',
] as const;
const EVENTS_PER_SECOND = 20;
const SALES_SHARE = 0.8;
const APPEND_TIMEOUT_MS = 5_000;

export interface DemoOptions {
  readonly writer: LogWriter;
  readonly topics: SourceTopics;
  readonly random: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<unknown>;
  readonly signal: AbortSignal;
  /** An append failed; the stream goes on. */
  onFault(error: unknown): void;
}

/** What every store has of every item before the first sale. */
const OPENING_STOCK = 100;

/** One shipment of everything to everywhere: for a log that is empty. */
export async function openDemoStores({ writer, topics }: Pick<DemoOptions, 'writer' | 'topics'>): Promise<void> {
  const keys = DEMO_STORES.flatMap((storeId) => DEMO_ITEMS.map((itemId) => inventoryKey({ storeId, itemId })));
  const records = keys.map((key) => ({ topic: topics.shipments, key, value: encodeCount(OPENING_STOCK) }));
  await writer.append(records, { timeoutMs: APPEND_TIMEOUT_MS });
}

/** Runs until `signal` aborts. */
export async function runDemoTraffic(options: DemoOptions): Promise<void> {
  const { writer, sleep, signal } = options;
  while (!signal.aborted) {
    await writer
      .append([demoRecord(options)], { timeoutMs: APPEND_TIMEOUT_MS })
      .catch((error: unknown) => options.onFault(error));
    await sleep(1_000 / EVENTS_PER_SECOND, signal).catch(() => undefined);
  }
}

/** One shipment brings about what four sales take, so that stock hovers. */
function demoRecord({ topics, random }: DemoOptions) {
  const role: TopicRole = random() < SALES_SHARE ? 'sales' : 'shipments';
  const count = 1 + Math.floor(random() * (role === 'sales' ? 5 : 20));
  const key = inventoryKey({ storeId: pick(DEMO_STORES, random), itemId: pick(DEMO_ITEMS, random) });
  return { topic: topics[role], key, value: encodeCount(count) };
}

function pick(names: readonly string[], random: () => number): string {
  return names[Math.floor(random() * names.length)] ?? '';
}
