// What every event log must do, whoever keeps it. Both adapters run it: test/cluster/embedded-event-log.test.ts and
// test/system/kafka-event-log.test.ts.
import { describe, expect, it } from 'vitest';
import type { EventLog, OutgoingRecord, TopicPartition } from '../../cluster/event-log.ts';
import { partitionOfKey } from '../../schema/partitioner.ts';
import { eventually } from '../support/eventually.ts';
import { contiguityFaults, LogRecorder } from '../support/log-recorder.ts';
import { uniqueId } from '../support/unique.ts';

export interface EventLogHarness extends AsyncDisposable {
  readonly log: EventLog;
  /** Takes up offsets without a record at the end of a partition. */
  appendGap(at: TopicPartition): Promise<void>;
  /** Moves the start of a partition. */
  deleteRecords(at: TopicPartition, beforeOffset: number): Promise<void>;
  /** The topic deleted and made again, empty. */
  recreateTopic(topic: string): Promise<void>;
  /** Settings of a compacted topic that `compact` has an effect on soon. */
  readonly compactedConfig: Readonly<Record<string, string>>;
  compact(topic: string): Promise<void>;
}

/** A log of its own for one test; disposing closes it and removes what it left. */
export type OpenEventLog = (options?: { misfitGraceMs?: number }) => Promise<EventLogHarness>;

const TIMEOUT_MS = 10_000;
/** Long enough for a busy machine never to reach it within a test. */
const NEVER_MS = 600_000;
const PARTITIONS = 12;

export function eventLogSuite(adapter: string, open: OpenEventLog): void {
  describe(`event log: ${adapter}`, () => {
    topicTests(open);
    writerTests(open);
    readerTests(open);
    assignmentTests(open);
    misfitTests(open);
  });
}

function topicTests(open: OpenEventLog): void {
  it('makes a topic once, and says so', async () => {
    await using harness = await open();
    const { log } = harness;
    const topic = uniqueId('topic');
    const config = { 'cleanup.policy': 'compact', 'retention.ms': '-1', 'retention.bytes': '-1' };
    expect(await log.describeTopic(topic)).toBeUndefined();
    expect(await log.createTopic({ topic, partitions: PARTITIONS, replicationFactor: 1, config })).toBe(true);
    expect(await log.createTopic({ topic, partitions: 3, replicationFactor: 1, config: {} })).toBe(false);
    expect(await log.describeTopic(topic)).toEqual({
      partitions: PARTITIONS,
      replicationFactor: 1,
      cleanupPolicy: 'compact',
      retentionMs: -1,
      retentionBytes: -1,
    });
    expect(await log.ranges(topic)).toEqual(
      Array.from({ length: PARTITIONS }, () => ({ startOffset: 0, endOffset: 0 })),
    );
  });

  it('refuses names and counts that no topic can have', async () => {
    await using harness = await open();
    const spec = { partitions: 1, replicationFactor: 1, config: {} };
    await expect(harness.log.createTopic({ ...spec, topic: 'not/a/topic' })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
    });
    await expect(harness.log.createTopic({ ...spec, topic: uniqueId('topic'), partitions: 0 })).rejects.toMatchObject({
      code: 'BAD_CONFIG',
    });
  });

  it('has no ranges for a topic that is missing, and recovers from having been asked', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    await expect(harness.log.ranges(uniqueId('missing'))).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    expect(await harness.log.ranges(topic)).toHaveLength(PARTITIONS);
  });
}

