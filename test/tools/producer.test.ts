import { describe, expect, it } from 'vitest';
import type { LogWriter, OutgoingRecord } from '../../cluster/event-log.ts';
import { type EventPlan, generateEvents } from '../../tools/event-generator.ts';
import { type ProduceOptions, produceEvents, type ProduceResult } from '../../tools/producer.ts';

const PLAN: EventPlan = { seed: 1, events: 23_456, stores: 10, items: 10, salesShare: 0.8, eventIds: false };
const TOPICS = { shipments: 'in', sales: 'out' };

/** Takes records; `onAppend` may hold a call up, abort the run or fail it. */
class FakeWriter implements LogWriter {
  readonly records: OutgoingRecord[] = [];
  underWay = 0;
  mostUnderWay = 0;
  largestBatch = 0;
  readonly #onAppend: (call: number) => Promise<void> | void;
  #calls = 0;

  constructor(onAppend: (call: number) => Promise<void> | void = () => undefined) {
    this.#onAppend = onAppend;
  }

  async append(records: readonly OutgoingRecord[]): Promise<{ partition: number; offset: number }[]> {
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    this.largestBatch = Math.max(this.largestBatch, records.length);
    try {
      await Promise.resolve();
      await this.#onAppend((this.#calls += 1));
      this.records.push(...records);
      return records.map((_, offset) => ({ partition: 0, offset }));
    } finally {
      this.underWay -= 1;
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function run(writer: LogWriter, options: Partial<ProduceOptions> = {}): Promise<ProduceResult> {
  return produceEvents({
    writer,
    plan: PLAN,
    topics: TOPICS,
    ratePerS: undefined,
    signal: new AbortController().signal,
    onAcknowledged: () => undefined,
    ...options,
  });
}

describe('producing', () => {
  it('appends every event of the plan once, to the topic of its role', async () => {
    const writer = new FakeWriter();
    expect(await run(writer)).toEqual({ acknowledged: PLAN.events, unsure: 0, error: undefined });
    const planned = [...generateEvents(PLAN)];
    expect(writer.records).toEqual(
      planned.map(({ role, key, count }) => ({ topic: TOPICS[role], key, value: String(count) })),
    );
  });

  it('sends event ids as headers', async () => {
    const writer = new FakeWriter();
    await run(writer, { plan: { ...PLAN, events: 2, eventIds: true } });
    expect(writer.records.map(({ headers }) => headers)).toEqual([{ 'event-id': '1-0' }, { 'event-id': '1-1' }]);
  });

  it('keeps the batches under way, and each batch, bounded', async () => {
    const writer = new FakeWriter(() => Promise.resolve());
    await run(writer);
    expect(writer.mostUnderWay).toBeGreaterThan(1);
    expect(writer.mostUnderWay).toBeLessThanOrEqual(3);
    expect(writer.largestBatch).toBeLessThanOrEqual(5_000);
  });

  it('stops at the first failure and tells the acknowledged from the unsure', async () => {
    const failure = new Error('broker away');
    const writer = new FakeWriter((call) => (call === 3 ? Promise.reject(failure) : undefined));
    const acknowledged: number[] = [];
    const result = await run(writer, { onAcknowledged: (events) => acknowledged.push(events.length) });
    expect(result.error).toBe(failure);
    expect(result.unsure).toBe(5_000);
    expect(result.acknowledged).toBe(writer.records.length);
    expect(acknowledged.reduce((sum, events) => sum + events, 0)).toBe(result.acknowledged);
    expect(result.acknowledged).toBeLessThan(PLAN.events);
  });

  it('ends after what is under way when interrupted', async () => {
    const interrupt = new AbortController();
    const writer = new FakeWriter((call) => {
      if (call === 2) interrupt.abort();
    });
    const result = await run(writer, { signal: interrupt.signal });
    expect(result).toEqual({ acknowledged: writer.records.length, unsure: 0, error: undefined });
    expect(result.acknowledged).toBeGreaterThan(0);
    expect(result.acknowledged).toBeLessThan(PLAN.events);
  });

  it('keeps to a rate, in small even batches', async () => {
    let now = 0;
    const writer = new FakeWriter();
    const sleep = (delayMs: number): Promise<void> => {
      now += delayMs;
      return Promise.resolve();
    };
    await run(writer, { plan: { ...PLAN, events: 1_000 }, ratePerS: 100, now: () => now, sleep });
    expect(writer.largestBatch).toBe(10);
    // The last batch of ten starts when the first 990 events are due.
    expect(now).toBeCloseTo(9_900);
  });
});
