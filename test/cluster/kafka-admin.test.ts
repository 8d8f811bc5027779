// Questions to Kafka that share a client whose answers fail. The rest of the adapter is tested on a real broker.
import { expect, it } from 'vitest';
import { KafkaAdmin } from '../../cluster/kafka-admin.ts';
import type { KafkaClientOptions, KafkaConnection } from '../../cluster/kafka-connection.ts';

const OFFSETS = [{ partition: 0, low: '2', high: '5', offset: '5' }];

type Answer = (topic: string) => Promise<typeof OFFSETS>;

/** A connection whose nth client answers by `answers[n]`; as kafkajs's, one that is abandoned never settles. */
function connectionOf(answers: readonly Answer[]): { connection: KafkaConnection; clients: () => number } {
  let made = 0;
  const createClient = ({ abandoned }: KafkaClientOptions) => {
    const answer = answers[made++] as Answer;
    const fetchTopicOffsets = (topic: string) =>
      new Promise((resolve, reject) => {
        const unlessAbandoned = (settle: () => void) => (abandoned?.aborted === true ? undefined : settle());
        answer(topic).then(
          (offsets) => unlessAbandoned(() => resolve(offsets)),
          (error: unknown) => unlessAbandoned(() => reject(error)),
        );
      });
    return { admin: () => ({ connect: () => Promise.resolve(), fetchTopicOffsets }) };
  };
  return { connection: { createClient } as unknown as KafkaConnection, clients: () => made };
}

const never: Answer = () => new Promise(() => undefined);
const fail: Answer = () => Promise.reject(new Error('no such topic'));
const succeed: Answer = () => Promise.resolve(OFFSETS);

it('asks a fresh client again when another question took the client along', async () => {
  const first: Answer = (topic) => (topic === 'gone' ? fail(topic) : never(topic));
  const { connection, clients } = connectionOf([first, (topic) => (topic === 'gone' ? fail : succeed)(topic)]);
  const admin = new KafkaAdmin(connection);
  const asked = [admin.ranges('kept'), admin.ranges('gone')] as const;
  await expect(asked[1]).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  expect(await asked[0]).toEqual([{ startOffset: 2, endOffset: 5 }]);
  expect(clients()).toBe(2);
});

it('puts a question that an old client failed at to a fresh one once more, and then gives up', async () => {
  const known: Answer = (topic) => (topic === 'known' ? succeed(topic) : fail(topic));
  const { connection, clients } = connectionOf([known, fail]);
  const admin = new KafkaAdmin(connection);
  await admin.ranges('known');
  await expect(admin.ranges('gone')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  expect(clients()).toBe(2);
});

it('rejects what is asked while it closes', async () => {
  const { connection } = connectionOf([never]);
  const admin = new KafkaAdmin(connection);
  const asked = admin.ranges('any');
  await Promise.resolve();
  admin.close();
  await expect(asked).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  await expect(admin.ranges('any')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
});
