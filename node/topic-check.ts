// What a node looks at before it trusts the topics. Missing topics, unequal partition counts and compaction of a source
// topic make counts wrong, so the node refuses to start; finite retention will lose records some day, so it warns.

import type { EventLog, TopicDescription } from '../cluster/event-log.ts';
import { InventoryError } from '../schema/errors.ts';
import { type TopicRole, TOPIC_ROLES } from '../schema/events.ts';
import { PARTITIONS_MAX } from './shard-keys.ts';

export interface TopicCheck {
  /** Partition count of both source topics. */
  readonly partitions: number;
  readonly warnings: readonly string[];
}

/** Checks the source topics and the dead-letter topic. Throws BAD_CONFIG listing every fault, or LOG_UNAVAILABLE. */
export async function checkTopics(
  eventLog: EventLog,
  topics: { readonly [Role in TopicRole]: string },
  deadLetterTopic: string,
): Promise<TopicCheck> {
  const names = [...TOPIC_ROLES.map((role) => topics[role]), deadLetterTopic];
  const descriptions = await Promise.all(names.map((name) => eventLog.describeTopic(name)));
  const missing = names.filter((_, i) => descriptions[i] === undefined);
  if (missing.length > 0) {
    throw new InventoryError(
      'BAD_CONFIG',
      `topics are missing: ${missing.join(', ')}. Create them with: npm run topics -- --partitions 16 --replication-factor 3`,
    );
  }
  const [shipments, sales] = descriptions as [TopicDescription, TopicDescription, TopicDescription];
  const faults = [...sourceFaults(topics.shipments, shipments), ...sourceFaults(topics.sales, sales)];
  if (shipments.partitions !== sales.partitions) {
    faults.push(
      `${topics.shipments} has ${shipments.partitions} partitions and ${topics.sales} ${sales.partitions}; both must have the same number`,
    );
  }
  if (faults.length > 0) throw new InventoryError('BAD_CONFIG', `the topics cannot be used: ${faults.join('; ')}`);
  return {
    partitions: shipments.partitions,
    warnings: [...retentionWarnings(topics.shipments, shipments), ...retentionWarnings(topics.sales, sales)],
  };
}

function sourceFaults(name: string, topic: TopicDescription): string[] {
  const faults: string[] = [];
  if (topic.cleanupPolicy.includes('compact'))
    faults.push(`${name} has cleanup.policy=${topic.cleanupPolicy}, which loses events; it must be delete`);
  if (topic.partitions > PARTITIONS_MAX)
    faults.push(`${name} has ${topic.partitions} partitions; at most ${PARTITIONS_MAX} are supported`);
  return faults;
}

function retentionWarnings(name: string, topic: TopicDescription): string[] {
  const finite = [
    topic.retentionMs < 0 ? '' : `retention.ms=${topic.retentionMs}`,
    topic.retentionBytes < 0 ? '' : `retention.bytes=${topic.retentionBytes}`,
  ];
  const set = finite.filter((text) => text !== '');
  if (set.length === 0) return [];
  return [
    `${name} has ${set.join(' and ')}: events will be removed, and a node that has not read them yet will refuse. Set both to -1`,
  ];
}

/** Between two attempts to reach the log. */
const RETRY_MS = 1_000;

/** `checkTopics`, waiting for the log as long as it takes. Throws BAD_CONFIG, or the signal's reason. */
export async function waitForTopics(
  check: () => Promise<TopicCheck>,
  options: {
    onUnreachable(error: unknown): void;
    readonly signal: AbortSignal;
    readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  },
): Promise<TopicCheck> {
  for (;;) {
    options.signal.throwIfAborted();
    try {
      return await check();
    } catch (error) {
      if (!(error instanceof InventoryError) || error.code !== 'LOG_UNAVAILABLE') throw error;
      options.onUnreachable(error);
    }
    await options.sleep(RETRY_MS, options.signal);
  }
}
