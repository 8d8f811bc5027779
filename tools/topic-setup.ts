// The topics a view needs, and how to make them: create what is missing, say what differs, never alter what is there.

import { setTimeout as sleepMs } from 'node:timers/promises';
import type { EventLog, TopicDescription, TopicSpec } from '../cluster/event-log.ts';
import { deadLettersTopic, type SourceTopics } from '../cluster/shared-settings.ts';
import { InventoryError } from '../schema/errors.ts';

/** What came of one topic; `differences` are in words. */
export interface TopicOutcome {
  readonly topic: string;
  readonly state: 'created' | 'as expected' | 'differs';
  readonly differences: readonly string[];
}

const RETRY_MS = 500;
const UNLIMITED = '-1';

/** The sources keep everything (they are the only truth); of the dead letters the last per coordinates is enough. */
export function requiredTopics(view: {
  readonly applicationId: string;
  readonly topics: SourceTopics;
  readonly partitions: number;
  readonly replicationFactor: number;
}): TopicSpec[] {
  const { partitions, replicationFactor } = view;
  const config = { 'cleanup.policy': 'delete', 'retention.ms': UNLIMITED, 'retention.bytes': UNLIMITED };
  return [
    { topic: view.topics.shipments, partitions, replicationFactor, config },
    { topic: view.topics.sales, partitions, replicationFactor, config },
    {
      topic: deadLettersTopic(view.applicationId),
      partitions: 1,
      replicationFactor,
      config: { 'cleanup.policy': 'compact' },
    },
  ];
}

/**
 * Creates or compares `specs`, one after the other. While the log cannot be reached it tries again until `waitMs` have
 * passed, then rejects with LOG_UNAVAILABLE; with BAD_CONFIG where the broker refuses a topic.
 */
export async function setUpTopics(
  eventLog: Pick<EventLog, 'describeTopic' | 'createTopic'>,
  options: {
    readonly specs: readonly TopicSpec[];
    readonly waitMs: number;
    readonly now?: () => number;
    readonly sleep?: (delayMs: number) => Promise<unknown>;
  },
): Promise<TopicOutcome[]> {
  const { specs, waitMs, now = () => performance.now(), sleep = sleepMs } = options;
  const deadline = now() + waitMs;
  const outcomes: TopicOutcome[] = [];
  for (const spec of specs) {
    for (let outcome: TopicOutcome | undefined; outcome === undefined;) {
      try {
        outcome = await setUpTopic(eventLog, spec);
        outcomes.push(outcome);
      } catch (error) {
        const worthARetry = error instanceof InventoryError && error.retryable;
        if (!worthARetry || now() + RETRY_MS > deadline) throw error;
        await sleep(RETRY_MS);
      }
    }
  }
  return outcomes;
}

async function setUpTopic(
  eventLog: Pick<EventLog, 'describeTopic' | 'createTopic'>,
  spec: TopicSpec,
): Promise<TopicOutcome> {
  const { topic } = spec;
  const present = await eventLog.describeTopic(topic);
  if (present === undefined && (await eventLog.createTopic(spec))) return { topic, state: 'created', differences: [] };
  // Somebody else was faster: what they made is compared like any other.
  const description = present ?? (await eventLog.describeTopic(topic));
  if (description === undefined) {
    throw new InventoryError('LOG_UNAVAILABLE', `topic ${topic} exists but is not described yet`);
  }
  const differences = differencesOf(spec, description);
  return { topic, state: differences.length === 0 ? 'as expected' : 'differs', differences };
}

function differencesOf(spec: TopicSpec, found: TopicDescription): string[] {
  const compared: [name: string, expected: string | undefined, found: string][] = [
    ['partitions', String(spec.partitions), String(found.partitions)],
    ['replication factor', String(spec.replicationFactor), String(found.replicationFactor)],
    ['cleanup.policy', spec.config['cleanup.policy'], found.cleanupPolicy],
    ['retention.ms', spec.config['retention.ms'], String(found.retentionMs)],
    ['retention.bytes', spec.config['retention.bytes'], String(found.retentionBytes)],
  ];
  return compared
    .filter(([, expected, actual]) => expected !== undefined && expected !== actual)
    .map(([name, expected, actual]) => `${name} is ${actual}, expected ${String(expected)}`);
}
