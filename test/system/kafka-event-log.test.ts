// The event log on a real Kafka: the port's suite, and what only a broker can do to it.
import { Kafka, logLevel } from 'kafkajs';
import { expect, it } from 'vitest';
import type { TopicPartition } from '../../cluster/event-log.ts';
import { KafkaEventLog } from '../../cluster/kafka-event-log.ts';
import { type EventLogHarness, eventLogSuite } from '../suites/event-log.suite.ts';
import { eventually } from '../support/eventually.ts';
import { startKafka } from '../support/kafka-server.ts';
import { contiguityFaults, LogRecorder } from '../support/log-recorder.ts';
import { describeWithServices, sharedKafka } from '../support/services.ts';
import { uniqueId } from '../support/unique.ts';

function openLog(brokers: string, options: { misfitGraceMs?: number } = {}): KafkaEventLog {
  const settings = { brokers: [brokers], ssl: undefined, sasl: undefined, clientId: 'event-log-test' };
  return new KafkaEventLog({ settings, log: () => undefined, ...options });
}

async function openHarness(options: { misfitGraceMs?: number } = {}): Promise<EventLogHarness> {
  const log = openLog(sharedKafka(), options);
  const kafka = new Kafka({ brokers: [sharedKafka()], clientId: 'event-log-test', logLevel: logLevel.NOTHING });
  const admin = kafka.admin();
  await admin.connect();
  return {
    log,
    async appendGap(at) {
      const end = async () => (await log.ranges(at.topic))[at.partition]?.endOffset as number;
      const before = await end();
      await abortTransaction(kafka, at);
      // The marker is written after the abort was acknowledged.
      await eventually('record and marker are written', async () => (await end()) >= before + 2);
    },
    async deleteRecords({ topic, partition }, beforeOffset) {
      await eventually('the records are deleted', async () => {
        // Without it the next call does not find the leader.
        await admin.fetchTopicOffsets(topic);
        await admin.deleteTopicRecords({ topic, partitions: [{ partition, offset: `${beforeOffset}` }] });
        return true;
      });
    },
    async recreateTopic(topic) {
      const { partitions } = (await log.describeTopic(topic)) as { partitions: number };
      await admin.deleteTopics({ topics: [topic] });
      await eventually('the topic is gone', async () => (await log.describeTopic(topic)) === undefined);
      await log.createTopic({ topic, partitions, replicationFactor: 1, config: {} });
    },
    // Only closed segments are compacted, and these close by time.
    compactedConfig: { 'cleanup.policy': 'compact', 'segment.ms': '50', 'min.cleanable.dirty.ratio': '0.001' },
    async compact(topic) {
      const writer = await log.openWriter({ name: 'compact' });
      for (let i = 0; i < 5; i += 1) {
        await writer.append([{ topic, partition: 0, key: 'roll', value: `${i}` }], { timeoutMs: 10_000 });
      }
      await writer.close();
    },
    async [Symbol.asyncDispose]() {
      await log.close();
      await admin.disconnect();
    },
  };
}

/** An aborted record and its marker: two offsets that no reader of committed records sees. */
async function abortTransaction(kafka: Kafka, { topic, partition }: TopicPartition): Promise<void> {
  const producer = kafka.producer({
    transactionalId: uniqueId('aborting'),
    idempotent: true,
    maxInFlightRequests: 1,
    retry: { initialRetryTime: 20 },
  });
  await producer.connect();
  const transaction = await producer.transaction();
  await transaction.send({ topic, messages: [{ partition, key: 'k', value: 'aborted' }] });
  await transaction.abort();
  await producer.disconnect();
}