function writerTests(open: OpenEventLog): void {
  it("partitions keyed records like Java's client and tells where each one is", async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const records = Array.from({ length: 200 }, (_, i) => ({
      topic,
      key: `${100 + (i % 7)}/${48_000 + i}`,
      value: `${i}`,
    }));
    const places = await append(harness.log, records);
    expect(places.map(({ partition }) => partition)).toEqual(records.map(({ key }) => partitionOfKey(key, PARTITIONS)));

    await using recorder = await LogRecorder.open(harness.log, [topic]);
    assignAll(recorder, topic);
    await eventually('all records are read', () => recorder.records.length >= records.length);
    for (const [i, { partition, offset }] of places.entries()) {
      const found = recorder.recordsOf({ topic, partition }).find((record) => record.offset === offset);
      expect(found?.key?.toString()).toBe(records[i]?.key);
      expect(found?.value?.toString()).toBe(`${i}`);
    }
  });

  it('keeps the order of records per partition, over many calls at once', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const writer = await harness.log.openWriter({ name: 'test' });
    const calls = Array.from({ length: 40 }, (_, call) =>
      writer.append(
        Array.from({ length: 5 }, (__, i) => ({ topic, key: 'k', value: `${call * 5 + i}`, partition: 3 })),
        { timeoutMs: TIMEOUT_MS },
      ),
    );
    const places = (await Promise.all(calls)).flat();
    await writer.close();
    expect(places).toEqual(Array.from({ length: 200 }, (_, offset) => ({ partition: 3, offset })));

    await using recorder = await LogRecorder.open(harness.log, [topic]);
    const at = { topic, partition: 3 };
    recorder.reader.assign(at, 0);
    await eventually('all records are read', () => recorder.records.length >= 200);
    expect(recorder.recordsOf(at).map(({ value }) => Number(value?.toString()))).toEqual(places.map((_, i) => i));
  });

  it('keeps value, null, timestamp and headers as they were given', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 0 };
    await append(harness.log, [
      {
        ...at,
        key: 'schlüssel/ß',
        value: '−5',
        timestamp: 1_700_000_000_000,
        headers: { source: 'till-4', 'event-id': 'e1' },
      },
      { ...at, key: 'k', value: null, headers: { twice: ['a', 'b'], empty: '' } },
      { ...at, key: '', value: '' },
    ]);
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 0);
    await eventually('all records are read', () => recorder.records.length >= 3);
    const [first, second, third] = recorder.records;
    expect(first?.key?.toString()).toBe('schlüssel/ß');
    expect(first?.value?.toString()).toBe('−5');
    expect(first?.timestamp).toBe(1_700_000_000_000);
    expect(first?.headers).toEqual({ source: Buffer.from('till-4'), 'event-id': Buffer.from('e1') });
    expect(second?.value).toBeNull();
    expect(second?.headers).toEqual({ twice: [Buffer.from('a'), Buffer.from('b')], empty: Buffer.alloc(0) });
    expect(third?.key).toEqual(Buffer.alloc(0));
    expect(third?.value).toEqual(Buffer.alloc(0));
    expect(third?.headers).toBeUndefined();
  });

  it('rejects for a topic that is missing, within the time given', async () => {
    await using harness = await open();
    const writer = await harness.log.openWriter({ name: 'test' });
    const record = { topic: uniqueId('missing'), key: 'k', value: 'v' };
    await expect(writer.append([record], { timeoutMs: 500 })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    const topic = await makeTopic(harness.log);
    expect(await writer.append([{ ...record, topic }], { timeoutMs: TIMEOUT_MS })).toHaveLength(1);
    await writer.close();
  });
}

