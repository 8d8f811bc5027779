import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { COUNT_MAX, EVENT_ID_PATTERN } from '../../schema/events.ts';
import { parseInventoryKey } from '../../schema/inventory-key.ts';
import { type EventPlan, generateEvents, Oracle, plannedKey, seededRandom } from '../../tools/event-generator.ts';

const PLAN: EventPlan = { seed: 7, events: 2_000, stores: 12, items: 30, salesShare: 0.8, eventIds: true };

describe('generated events', () => {
  it('are the same for the same plan, and others for another seed', () => {
    const events = [...generateEvents(PLAN)];
    expect([...generateEvents(PLAN)]).toEqual(events);
    expect([...generateEvents({ ...PLAN, seed: 8 })]).not.toEqual(events);
  });

  it('are pinned: an oracle file made today is still right tomorrow', () => {
    const [first, second, third] = generateEvents({ ...PLAN, events: 3 });
    expect([first, second, third].map((event) => `${event?.role} ${event?.key} ${event?.count}`)).toEqual([
      'shipments 1/item-5 80',
      'sales 8/item-10 4',
      'sales 4/item-1 2',
    ]);
  });

  it('begin alike, however many there are', () => {
    expect([...generateEvents({ ...PLAN, events: 100 })]).toEqual([...generateEvents(PLAN)].slice(0, 100));
  });

  it('are well formed, with an id each if asked', () => {
    const events = [...generateEvents(PLAN)];
    for (const { key, count, eventId, keyIndex } of events) {
      expect(parseInventoryKey(key)).toBe(key);
      expect(Math.abs(count)).toBeGreaterThan(0);
      expect(Math.abs(count)).toBeLessThanOrEqual(COUNT_MAX);
      expect(eventId).toMatch(EVENT_ID_PATTERN);
      expect(key).toBe(plannedKey({ store: Math.floor(keyIndex / PLAN.items), item: keyIndex % PLAN.items }));
    }
    expect(new Set(events.map(({ eventId }) => eventId)).size).toBe(events.length);
    expect([...generateEvents({ ...PLAN, eventIds: false })].every(({ eventId }) => eventId === undefined)).toBe(true);
  });

  it('keep to the share of sales and spread over all keys', () => {
    const events = [...generateEvents({ ...PLAN, events: 20_000 })];
    const sales = events.filter(({ role }) => role === 'sales').length;
    expect(sales / events.length).toBeCloseTo(0.8, 1);
    expect(new Set(events.map(({ key }) => key)).size).toBe(PLAN.stores * PLAN.items);
    expect(events.some(({ count }) => count < 0)).toBe(true);
    expect([...generateEvents({ ...PLAN, salesShare: 0 })].every(({ role }) => role === 'shipments')).toBe(true);
    expect([...generateEvents({ ...PLAN, salesShare: 1 })].every(({ role }) => role === 'sales')).toBe(true);
  });
});

describe('the oracle', () => {
  it('holds the sums of exactly the events given to it, in the byte order of keys', () => {
    const plans = fc.record({
      seed: fc.nat(2 ** 32 - 1),
      events: fc.nat(300),
      stores: fc.integer({ min: 1, max: 120 }),
      items: fc.integer({ min: 1, max: 120 }),
      salesShare: fc.double({ min: 0, max: 1, noNaN: true }),
      eventIds: fc.boolean(),
    });
    const property = fc.property(plans, (plan) => {
      const oracle = new Oracle(plan);
      const expected = new Map<string, { received: number; sold: number }>();
      for (const event of generateEvents(plan)) {
        oracle.add(event);
        const sums = expected.get(event.key) ?? { received: 0, sold: 0 };
        sums[event.role === 'shipments' ? 'received' : 'sold'] += event.count;
        expected.set(event.key, sums);
      }
      const entries = [...oracle.entries()];
      expect(new Map(entries.map(({ key, received, sold }) => [key as string, { received, sold }]))).toEqual(expected);
      expect(entries.map(({ key }) => key)).toEqual([...expected.keys()].sort((a, b) => (a < b ? -1 : 1)));
    });
    expect(() => fc.assert(property)).not.toThrow();
  });

  it('names a key whose counts cancel out', () => {
    const oracle = new Oracle({ stores: 1, items: 1 });
    oracle.add({ role: 'sales', keyIndex: 0, count: 3 });
    oracle.add({ role: 'sales', keyIndex: 0, count: -3 });
    expect([...oracle.entries()]).toEqual([{ key: '1/item-1', received: 0, sold: 0 }]);
  });
});

describe('seeded random numbers', () => {
  it('are even, and differ from seed to seed', () => {
    const random = seededRandom(0);
    const numbers = Array.from({ length: 100_000 }, random);
    expect(numbers.every((number) => number >= 0 && number < 1)).toBe(true);
    const buckets = Array.from({ length: 10 }, () => 0);
    for (const number of numbers) buckets[Math.floor(number * 10)]! += 1;
    for (const bucket of buckets) expect(Math.abs(bucket - 10_000)).toBeLessThan(500);
    expect(new Set([0, 1, 2, 2 ** 32 - 1].map((seed) => seededRandom(seed)())).size).toBe(4);
  });
});
