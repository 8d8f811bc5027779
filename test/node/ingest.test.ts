import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { FRESHNESS_PROBE_MS, Ingest } from '../../node/ingest.ts';
import { openMemoryStore } from '../../node/memory-store.ts';
import type { Shard } from '../../node/shard.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import type { LogRecord } from '../../schema/events.ts';
import type { StartAt } from '../../schema/topology.ts';
import { FakeEventLog } from '../support/fake-event-log.ts';
import {
  closedGate,
  keysOfPartition,
  openQueue,
  openShard,
  readStored,
  record,
  TOPICS,
} from '../support/shard-harness.ts';

const PARTITIONS = 2;
const [KEY = ''] = keysOfPartition(0, PARTITIONS, { count: 1 });
const SHIPMENTS = { topic: TOPICS.shipments, partition: 0 };
const SALES = { topic: TOPICS.sales, partition: 0 };
const GRACE_MS = 5_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('a new shard', () => {
  test('reads both logs from their start, and serves once it is at the end of both', async () => {
    await using node = await TestNode.open();
    node.log.append(SHIPMENTS, recordsFrom(0, 3));
    node.log.append(SALES, recordsFrom(0, 2));
    const shard = await node.add();
    expect(node.log.reader.assigned).toEqual([
      ['shipments/0', 0],
      ['sales/0', 0],
    ]);
    expect(shard.state.name).toBe('restoring');
    await node.log.reader.deliver(SHIPMENTS);
    expect(shard.state.name).toBe('restoring');
    await node.log.reader.deliver(SALES);
    expect(shard.state.name).toBe('serving');
    expect(shard.position).toEqual({ shipments: 3, sales: 2 });
    expect(node.faults).toEqual([]);
  });

  test('of empty logs serves at once', async () => {
    await using node = await TestNode.open();
    expect((await node.add()).state.name).toBe('serving');
  });

  test('takes its goal from a probe that was sent after it came, never from one under way', async () => {
    await using node = await TestNode.open();
    const gate = closedGate();
    node.log.rangesGate = gate.opened;
    await node.add({ partition: 1 });
    node.log.append(SALES, recordsFrom(0, 2));
    const shard = await node.add();
    gate.open();
    await settle();
    expect(node.log.reader.reads(SALES)).toBe(true);
    expect(shard.state.name).toBe('restoring');
    await node.probe();
    expect(shard.state.name).toBe('restoring');
    await node.log.reader.deliver(SALES);
    expect(shard.state.name).toBe('serving');
  });

  test('has a goal that does not run away from it', async () => {
    await using node = await TestNode.open();
    node.log.append(SALES, recordsFrom(0, 2));
    const shard = await node.add();
    node.log.append(SALES, recordsFrom(2, 2));
    await node.probe();
    await node.log.reader.push({ ...SALES, records: recordsFrom(0, 2), firstOffset: 0, nextOffset: 2, endOffset: 4 });
    expect(shard.state.name).toBe('serving');
    expect(node.ingest.endOffset(0, 'sales')).toBe(4);
  });

  test.each<[StartAt, string, RegExp]>([
    ['zero', 'refused', /begins at offset 5, but 0 is the next one needed.*START_AT=log-start/],
    ['log-start', 'serving', /^$/],
  ])('on a log that has lost its beginning, with START_AT=%s, is %s', async (startAt, state, reason) => {
    await using node = await TestNode.open({ startAt });
    node.log.append(SHIPMENTS, recordsFrom(0, 8));
    node.log.truncateBefore(SHIPMENTS, 5);
    const shard = await node.add();
    await node.deliverAll();
    expect(shard.state.name).toBe(state);
    expect(reasonOf(shard)).toMatch(reason);
    expect(shard.position.shipments).toBe(state === 'serving' ? 8 : 0);
    expect(node.log.reader.reads(SALES)).toBe(state === 'serving');
  });

  test('with START_AT=log-start stores where it began, even if only the other topic has records', async () => {
    await using node = await TestNode.open({ startAt: 'log-start' });
    node.log.truncateBefore(SHIPMENTS, 5);
    node.log.append(SALES, recordsFrom(0, 1));
    await node.add();
    await node.deliverAll();
    expect((await readStored(node.store, 0)).position).toEqual({ shipments: 5, sales: 1 });
  });
});

