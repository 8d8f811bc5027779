// The ground that the other system tests stand on: the real servers start, answer, and come back after a crash, and
// three clients of different making agree on where a key belongs.
import Consul from 'consul';
import { Kafka, logLevel } from 'kafkajs';
import { expect, it } from 'vitest';
import { startConsul } from '../support/consul-server.ts';
import { eventually } from '../support/eventually.ts';
import { startKafka } from '../support/kafka-server.ts';
import { produceWithJava, produceWithKcat } from '../support/other-producers.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';
import { uniqueId } from '../support/unique.ts';

const PARTITIONS = 12;

function kafkaAt(brokers: string): Kafka {
  return new Kafka({ brokers: [brokers], clientId: 'services-test', logLevel: logLevel.NOTHING });
}

async function createTopic(brokers: string, name: string): Promise<string> {
  const topic = uniqueId(name);
  const admin = kafkaAt(brokers).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS, replicationFactor: 1 }] });
  await admin.disconnect();
  return topic;
}

/** Whether `asking` fails for want of an answer. A stop signal takes effect in its own time: one answer may still slip out. */
async function timesOut(asking: Promise<unknown>): Promise<boolean> {
  try {
    await asking;
    return false;
  } catch (error) {
    if (!/timed? ?out/i.test((error as Error).message)) throw error;
    return true;
  }
}

/** Asks once, on a connection of its own, and waits half a second at most. */
async function listTopics(brokers: string): Promise<string[]> {
  const limits = { connectionTimeout: 500, requestTimeout: 500, retry: { retries: 0 } };
  const admin = new Kafka({ brokers: [brokers], logLevel: logLevel.NOTHING, ...limits }).admin();
  try {
    await admin.connect();
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

async function produce(brokers: string, topic: string, records: { key: string; value: string }[]): Promise<void> {
  const producer = kafkaAt(brokers).producer({ allowAutoTopicCreation: false, retry: { initialRetryTime: 20 } });
  await producer.connect();
  await producer.send({ topic, messages: records });
  await producer.disconnect();
}

/** Reads the topic from its beginning until it has given `count` records: `key=value` → partition. */
async function consume(brokers: string, topic: string, count: number): Promise<Map<string, number>> {
  const consumer = kafkaAt(brokers).consumer({ groupId: uniqueId('reader'), allowAutoTopicCreation: false });
  const seen = new Map<string, number>();
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      seen.set(`${message.key?.toString()}=${message.value?.toString()}`, partition);
    },
  });
  await eventually(`${count} records of ${topic} read`, () => seen.size >= count, { timeoutMs: 30_000 });
  await consumer.disconnect();
  return seen;
}

function consulAt(address: string): InstanceType<typeof Consul> {
  const [host = '', port] = address.split(':');
  return new Consul({ host, port: Number(port) });
}

describeWithServices('a Kafka for tests', ['kafka'], () => {
  it('gives back what was produced, and makes no topic by itself', async () => {
    const brokers = sharedKafka();
    const topic = await createTopic(brokers, 'round-trip');
    await produce(brokers, topic, [{ key: '10/CA', value: '200' }]);
    expect([...(await consume(brokers, topic, 1)).keys()]).toEqual(['10/CA=200']);
    await expect(produce(brokers, uniqueId('nowhere'), [{ key: 'a', value: 'b' }])).rejects.toThrow(
      /does not host this topic-partition/,
    );
  });

  it('keeps port and log over a crash and over an orderly stop', async () => {
    await using kafka = await startKafka();
    const topic = await createTopic(kafka.brokers, 'kept');
    await produce(kafka.brokers, topic, [{ key: '1/A', value: '1' }]);
    const firstPid = kafka.pid;

    await kafka.kill();
    expect(() => kafka.pid).toThrow(/is not running/);
    await kafka.start();
    expect(kafka.pid).not.toBe(firstPid);
    await produce(kafka.brokers, topic, [{ key: '2/B', value: '2' }]);

    await kafka.stop();
    await kafka.start();
    expect([...(await consume(kafka.brokers, topic, 2)).keys()].sort()).toEqual(['1/A=1', '2/B=2']);
  });

  it('answers nothing while paused, and goes on when resumed', async () => {
    await using kafka = await startKafka();
    const ask = (): Promise<string[]> => listTopics(kafka.brokers);
    kafka.pause();
    await eventually('kafka answers no more', () => timesOut(ask()));
    kafka.resume();
    expect(await eventually('kafka answers again', ask)).toEqual([]);
  });
});