function readerTests(open: OpenEventLog): void {
  it('delivers each partition in offset order from its beginning, and then what is appended', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const records = numbered(topic, 2_400);
    await append(harness.log, records.slice(0, 1_200));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    assignAll(recorder, topic);
    await eventually('what was there is read', () => recorder.records.length >= 1_200);
    await append(harness.log, records.slice(1_200));
    await eventually('what was appended is read', () => recorder.records.length >= 2_400);
    for (let partition = 0; partition < PARTITIONS; partition += 1) {
      const at = { topic, partition };
      expect(contiguityFaults(recorder.batchesOf(at), 0)).toEqual([]);
      expect(recorder.offsetsOf(at)).toEqual(Array.from({ length: 200 }, (_, offset) => offset));
    }
    expect(recorder.overlaps).toEqual([]);
  });

  it('begins at the offset it is told', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 5 };
    await append(harness.log, numbered(topic, 10, 5));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 7);
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === 10);
    expect(recorder.offsetsOf(at)).toEqual([7, 8, 9]);
    expect(recorder.batches[0]).toMatchObject({ firstOffset: 7, endOffset: 10 });
  });

  it('begins at the end, and delivers what comes', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 5 };
    await append(harness.log, numbered(topic, 10, 5));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 10);
    await append(harness.log, numbered(topic, 1, 5));
    await eventually('the new record is read', () => recorder.records.length > 0);
    expect(recorder.offsetsOf(at)).toEqual([10]);
  });

  it('reaches the end over offsets that hold no record, in the middle and at the end', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 1 };
    await append(harness.log, numbered(topic, 3, 1));
    await harness.appendGap(at);
    await append(harness.log, numbered(topic, 2, 1));
    await harness.appendGap(at);
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 0);
    const end = await endOf(harness.log, at);
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === end);
    expect(contiguityFaults(recorder.batchesOf(at), 0)).toEqual([]);
    expect(recorder.records).toHaveLength(5);
    expect(recorder.records[3]?.offset).toBeGreaterThan(3);

    await harness.appendGap(at);
    const later = await endOf(harness.log, at);
    expect(later).toBeGreaterThan(end);
    await eventually('the end is reached while following', () => recorder.nextOffsetOf(at) === later);
    expect(recorder.batches.at(-1)).toMatchObject({ records: [], nextOffset: later, endOffset: later });
    expect(recorder.overlaps).toEqual([]);
  });

  it('reads a compacted topic to its end: the last record of each key, at its offset', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log, { partitions: 1, config: harness.compactedConfig });
    const at = { topic, partition: 0 };
    for (let round = 0; round < 4; round += 1) {
      await append(
        harness.log,
        Array.from({ length: 20 }, (_, i) => ({ ...at, key: `k${i}`, value: `${round}` })),
      );
    }
    await harness.compact(topic);
    const end = await endOf(harness.log, at);
    await eventually('the topic is compacted', () => readsOnce(harness.log, at, end, 80), { timeoutMs: 60_000 });
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 0);
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === end);
    expect(contiguityFaults(recorder.batchesOf(at), 0)).toEqual([]);
    const latest = new Map(recorder.records.map(({ key, value }) => [key?.toString(), value?.toString()]));
    expect(latest.size).toBeGreaterThanOrEqual(20);
    for (let i = 0; i < 20; i += 1) expect(latest.get(`k${i}`)).toBe('3');
  });

  it('stops for good when a handler fails, and tells', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    await append(harness.log, numbered(topic, 1, 2));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.onBatch = () => {
      throw new Error('the store is full');
    };
    recorder.reader.assign({ topic, partition: 2 }, 0);
    await eventually('the failure is told', () => recorder.failures.length > 0);
    expect(recorder.failures.map(({ message }) => message)).toEqual(['the store is full']);
    expect(recorder.batches).toHaveLength(1);
  });

  it('delivers nothing after it is closed', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    await append(harness.log, numbered(topic, 10, 2));
    const recorder = await LogRecorder.open(harness.log, [topic]);
    await using witness = await LogRecorder.open(harness.log, [topic]);
    for (const { reader } of [recorder, witness]) reader.assign({ topic, partition: 2 }, 0);
    await eventually('both have read', () => recorder.records.length === 10 && witness.records.length === 10);
    await recorder.reader.close();
    await append(harness.log, numbered(topic, 10, 2));
    await eventually('the other goes on', () => witness.records.length === 20);
    expect(recorder.records).toHaveLength(10);
  });
}