describe('a shard that has read before', () => {
  let node: TestNode;
  beforeEach(async () => {
    node = await TestNode.open();
    node.log.append(SHIPMENTS, recordsFrom(0, 3));
    node.log.append(SALES, recordsFrom(0, 5));
    await node.add();
    await node.deliverAll();
    node.log.append(SALES, recordsFrom(5, 1));
    await node.deliverAll();
    node.ingest.remove(0);
    node.log.reader.assigned.length = 0;
  });
  afterEach(() => node[Symbol.asyncDispose]());

  test('starts at the last record it consumed, compares it, and goes on behind it', async () => {
    node.log.append(SALES, recordsFrom(6, 2));
    const shard = await node.add();
    expect(node.log.reader.assigned).toEqual([
      ['shipments/0', 2],
      ['sales/0', 5],
    ]);
    expect(shard.state.name).toBe('catching-up');
    await node.deliverAll();
    expect(shard.state.name).toBe('serving');
    expect(shard.position).toEqual({ shipments: 3, sales: 8 });
    expect((await readStored(node.store, 0)).rows.get(KEY)).toMatchObject({ received: 3n, sold: 8n });
  });

  test('does not serve before the last record of both topics was compared', async () => {
    const shard = await node.add();
    expect(shard.state.name).toBe('catching-up');
    await node.log.reader.deliver(SALES);
    await node.probe();
    expect(shard.state.name).toBe('catching-up');
    await node.log.reader.deliver(SHIPMENTS);
    expect(shard.state.name).toBe('serving');
  });

  test.each<[string, (log: FakeEventLog) => void]>([
    ['another record where the last one was', (log) => log.recreate(SALES, recordsFrom(0, 9, { value: 7 }))],
    ['no record there, but later ones', (log) => log.recreate(SALES, recordsFrom(6, 9))],
    ['control records alone there', (log) => (log.recreate(SALES, []), log.setEnd(SALES, 20))],
  ])('refuses a recreated topic that has grown past it and holds %s, and applies none of it', async (_, recreate) => {
    recreate(node.log);
    const stored = await readStored(node.store, 0);
    const shard = await node.add();
    await node.deliverAll();
    expect(reasonOf(shard)).toMatch(/sales partition 0 holds another record at offset 5.*recreated.*APPLICATION_ID/);
    expect(await readStored(node.store, 0)).toEqual(stored);
    expect([node.log.reader.reads(SALES), node.log.reader.reads(SHIPMENTS)]).toEqual([false, false]);
  });

  test('refuses a log that has lost records it never read', async () => {
    node.log.append(SALES, recordsFrom(6, 4));
    node.log.truncateBefore(SALES, 8);
    const shard = await node.add();
    expect(reasonOf(shard)).toMatch(/begins at offset 8, but 6 is the next one needed.*retention\.ms=-1/);
    await node.probe();
    expect([node.log.reader.reads(SALES), node.log.reader.reads(SHIPMENTS)]).toEqual([false, false]);
  });

  test('is not started anew by START_AT=log-start, not in a topic that it never read either', async () => {
    await using other = await TestNode.open({ startAt: 'log-start' });
    other.log.append(SALES, recordsFrom(0, 3));
    await other.add();
    await other.deliverAll();
    other.ingest.remove(0);
    other.log.append(SHIPMENTS, recordsFrom(0, 9));
    other.log.truncateBefore(SHIPMENTS, 4);
    expect(reasonOf(await other.add())).toMatch(/shipments partition 0 begins at offset 4/);
  });

  test('goes on where retention has taken exactly what it had read', async () => {
    node.log.truncateBefore(SALES, 6);
    const shard = await node.add();
    expect(node.log.reader.assigned).toContainEqual(['sales/0', 6]);
    node.log.append(SALES, recordsFrom(6, 1));
    await node.deliverAll();
    expect(shard.state.name).toBe('serving');
    expect(shard.position.sales).toBe(7);
  });

  test('compares the last record although only control records follow it', async () => {
    node.log.setEnd(SALES, 9);
    let shard = await node.add();
    await node.deliverAll();
    expect(shard.position.sales).toBe(9);
    node.ingest.remove(0);
    shard = await node.add();
    expect(node.log.reader.assigned.at(-1)).toEqual(['sales/0', 5]);
    await node.deliverAll();
    expect(shard.state.name).toBe('serving');
  });

  test('refuses a log that ends before it once that has lasted for the grace time, not before', async () => {
    node.log.setEnd(SALES, 4);
    const shard = await node.add();
    expect(node.log.reader.reads(SALES)).toBe(false);
    node.now += GRACE_MS - 1;
    await node.probe();
    expect(shard.state.name).toBe('catching-up');
    node.now += 1;
    await node.probe();
    expect(reasonOf(shard)).toMatch(/sales partition 0 ends at offset 4, but 6 is the next one needed.*APPLICATION_ID/);
    expect(node.log.reader.reads(SHIPMENTS)).toBe(false);
  });

  test('waits through a leader change that shows an earlier end for a moment, and compares again', async () => {
    node.log.append(SALES, recordsFrom(6, 2));
    const shard = await node.add();
    await node.deliverAll();
    node.log.setEnd(SALES, 5);
    await node.probe();
    expect(node.log.reader.reads(SALES)).toBe(false);
    node.now += GRACE_MS - 1;
    node.log.append(SALES, recordsFrom(5, 5));
    await node.probe();
    expect(node.log.reader.assigned.at(-1)).toEqual(['sales/0', 7]);
    await node.deliverAll();
    // The grace time begins anew with the next time that it ends early.
    node.log.setEnd(SALES, 5);
    node.now += GRACE_MS;
    await node.probe();
    expect(shard.state.name).toBe('serving');
    expect(shard.position.sales).toBe(10);
  });

  test('is not taken to be past the end by an answer older than what it has applied meanwhile', async () => {
    const shard = await node.add();
    await node.deliverAll();
    const gate = closedGate();
    node.log.rangesGate = gate.opened;
    await node.probe();
    node.log.append(SALES, recordsFrom(6, 5));
    await node.deliverAll();
    expect(shard.position.sales).toBe(11);
    node.log.reader.assigned.length = 0;
    gate.open();
    await settle();
    expect(node.log.reader.reads(SALES)).toBe(true);
    expect(node.log.reader.assigned).toEqual([]);
  });
});