describeWithServices('the Java client, kcat and kafkajs', ['kafka', 'java', 'kcat'], () => {
  it('put a key into the same partition when kcat is told to partition like Java', async () => {
    const brokers = sharedKafka();
    const topic = await createTopic(brokers, 'placed');
    const keys = [
      '10/CA',
      '100:48069',
      'Zürich/Größe-42',
      '🛒/📦',
      ...Array.from({ length: 40 }, (_, n) => `${n}/item-${n}`),
    ];
    const java = await produceWithJava(
      brokers,
      keys.map((key) => ({ topic, key, value: 'java', headers: { 'event-id': key } })),
    );
    const records = (value: string): { key: string; value: string }[] => keys.map((key) => ({ key, value }));
    await produceWithKcat({ brokers, topic, partitioner: 'murmur2_random' }, records('murmur2'));
    await produceWithKcat({ brokers, topic, partitioner: 'default' }, records('crc32'));
    await produce(brokers, topic, records('kafkajs'));

    const placed = await consume(brokers, topic, keys.length * 4);
    const by = (producer: string): unknown[] => keys.map((key) => placed.get(`${key}=${producer}`));
    expect(by('java')).toEqual(java.map(({ partition }) => partition));
    expect(by('murmur2')).toEqual(by('java'));
    expect(by('kafkajs')).toEqual(by('java'));
    expect(by('crc32')).not.toEqual(by('java'));
  });

  it('see only the committed one of two Java transactions', async () => {
    const brokers = sharedKafka();
    const topic = await createTopic(brokers, 'transactions');
    const transactionalId = uniqueId('till');
    await produceWithJava(brokers, [{ topic, key: '1/A', value: '1' }], { transactionalId, end: 'abort' });
    const written = await produceWithJava(brokers, [{ topic, key: '1/A', value: '2' }], {
      transactionalId,
      end: 'commit',
    });
    // The aborted record and its marker have taken offsets 0 and 1.
    expect(written).toMatchObject([{ topic, offset: 2n }]);
    expect([...(await consume(brokers, topic, 1)).keys()]).toEqual(['1/A=2']);
  });
});

describeWithServices('a Consul for tests', ['consul'], () => {
  it('stores keys and makes sessions', async () => {
    const consul = consulAt(sharedConsul());
    const key = uniqueId('key');
    await consul.kv.set(key, 'owner');
    expect(await consul.kv.get(key)).toMatchObject({ Value: 'owner' });
    expect(await consul.session.create({ ttl: '10s' })).toHaveProperty('ID');
  });

  it.each([
    ['an agent in memory comes back empty', { persistent: false, status: 404 }],
    ['a persistent agent comes back with its keys', { persistent: true, status: 200 }],
  ])('%s when killed and started again', async (_, { persistent, status }) => {
    await using server = await startConsul({ persistent });
    await consulAt(server.address).kv.set('kept', 'yes');
    await server.kill();
    await expect(fetch(`http://${server.address}/v1/status/leader`)).rejects.toThrow(/fetch failed/);
    await server.start();
    const response = await fetch(`http://${server.address}/v1/kv/kept?raw`);
    expect(response.status).toBe(status);
    expect(await consulAt(server.address).session.create({ ttl: '10s' })).toHaveProperty('ID');
  });

  it('answers nothing while paused, and goes on when resumed', async () => {
    await using server = await startConsul();
    const ask = (timeoutMs: number): Promise<Response> =>
      fetch(`http://${server.address}/v1/status/leader`, { signal: AbortSignal.timeout(timeoutMs) });
    server.pause();
    await eventually('consul answers no more', () => timesOut(ask(300)));
    server.resume();
    expect((await ask(10_000)).status).toBe(200);
  });
});