function assignmentTests(open: OpenEventLog): void {
  it('gives no second batch of a partition while one is unresolved, and goes on with the others', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const held = { topic, partition: 0 };
    const free = { topic, partition: 1 };
    await append(harness.log, numbered(topic, 10, 0));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    const release = recorder.hold(held);
    recorder.reader.assign(held, 0);
    recorder.reader.assign(free, 0);
    await eventually('the handler is held', () => recorder.batchesOf(held).length > 0);
    const before = recorder.offsetsOf(held).length;
    for (let i = 1; i <= 5; i += 1) {
      await append(harness.log, [...numbered(topic, 10, 0), ...numbered(topic, 10, 1)]);
      await eventually('the other partition goes on', () => recorder.offsetsOf(free).length === i * 10);
    }
    expect(recorder.offsetsOf(held)).toHaveLength(before);
    release();
    await eventually('the held one catches up', () => recorder.nextOffsetOf(held) === 60);
    expect(recorder.offsetsOf(held)).toEqual(Array.from({ length: 60 }, (_, offset) => offset));
    expect(recorder.overlaps).toEqual([]);
  });

  it('begins no batch of a released partition', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const [kept, released] = [0, 1].map((partition) => ({ topic, partition })) as [TopicPartition, TopicPartition];
    await append(harness.log, [...numbered(topic, 5, 0), ...numbered(topic, 5, 1)]);
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(kept, 0);
    recorder.reader.assign(released, 0);
    await eventually('both are read', () => recorder.records.length === 10);
    recorder.reader.release(released);
    await append(harness.log, [...numbered(topic, 5, 1), ...numbered(topic, 5, 0)]);
    await eventually('the kept one goes on', () => recorder.nextOffsetOf(kept) === 10);
    expect(recorder.nextOffsetOf(released)).toBe(5);
    recorder.reader.assign(released, 5);
    await eventually('it goes on once assigned again', () => recorder.nextOffsetOf(released) === 10);
    expect(recorder.offsetsOf(released)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('goes on from the new offset when assigned anew during a batch, and only after that batch', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 4 };
    await append(harness.log, numbered(topic, 20, 4));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    const release = recorder.hold(at);
    recorder.reader.assign(at, 0);
    await eventually('the handler is held', () => recorder.batches.length === 1);
    recorder.reader.assign(at, 12);
    await append(harness.log, numbered(topic, 1, 4));
    expect(recorder.batches).toHaveLength(1);
    release();
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === 21);
    const [, ...later] = recorder.batchesOf(at);
    expect(later[0]?.firstOffset).toBe(12);
    expect(contiguityFaults(later, 12)).toEqual([]);
    expect(recorder.overlaps).toEqual([]);
  });

  // Under traffic every fetch, batch and seek is in the air while the partition is assigned elsewhere again and again.
  // Whatever arrives must belong to the newest assignment, begin where that began, and miss nothing.
  it('never delivers a batch of an earlier assignment, however often it is assigned anew', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 7 };
    await append(harness.log, numbered(topic, 500, 7));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    for (let round = 0; round < 30; round += 1) {
      const fromOffset = (round * 137) % 500;
      const first = recorder.batches.length;
      recorder.reader.assign(at, fromOffset);
      await append(harness.log, numbered(topic, 3, 7));
      if (round % 3 === 0) continue;
      await eventually('the new assignment delivers', () => recorder.batches.length > first);
      const ours = recorder.batches.slice(first);
      expect(ours[0]?.firstOffset).toBe(fromOffset);
      expect(contiguityFaults(ours, fromOffset)).toEqual([]);
    }
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === 590);
    expect(recorder.overlaps).toEqual([]);
  });
}