describe('an interruption', () => {
  test('has the last record compared again, while a batch from before is still being applied', async () => {
    const gate = closedGate();
    const hold = { commits: false };
    await using node = await TestNode.open({ beforeWrite: () => (hold.commits ? gate.opened : undefined) });
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    await node.deliverAll();
    hold.commits = true;
    node.log.append(SALES, recordsFrom(3, 2));
    const older = node.log.reader.deliver(SALES);
    node.log.reader.interrupt();
    expect(node.log.reader.reads(SALES)).toBe(false);
    await settle();
    expect(node.log.reader.assigned.at(-1)).toEqual(['sales/0', 2]);
    const again = node.log.reader.deliver(SALES);
    gate.open();
    await Promise.all([older, again]);
    expect(shard.state.name).toBe('serving');
    expect(shard.position.sales).toBe(5);
    expect((await readStored(node.store, 0)).rows.get(KEY)).toMatchObject({ sold: 5n });
  });

  test('finds a topic that was recreated behind it', async () => {
    await using node = await TestNode.open();
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    await node.deliverAll();
    expect(shard.state.name).toBe('serving');
    node.log.recreate(SALES, recordsFrom(0, 10, { value: 9 }));
    node.log.reader.interrupt();
    await settle();
    await node.deliverAll();
    expect(reasonOf(shard)).toMatch(/holds another record at offset 2/);
    expect(shard.position.sales).toBe(3);
  });

  test('leaves a shard that catches up not serving until it has been compared again', async () => {
    await using node = await TestNode.open();
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    await node.log.reader.push({ ...SALES, records: recordsFrom(0, 2), firstOffset: 0, nextOffset: 2, endOffset: 3 });
    node.log.reader.interrupt();
    await settle();
    await node.log.reader.push({ ...SALES, records: recordsFrom(1, 1), firstOffset: 1, nextOffset: 2, endOffset: 3 });
    expect(shard.state.name).toBe('restoring');
    await node.log.reader.push({ ...SALES, records: recordsFrom(2, 1), firstOffset: 2, nextOffset: 3, endOffset: 3 });
    expect(shard.state.name).toBe('serving');
  });
});