describeWithServices('Kafka', ['kafka'], () => {
  eventLogSuite('Kafka', openHarness);

  it('delivers committed records and reaches the end over their markers', async () => {
    await using harness = await openHarness();
    const topic = uniqueId('topic');
    await harness.log.createTopic({ topic, partitions: 1, replicationFactor: 1, config: {} });
    const kafka = new Kafka({ brokers: [sharedKafka()], logLevel: logLevel.NOTHING });
    const producer = kafka.producer({ transactionalId: uniqueId('tx'), idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    await using recorder = await LogRecorder.open(harness.log, [topic]);
    const at = { topic, partition: 0 };
    recorder.reader.assign(at, 0);
    for (let i = 0; i < 5; i += 1) {
      const transaction = await producer.transaction();
      await transaction.send({ topic, messages: [{ key: 'k', value: `${i}` }] });
      await (i === 2 ? transaction.abort() : transaction.commit());
    }
    await producer.disconnect();
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === 10);
    expect(recorder.records.map(({ value }) => value?.toString())).toEqual(['0', '1', '3', '4']);
    expect(contiguityFaults(recorder.batchesOf(at), 0)).toEqual([]);
  });

  // A broker of its own is killed while a writer appends and a reader follows, and comes back on the same log. Every
  // acknowledged record is read once and in order, and the reader has been told that it was cut off.
  it('goes on without gap or duplicate after the broker was killed and started again', async () => {
    await using server = await startKafka();
    const log = openLog(server.brokers);
    const topic = uniqueId('topic');
    await log.createTopic({ topic, partitions: 4, replicationFactor: 1, config: {} });
    await using recorder = await LogRecorder.open(log, [topic]);
    for (let partition = 0; partition < 4; partition += 1) recorder.reader.assign({ topic, partition }, 0);
    const writer = await log.openWriter({ name: 'test' });
    const acknowledged: string[] = [];
    const appendSome = async (name: string) => {
      const records = Array.from({ length: 100 }, (_, i) => ({ topic, key: `${i}`, value: `${name}-${i}` }));
      await writer.append(records, { timeoutMs: 60_000 });
      acknowledged.push(...records.map(({ value }) => value));
    };
    await appendSome('before');
    await eventually('it is read', () => recorder.records.length >= 100);
    expect(log.connected).toBe(true);
    await server.kill();
    await eventually('the connection is lost', () => !log.connected);
    const during = appendSome('during');
    await server.start();
    await during;
    await appendSome('after');
    await eventually('all is read', () => recorder.records.length >= acknowledged.length, { timeoutMs: 60_000 });
    expect(recorder.records.map(({ value }) => `${value?.toString()}`).sort()).toEqual(acknowledged.sort());
    for (let partition = 0; partition < 4; partition += 1) {
      expect(contiguityFaults(recorder.batchesOf({ topic, partition }), 0)).toEqual([]);
    }
    expect(recorder.interruptions).toBeGreaterThan(0);
    expect(recorder.failures).toEqual([]);
    expect(log.connected).toBe(true);
    await log.close();
    await eventually('every connection is closed', () => !log.connected);
  });

  it('rejects within the time given while no broker answers, and appends again once one does', async () => {
    await using server = await startKafka();
    const log = openLog(server.brokers);
    const topic = uniqueId('topic');
    await log.createTopic({ topic, partitions: 1, replicationFactor: 1, config: {} });
    const writer = await log.openWriter({ name: 'test' });
    const record = { topic, key: 'k', value: 'v' };
    await writer.append([record], { timeoutMs: 10_000 });
    await server.kill();
    await expect(writer.append([record], { timeoutMs: 300 })).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await expect(log.ranges(topic)).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
    await server.start();
    const [place] = await writer.append([{ ...record, value: 'again' }], { timeoutMs: 60_000 });
    expect(await log.ranges(topic)).toEqual([{ startOffset: 0, endOffset: (place?.offset as number) + 1 }]);
    await log.close();
  });

  it('refuses a record that the broker does not take', async () => {
    await using harness = await openHarness();
    const topic = uniqueId('topic');
    await harness.log.createTopic({
      topic,
      partitions: 1,
      replicationFactor: 1,
      config: { 'max.message.bytes': '1000' },
    });
    const writer = await harness.log.openWriter({ name: 'test' });
    const record = { topic, key: 'k', value: 'x'.repeat(2_000) };
    await expect(writer.append([record], { timeoutMs: 10_000 })).rejects.toMatchObject({ code: 'BAD_USER_INPUT' });
    expect(await writer.append([{ ...record, value: 'x' }], { timeoutMs: 10_000 })).toEqual([
      { partition: 0, offset: 0 },
    ]);
  });
});
