// What every process of one application id must agree on, and the states a shard can be in. Written to the directory once
// by whoever comes first; a process that disagrees refuses to start.

import type { TopicRole } from './events.ts';

/** Bounds and formats that change the meaning of stored bytes or of routing. */
export interface Topology {
  /** Names one life of the directory's contents; epochs are compared only within one. */
  readonly incarnation: string;
  readonly partitions: number;
  readonly partitioner: 'murmur2';
  readonly keyCodec: 'storeId/itemId';
  readonly countMax: number;
  /** Offsets within which a second record with the same event id is a duplicate. */
  readonly dedupeWindow: number;
  readonly rowVersion: number;
  readonly topics: { readonly [Role in TopicRole]: string };
  /** `zero`: every shard holds the whole log. `log-start`: the log had lost its beginning when the view was made, knowingly. */
  readonly startAt: StartAt;
}
export type StartAt = 'zero' | 'log-start';

/** Lifecycle of a shard on a node; the diagram is in node/shard-state.ts. */
export type ShardStateName = 'opening' | 'restoring' | 'catching-up' | 'serving' | 'draining' | 'closed' | 'refused';
export const SHARD_STATE_NAMES: readonly ShardStateName[] = [
  'opening',
  'restoring',
  'catching-up',
  'serving',
  'draining',
  'closed',
  'refused',
];

/** Why `mine` and `theirs` cannot work together, or undefined. The incarnation is not compared. */
export function topologyMismatch(mine: Omit<Topology, 'incarnation'>, theirs: Topology): string | undefined {
  const faults: string[] = [];
  for (const field of [
    'partitions',
    'partitioner',
    'keyCodec',
    'countMax',
    'dedupeWindow',
    'rowVersion',
    'startAt',
  ] as const) {
    if (mine[field] !== theirs[field]) faults.push(`${field} is ${theirs[field]} there and ${mine[field]} here`);
  }
  for (const role of ['shipments', 'sales'] as const) {
    if (mine.topics[role] !== theirs.topics[role]) {
      faults.push(`the ${role} topic is ${theirs.topics[role]} there and ${mine.topics[role]} here`);
    }
  }
  return faults.length === 0 ? undefined : faults.join('; ');
}