describe('a reader that reports a misfit', () => {
  test('is started again where the next probe finds that the log fits', async () => {
    await using node = await TestNode.open();
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    node.log.reader.reportMisfit(SALES, { kind: 'behind', fromOffset: 0, endOffset: -1 });
    expect(node.faults).toEqual([expect.stringContaining('sales partition 0: the log is behind')]);
    await node.probe();
    await node.deliverAll();
    expect(shard.state.name).toBe('serving');
  });

  test('is followed by a refusal where the log was truncated', async () => {
    await using node = await TestNode.open();
    node.log.append(SALES, recordsFrom(0, 9));
    const shard = await node.add();
    node.log.truncateBefore(SALES, 7);
    node.log.reader.reportMisfit(SALES, { kind: 'truncated', fromOffset: 0, startOffset: 7 });
    await node.probe();
    expect(reasonOf(shard)).toMatch(/begins at offset 7/);
  });
});

describe('another partition count', () => {
  test('stops ingestion and not reads, is told at every probe, and ends when it is as it was', async () => {
    await using node = await TestNode.open();
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    await node.deliverAll();
    node.log.setPartitions('sales', 3);
    await node.probe();
    expect(node.log.reader.reads(SALES)).toBe(false);
    expect(node.log.reader.reads(SHIPMENTS)).toBe(false);
    await node.probe();
    expect(node.faults).toHaveLength(2);
    expect(node.faults[0]).toMatch(/^TOPOLOGY_MISMATCH: expected 2 partitions, shipments has 2 and sales 3/);
    expect(shard.state.name).toBe('serving');
    node.log.setPartitions('sales', 2);
    node.log.append(SALES, recordsFrom(3, 1));
    await node.probe();
    await node.deliverAll();
    expect(shard.position.sales).toBe(4);
  });
});

describe('removing a shard', () => {
  test('while a batch is under way lets that one end, and nothing changes the closed shard afterwards', async () => {
    const gate = closedGate();
    await using node = await TestNode.open({ beforeWrite: () => gate.opened });
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    const underWay = node.log.reader.deliver(SALES);
    shard.change({ kind: 'close' });
    node.ingest.remove(0);
    expect(node.log.reader.reads(SALES)).toBe(false);
    const barrier = node.queue.barrier();
    gate.open();
    await barrier;
    const stored = await readStored(node.store, 0);
    await underWay;
    await node.log.reader.push({ ...SALES, records: recordsFrom(3, 1), firstOffset: 3, nextOffset: 4, endOffset: 4 });
    await node.probe();
    expect(await readStored(node.store, 0)).toEqual(stored);
    expect(shard.state.name).toBe('closed');
    expect(node.ingest.endOffset(0, 'sales')).toBeNull();
  });

  test('leaves its successor alone when the batch from before fails', async () => {
    const gate = closedGate();
    const fault = { armed: true };
    await using node = await TestNode.open({
      beforeWrite: async () => {
        await gate.opened;
        if (fault.armed) throw new Error('no space left');
      },
    });
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    const failing = node.log.reader.deliver(SALES);
    shard.change({ kind: 'close' });
    node.ingest.remove(0);
    const successor = await node.add();
    gate.open();
    await failing;
    expect(node.log.reader.reads(SALES)).toBe(true);
    fault.armed = false;
    await node.deliverAll();
    expect(successor.state.name).toBe('serving');
    expect(successor.position.sales).toBe(3);
  });
});

