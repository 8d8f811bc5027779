import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { LogWriter, OutgoingRecord } from '../../cluster/event-log.ts';
import { DeadLetterPublisher } from '../../node/dead-letter-publisher.ts';
import { openMemoryStore } from '../../node/memory-store.ts';
import type { Shard } from '../../node/shard.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import { batchOf, closedGate, openQueue, openShard, readStored, record } from '../support/shard-harness.ts';

const PARTITIONS = 3;
const TOPIC = 'inventory-dead-letters';
/** More than the wait between rounds. */
const ROUND_MS = 1_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('the dead-letter publisher', () => {
  test('publishes the outboxes of owned shards, keyed by place, and deletes what is written', async () => {
    await using node = await TestNode.open();
    await node.addBad(0, 2);
    await node.addBad(1, 1);
    node.owned.push(node.shard(0));
    await node.round();
    expect(node.appended.map(({ topic, key }) => [topic, key])).toEqual([
      [TOPIC, 'sales/0/0'],
      [TOPIC, 'sales/0/1'],
    ]);
    expect(JSON.parse(node.appended[0]?.value ?? '')).toMatchObject({
      topic: 'sales',
      partition: 0,
      offset: 0,
      reason: 'DECODE_FAILED',
    });
    expect(node.told).toBe(2);
    expect([node.shard(0).outboxSize, node.shard(1).outboxSize]).toEqual([0, 1]);
    expect((await readStored(node.store, 0)).deadLetters).toEqual([]);
    expect((await readStored(node.store, 1)).deadLetters).toHaveLength(1);
  });

  test('empties an outbox of many appends in one round, in order, each letter once', async () => {
    await using node = await TestNode.open();
    await node.addBad(0, 1_250);
    node.owned.push(node.shard(0));
    await node.round();
    expect(node.appends.map((records) => records.length)).toEqual([500, 500, 250]);
    expect(new Set(node.appended.map(({ key }) => key)).size).toBe(1_250);
    expect(node.shard(0).outboxSize).toBe(0);
  });

  test('keeps what the log did not take, tells, and publishes it in a later round under the same keys', async () => {
    await using node = await TestNode.open();
    await node.addBad(0, 3);
    node.owned.push(node.shard(0));
    node.failure = new Error('no broker');
    await node.round();
    expect(node.faults).toEqual([`partition 0: 3 dead letters cannot be published to ${TOPIC}`]);
    expect(node.told).toBe(0);
    expect((await readStored(node.store, 0)).deadLetters).toHaveLength(3);
    node.failure = undefined;
    await node.round();
    expect(node.appended.map(({ key }) => key)).toEqual(['sales/0/0', 'sales/0/1', 'sales/0/2']);
    expect(node.shard(0).outboxSize).toBe(0);
  });

  test('publishes again what was written and not yet deleted when the process ended', async () => {
    await using node = await TestNode.open();
    await node.addBad(0, 1);
    node.owned.push(node.shard(0));
    const { deadLetters } = await readStored(node.store, 0);
    await node.round();
    // As if the deletion had been lost.
    const [letter] = deadLetters;
    await node.store.write((batch) =>
      batch.put(node.shard(0).keys.deadLetter('sales', 0), Buffer.from(JSON.stringify(letter))),
    );
    await node.reopen(0);
    await node.round();
    expect(node.appended.map(({ key }) => key)).toEqual(['sales/0/0', 'sales/0/0']);
  });

  test('takes letters that come while it publishes, and counts none twice', async () => {
    await using node = await TestNode.open();
    await node.addBad(0, 2);
    node.owned.push(node.shard(0));
    const gate = closedGate();
    node.appendGate = gate.opened;
    await node.round();
    await node.addBad(0, 3, 2);
    expect(node.shard(0).outboxSize).toBe(5);
    gate.open();
    await settle();
    await node.round();
    expect(node.appended.map(({ key }) => key)).toEqual([0, 1, 2, 3, 4].map((offset) => `sales/0/${offset}`));
    expect(node.shard(0).outboxSize).toBe(0);
    expect(node.told).toBe(5);
  });

  test('ends the round under way before it is closed, and begins no other', async () => {
    await using node = await TestNode.open();
    await node.addBad(0, 1);
    node.owned.push(node.shard(0));
    const gate = closedGate();
    node.appendGate = gate.opened;
    await node.round();
    const closing = node.publisher.close();
    let isClosed = false;
    void closing.then(() => (isClosed = true));
    await settle();
    expect(isClosed).toBe(false);
    gate.open();
    await closing;
    await node.addBad(0, 1, 1);
    await node.round();
    expect(node.appended.map(({ key }) => key)).toEqual(['sales/0/0']);
  });
});

/** Shards with outboxes, a writer that remembers, and rounds when the test says so. */
class TestNode implements AsyncDisposable {
  readonly store: ShardStore = openMemoryStore();
  readonly owned: Shard[] = [];
  readonly appends: (readonly OutgoingRecord[])[] = [];
  readonly faults: string[] = [];
  readonly publisher: DeadLetterPublisher;
  told = 0;
  failure: Error | undefined;
  appendGate: Promise<void> = Promise.resolve();
  readonly #shards = new Map<number, Shard>();

  private constructor() {
    const writer: LogWriter = {
      append: async (records) => {
        await this.appendGate;
        if (this.failure !== undefined) throw this.failure;
        this.appends.push(records);
        return records.map((_, offset) => ({ partition: 0, offset }));
      },
      close: () => Promise.resolve(),
    };
    this.publisher = new DeadLetterPublisher({
      store: this.store,
      writer,
      topic: TOPIC,
      owned: () => this.owned,
      published: (letters) => (this.told += letters.length),
      onFault: (message) => this.faults.push(message),
    });
  }

  static async open(): Promise<TestNode> {
    const node = new TestNode();
    for (const partition of [0, 1]) await node.reopen(partition);
    node.publisher.start();
    return node;
  }

  get appended(): OutgoingRecord[] {
    return this.appends.flat();
  }

  shard(partition: number): Shard {
    return this.#shards.get(partition) as Shard;
  }

  async reopen(partition: number): Promise<void> {
    const shard = await openShard({ store: this.store, partition });
    this.#shards.set(partition, shard);
    if (this.owned.length > 0) this.owned.splice(0, 1, shard);
  }

  /** Applies sales that are no events, from `first` on. */
  async addBad(partition: number, count: number, first = 0): Promise<void> {
    const { queue } = openQueue(this.store, PARTITIONS);
    const records = Array.from({ length: count }, (_, i) => record(first + i, 'no key', 1));
    await queue.submit(this.shard(partition), 'sales', batchOf('sales', partition, records));
  }

  async round(): Promise<void> {
    vi.advanceTimersByTime(ROUND_MS);
    await settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.publisher.close();
    await this.store.close();
  }
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await nextTurn();
}