function misfitTests(open: OpenEventLog): void {
  it('reports a log that begins behind the offset, and reads the others', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 0 };
    await append(harness.log, [...numbered(topic, 10, 0), ...numbered(topic, 10, 1)]);
    await harness.deleteRecords(at, 6);
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 5);
    recorder.reader.assign({ topic, partition: 1 }, 0);
    await eventually('the misfit is reported', () => recorder.misfits.length > 0);
    expect(recorder.misfits).toEqual([{ at, misfit: { kind: 'truncated', fromOffset: 5, startOffset: 6 } }]);
    await eventually('the other is read', () => recorder.nextOffsetOf({ topic, partition: 1 }) === 10);
    expect(recorder.offsetsOf(at)).toEqual([]);
    recorder.reader.assign(at, 6);
    await eventually('it is read from where the log begins', () => recorder.nextOffsetOf(at) === 10);
    expect(recorder.offsetsOf(at)).toEqual([6, 7, 8, 9]);
  });

  it('reports records that are removed before they could be read, instead of going on elsewhere', async () => {
    await using harness = await open();
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 0 };
    await append(harness.log, numbered(topic, 10, 0));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    const release = recorder.hold(at);
    recorder.reader.assign(at, 0);
    await eventually('the handler is held', () => recorder.nextOffsetOf(at) === 10);
    await append(harness.log, numbered(topic, 10, 0));
    await harness.deleteRecords(at, 15);
    release();
    await eventually('the misfit is reported', () => recorder.misfits.length > 0);
    expect(recorder.misfits).toEqual([{ at, misfit: { kind: 'truncated', fromOffset: 10, startOffset: 15 } }]);
    expect(recorder.nextOffsetOf(at)).toBe(10);
  });

  it('reports a log that ends before the offset once the grace time is over', async () => {
    await using harness = await open({ misfitGraceMs: 100 });
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 0 };
    await append(harness.log, numbered(topic, 10, 0));
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 11);
    await eventually('the misfit is reported', () => recorder.misfits.length > 0);
    expect(recorder.misfits).toEqual([{ at, misfit: { kind: 'behind', fromOffset: 11, endOffset: 10 } }]);
    expect(recorder.batches).toEqual([]);
  });

  it('waits within the grace time for a log to come up to the offset', async () => {
    await using harness = await open({ misfitGraceMs: NEVER_MS });
    const topic = await makeTopic(harness.log);
    const at = { topic, partition: 0 };
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(at, 11);
    for (let i = 0; i < 13; i += 1) await append(harness.log, numbered(topic, 1, 0));
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === 13);
    expect(recorder.offsetsOf(at)).toEqual([11, 12]);
    expect(recorder.misfits).toEqual([]);
  });

  // The topic is deleted and made again while it is read. The reader is told before anything of the new topic arrives, so
  // that it can compare; told to begin again, it gets the new records only; left alone past the new end, a misfit.
  it('interrupts the reader when its topic is made anew', async () => {
    await using harness = await open({ misfitGraceMs: 100 });
    const topic = await makeTopic(harness.log);
    const [again, left] = [0, 1].map((partition) => ({ topic, partition })) as [TopicPartition, TopicPartition];
    await append(harness.log, [...numbered(topic, 10, 0), ...numbered(topic, 10, 1)]);
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    recorder.reader.assign(again, 0);
    recorder.reader.assign(left, 0);
    await eventually('both are read', () => recorder.records.length === 20);
    let readBefore = 0;
    recorder.onInterrupted = () => {
      readBefore = Math.max(readBefore, recorder.records.length);
      recorder.reader.assign(again, recorder.records.length === 20 ? 0 : (recorder.nextOffsetOf(again) as number));
    };
    await harness.recreateTopic(topic);
    await append(harness.log, [
      { ...again, key: 'k', value: 'new' },
      { ...left, key: 'k', value: 'new' },
    ]);
    await eventually('the new record is read', () => recorder.records.length > 20, { timeoutMs: 30_000 });
    expect(recorder.interruptions).toBeGreaterThan(0);
    expect(recorder.records.slice(20).map(({ value }) => value?.toString())).toEqual(['new']);
    await eventually('the one left alone is reported', () => recorder.misfits.length > 0, { timeoutMs: 30_000 });
    expect(recorder.misfits).toEqual([{ at: left, misfit: { kind: 'behind', fromOffset: 10, endOffset: 1 } }]);
  });
}

async function makeTopic(
  log: EventLog,
  { partitions = PARTITIONS, config = {} }: { partitions?: number; config?: Readonly<Record<string, string>> } = {},
): Promise<string> {
  const topic = uniqueId('topic');
  await log.createTopic({ topic, partitions, replicationFactor: 1, config });
  return topic;
}

/** `count` records: all in `partition`, or in turn over all of them. */
function numbered(topic: string, count: number, partition?: number): OutgoingRecord[] {
  return Array.from({ length: count }, (_, i) => ({
    topic,
    key: 'k',
    value: `${i}`,
    partition: partition ?? i % PARTITIONS,
  }));
}

async function append(log: EventLog, records: readonly OutgoingRecord[]) {
  const writer = await log.openWriter({ name: 'test' });
  try {
    return await writer.append(records, { timeoutMs: TIMEOUT_MS });
  } finally {
    await writer.close();
  }
}

function assignAll(recorder: LogRecorder, topic: string): void {
  for (let partition = 0; partition < PARTITIONS; partition += 1) recorder.reader.assign({ topic, partition }, 0);
}

async function endOf(log: EventLog, { topic, partition }: TopicPartition): Promise<number> {
  return (await log.ranges(topic))[partition]?.endOffset as number;
}

/** Whether reading the whole partition gives fewer than `count` records. */
async function readsOnce(log: EventLog, at: TopicPartition, end: number, count: number): Promise<boolean> {
  await using recorder = await LogRecorder.open(log, [at.topic]);
  recorder.reader.assign(at, 0);
  await eventually('the end is reached', () => recorder.nextOffsetOf(at) === end);
  return recorder.records.length < count;
}
