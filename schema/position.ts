// How far into the two logs of one partition a shard has read: a vector of next offsets, and its durable form.

import type { TopicRole } from './events.ts';

/** Next offset not yet applied, per topic of one partition. */
export interface Position {
  readonly shipments: number;
  readonly sales: number;
}

export const START: Position = { shipments: 0, sales: 0 };

/** Whether everything before `other` is also before `position`. */
export function covers(position: Position, other: Position): boolean {
  return position.shipments >= other.shipments && position.sales >= other.sales;
}

/** The least position that covers both. */
export function mergePositions(a: Position, b: Position): Position {
  return { shipments: Math.max(a.shipments, b.shipments), sales: Math.max(a.sales, b.sales) };
}

/** `position` with the topic in `role` moved on to `nextOffset`. */
export function advance(position: Position, role: TopicRole, nextOffset: number): Position {
  return role === 'shipments' ? { ...position, shipments: nextOffset } : { ...position, sales: nextOffset };
}

/** Names the last record consumed, so that another log under the same topic name is noticed before it is folded. */
export interface RecordMark {
  readonly offset: number;
  /** Hex digest of the record's key, value and timestamp. */
  readonly digest: string;
}

/** A durable position: stored with the rows it reflects in one batch (I1). */
export interface Checkpoint {
  readonly position: Position;
  /** Per topic the last record consumed; null before the first one. */
  readonly marks: { readonly [Role in TopicRole]: RecordMark | null };
}

export const START_CHECKPOINT: Checkpoint = { position: START, marks: { shipments: null, sales: null } };