describe('faults', () => {
  test('of the store refuse the shard with the reason, and it is read no more', async () => {
    await using node = await TestNode.open({
      beforeWrite: () => {
        throw new Error('no space left on device');
      },
    });
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    await node.log.reader.deliver(SALES);
    expect(reasonOf(shard)).toContain('no space left on device');
    await node.probe();
    expect([node.log.reader.reads(SALES), node.log.reader.reads(SHIPMENTS)]).toEqual([false, false]);
    expect(node.faults).toEqual([expect.stringContaining('partition 0: the local store failed')]);
  });

  test('of the log while probing are told, and reading goes on', async () => {
    await using node = await TestNode.open();
    node.log.append(SALES, recordsFrom(0, 3));
    const shard = await node.add();
    node.log.rangesError = new Error('no broker');
    await node.probe();
    expect(node.faults).toEqual([expect.stringContaining('end offsets')]);
    await node.deliverAll();
    expect(shard.position.sales).toBe(3);
  });

  test('of the reader for good are told', async () => {
    await using node = await TestNode.open();
    node.log.reader.fail(new Error('unauthorised'));
    expect(node.faults).toEqual([expect.stringContaining('restart this node')]);
  });
});

test('a batch of a partition that is not fed is passed over', async () => {
  await using node = await TestNode.open();
  await node.log.reader.push({ ...SALES, records: recordsFrom(0, 1), firstOffset: 0, nextOffset: 1, endOffset: 1 });
  expect((await readStored(node.store, 0)).rows.size).toBe(0);
});

test('a shard that comes before the reader is open is read once it is', async () => {
  await using node = await TestNode.open({ isStarted: false });
  node.log.append(SALES, recordsFrom(0, 3));
  const shard = await node.add();
  await node.ingest.start();
  await node.probe();
  await node.deliverAll();
  expect(shard.state.name).toBe('serving');
});

test('closing releases, closes the reader and probes no more', async () => {
  await using node = await TestNode.open();
  await node.add();
  const { reader, probes } = { reader: node.log.reader, probes: node.log.probes };
  await node.ingest.close();
  expect([reader.isClosed, reader.reads(SALES)]).toEqual([true, false]);
  await node.probe();
  expect(node.log.probes).toBe(probes);
});

interface NodeOptions {
  readonly startAt?: StartAt;
  readonly beforeWrite?: () => void | Promise<void>;
  readonly isStarted?: boolean;
}

/** An ingest over a fake log and a memory store; the clock and the probes are the test's. */
class TestNode implements AsyncDisposable {
  now = 1_000_000;
  readonly log = new FakeEventLog(Object.values(TOPICS), PARTITIONS);
  readonly faults: string[] = [];
  readonly store: ShardStore;
  readonly queue: ReturnType<typeof openQueue>['queue'];
  readonly ingest: Ingest;

  private constructor({ startAt = 'zero', beforeWrite }: NodeOptions) {
    this.store = openMemoryStore(beforeWrite === undefined ? {} : { beforeWrite });
    this.queue = openQueue(this.store, PARTITIONS).queue;
    this.ingest = new Ingest({
      eventLog: this.log,
      topics: TOPICS,
      partitions: PARTITIONS,
      startAt,
      queue: this.queue,
      name: 'test',
      onFault: (message) => this.faults.push(message),
      now: () => this.now,
    });
  }

  static async open(options: NodeOptions = {}): Promise<TestNode> {
    const node = new TestNode(options);
    if (options.isStarted !== false) await node.ingest.start();
    return node;
  }

  /** Opens the partition's shard from the store and feeds it. */
  async add({ partition = 0 } = {}): Promise<Shard> {
    const shard = await openShard({ store: this.store, partition });
    this.ingest.add(shard);
    await settle();
    return shard;
  }

  /** The next probe, answered unless the ranges are held back. */
  async probe(): Promise<void> {
    vi.advanceTimersByTime(FRESHNESS_PROBE_MS);
    await settle();
  }

  /** Delivers both topics of partition 0 to their ends, then probes. */
  async deliverAll(): Promise<void> {
    await Promise.all([this.log.reader.deliver(SHIPMENTS), this.log.reader.deliver(SALES)]);
    await this.probe();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.log.rangesGate = Promise.resolve();
    await this.ingest.close();
    await this.store.close();
  }
}

/** Lets everything run that waits for nothing but its turn. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 10; turns++) await nextTurn();
}

function recordsFrom(first: number, count: number, { value = 1 } = {}): LogRecord[] {
  return Array.from({ length: count }, (_, i) => record(first + i, KEY, value));
}

function reasonOf(shard: Shard): string {
  return shard.state.name === 'refused' ? shard.state.reason : '';
}
