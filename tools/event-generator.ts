// Shipments and sales made up from a seed: the same arguments give the same events in the same order, on every machine.
// Pure; used by `npm run produce`, by tests and by the benchmark. The oracle folds the same events independently of the
// product: plain sums in arrays.

import type { TopicRole } from '../schema/events.ts';
import { inventoryKey, type InventoryKey } from '../schema/inventory-key.ts';

/** What to make up. */
export interface EventPlan {
  /** 0–2^32−1. */
  readonly seed: number;
  readonly events: number;
  readonly stores: number;
  readonly items: number;
  /** Share of sales among the events, 0–1. */
  readonly salesShare: number;
  /** Give every event an id of its own, `<seed>-<number>`. */
  readonly eventIds: boolean;
}

export interface GeneratedEvent {
  readonly role: TopicRole;
  /** storeIndex × items + itemIndex; what the oracle counts by. */
  readonly keyIndex: number;
  readonly key: InventoryKey;
  /** A shipment of 1–200, a sale of 1–5; one in 50 is a return or correction, negative. */
  readonly count: number;
  readonly eventId: string | undefined;
}

const SHIPMENT_MAX = 200;
const SALE_MAX = 5;
const RETURN_SHARE = 0.02;

/** The events of a plan, keys drawn uniformly. */
export function* generateEvents(plan: EventPlan): Generator<GeneratedEvent, void, void> {
  const { seed, events, stores, items, salesShare, eventIds } = plan;
  const random = seededRandom(seed);
  for (let number = 0; number < events; number += 1) {
    const storeIndex = Math.floor(random() * stores);
    const itemIndex = Math.floor(random() * items);
    const role = random() < salesShare ? 'sales' : 'shipments';
    const sign = random() < RETURN_SHARE ? -1 : 1;
    const count = sign * (1 + Math.floor(random() * (role === 'sales' ? SALE_MAX : SHIPMENT_MAX)));
    const keyIndex = storeIndex * items + itemIndex;
    const key = `${storeName(storeIndex)}/${itemName(itemIndex)}` as InventoryKey;
    yield { role, keyIndex, key, count, eventId: eventIds ? `${seed}-${number}` : undefined };
  }
}

/** Key of a store and an item of a plan, both counted from 0. */
export function plannedKey({ store, item }: { readonly store: number; readonly item: number }): InventoryKey {
  return inventoryKey({ storeId: storeName(store), itemId: itemName(item) });
}

/** What the oracle knows of one key. */
export interface OracleEntry {
  readonly key: InventoryKey;
  readonly received: number;
  readonly sold: number;
}

/** Sums of the events given to it, per key. 17 bytes a key of the plan, whatever the number of events. */
export class Oracle {
  readonly #plan: Pick<EventPlan, 'stores' | 'items'>;
  readonly #received: Float64Array;
  readonly #sold: Float64Array;
  readonly #named: Uint8Array;

  constructor(plan: Pick<EventPlan, 'stores' | 'items'>) {
    this.#plan = plan;
    const keys = plan.stores * plan.items;
    this.#received = new Float64Array(keys);
    this.#sold = new Float64Array(keys);
    this.#named = new Uint8Array(keys);
  }

  add({ role, keyIndex, count }: Pick<GeneratedEvent, 'role' | 'keyIndex' | 'count'>): void {
    const sums = role === 'shipments' ? this.#received : this.#sold;
    sums[keyIndex] = (sums[keyIndex] ?? 0) + count;
    this.#named[keyIndex] = 1;
  }

  /** Every key that an event named, in the byte order of keys. */
  *entries(): Generator<OracleEntry, void, void> {
    const { stores, items } = this.#plan;
    // The separator takes part in the order of stores: "1-a/" sorts before "1/", "10/" behind both.
    const storeOrder = sortedIndexes(stores, (index) => `${storeName(index)}/`);
    const itemOrder = sortedIndexes(items, itemName);
    for (const storeIndex of storeOrder) {
      for (const itemIndex of itemOrder) {
        const keyIndex = storeIndex * items + itemIndex;
        if (this.#named[keyIndex] !== 1) continue;
        const key = plannedKey({ store: storeIndex, item: itemIndex });
        yield { key, received: this.#received[keyIndex] ?? 0, sold: this.#sold[keyIndex] ?? 0 };
      }
    }
  }
}

/** Uniform numbers in [0, 1) from a 32-bit seed: xoshiro128** (Blackman and Vigna, 2018), seeded by splitmix32. */
export function seededRandom(seed: number): () => number {
  const nextSeed = splitmix32(seed);
  let [a, b, c, d] = [nextSeed(), nextSeed(), nextSeed(), nextSeed()];
  return () => {
    const scrambled = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9);
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return (scrambled >>> 0) / 2 ** 32;
  };
}

function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return mixed ^ (mixed >>> 15);
  };
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function storeName(index: number): string {
  return String(index + 1);
}

function itemName(index: number): string {
  return `item-${index + 1}`;
}

function sortedIndexes(count: number, nameOf: (index: number) => string): number[] {
  const names = Array.from({ length: count }, (_, index) => ({ index, name: nameOf(index) }));
  return names.sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ index }) => index);
}
