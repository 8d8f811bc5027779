import { describe, expect, it } from 'vitest';
import type { TopicDescription, TopicSpec } from '../../cluster/event-log.ts';
import { InventoryError } from '../../schema/errors.ts';
import { requiredTopics, setUpTopics } from '../../tools/topic-setup.ts';

const SPECS = requiredTopics({
  applicationId: 'inventory',
  topics: { shipments: 'in', sales: 'out' },
  partitions: 16,
  replicationFactor: 3,
});

/** A broker that holds descriptions; `failures` calls fail first. */
class FakeLog {
  readonly topics = new Map<string, TopicDescription>();
  readonly created: TopicSpec[] = [];
  failures: Error[] = [];
  /** Somebody else creates the topic between our look and our creation. */
  race: TopicDescription | undefined;

  describeTopic(topic: string): Promise<TopicDescription | undefined> {
    const failure = this.failures.shift();
    return failure === undefined ? Promise.resolve(this.topics.get(topic)) : Promise.reject(failure);
  }

  createTopic(spec: TopicSpec): Promise<boolean> {
    if (this.race !== undefined) {
      this.topics.set(spec.topic, this.race);
      return Promise.resolve(false);
    }
    this.created.push(spec);
    this.topics.set(spec.topic, describedAs(spec));
    return Promise.resolve(true);
  }
}

function describedAs(spec: TopicSpec): TopicDescription {
  return {
    partitions: spec.partitions,
    replicationFactor: spec.replicationFactor,
    cleanupPolicy: spec.config['cleanup.policy'] ?? 'delete',
    retentionMs: Number(spec.config['retention.ms'] ?? 604_800_000),
    retentionBytes: Number(spec.config['retention.bytes'] ?? -1),
  };
}

/** A clock that only sleeping moves. */
function clock(): { now: () => number; sleep: (delayMs: number) => Promise<void> } {
  let now = 0;
  return {
    now: () => now,
    sleep: (delayMs) => {
      now += delayMs;
      return Promise.resolve();
    },
  };
}

describe('setting up topics', () => {
  it('asks for sources that keep everything and dead letters that keep the last per record', () => {
    const keepAll = { 'cleanup.policy': 'delete', 'retention.ms': '-1', 'retention.bytes': '-1' };
    expect(SPECS).toEqual([
      { topic: 'in', partitions: 16, replicationFactor: 3, config: keepAll },
      { topic: 'out', partitions: 16, replicationFactor: 3, config: keepAll },
      {
        topic: 'inventory-dead-letters',
        partitions: 1,
        replicationFactor: 3,
        config: { 'cleanup.policy': 'compact' },
      },
    ]);
  });

  it('creates what is missing, and nothing the second time', async () => {
    const log = new FakeLog();
    const states = async (): Promise<string[]> =>
      (await setUpTopics(log, { specs: SPECS, waitMs: 0 })).map(({ state }) => state);
    expect(await states()).toEqual(['created', 'created', 'created']);
    expect(await states()).toEqual(['as expected', 'as expected', 'as expected']);
    expect(log.created).toEqual(SPECS);
  });

  it('says what differs and leaves it alone', async () => {
    const log = new FakeLog();
    const found = { partitions: 8, replicationFactor: 1, cleanupPolicy: 'compact', retentionMs: 1, retentionBytes: 2 };
    log.topics.set('in', found);
    const [first] = await setUpTopics(log, { specs: SPECS, waitMs: 0 });
    expect(first).toEqual({
      topic: 'in',
      state: 'differs',
      differences: [
        'partitions is 8, expected 16',
        'replication factor is 1, expected 3',
        'cleanup.policy is compact, expected delete',
        'retention.ms is 1, expected -1',
        'retention.bytes is 2, expected -1',
      ],
    });
    expect(log.topics.get('in')).toBe(found);
  });

  it('compares a topic that somebody else creates at the same time', async () => {
    const log = new FakeLog();
    log.race = { ...describedAs(SPECS[0] as TopicSpec), partitions: 4 };
    const [first] = await setUpTopics(log, { specs: SPECS.slice(0, 1), waitMs: 0 });
    expect(first).toMatchObject({ state: 'differs', differences: ['partitions is 4, expected 16'] });
  });

  it('keeps trying while the log cannot be reached, until its time is over', async () => {
    const log = new FakeLog();
    const away = (): Error => new InventoryError('LOG_UNAVAILABLE', 'away');
    log.failures = [away(), away(), away()];
    const options = { specs: SPECS, waitMs: 2_000, ...clock() };
    expect((await setUpTopics(log, options)).map(({ state }) => state)).toEqual(['created', 'created', 'created']);
    log.failures = Array.from({ length: 10 }, away);
    await expect(setUpTopics(log, { ...options, ...clock() })).rejects.toThrow('away');
    expect(log.failures).toHaveLength(5);
  });

  it('gives up at once where trying again is no use', async () => {
    const log = new FakeLog();
    log.failures = [new InventoryError('BAD_CONFIG', 'too many copies')];
    await expect(setUpTopics(log, { specs: SPECS, waitMs: 60_000, ...clock() })).rejects.toThrow('too many copies');
  });
});
