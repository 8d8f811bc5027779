// Whether a log fits what a shard remembers of it, and what to tell the operator where it does not (I8). Pure.

import type { LogRange, TopicPartition } from '../cluster/event-log.ts';
import type { TopicRole } from '../schema/events.ts';
import type { RecordMark } from '../schema/position.ts';
import type { StartAt } from '../schema/topology.ts';
import type { ShardHead } from './shard-head.ts';

/** Where reading begins; `mark`: at the last record consumed, to be compared; `truncated`: records were lost unread. */
export type Start =
  { readonly kind: 'mark' | 'position' | 'log-start'; readonly fromOffset: number } | { readonly kind: 'truncated' };

/** Chooses the start of the topic in `role` for a shard with this head. */
export function startOf(head: ShardHead, role: TopicRole, range: LogRange, startAt: StartAt): Start {
  const { position, marks } = head.checkpoint;
  const mark = marks[role];
  if (range.startOffset > position[role]) {
    // Once any record is folded this is no first start: what the other topic has lost since is lost.
    const isUntouched = position[role] === 0 && marks.shipments === null && marks.sales === null;
    return isUntouched && startAt === 'log-start'
      ? { kind: 'log-start', fromOffset: range.startOffset }
      : { kind: 'truncated' };
  }
  if (mark !== null && mark.offset >= range.startOffset) return { kind: 'mark', fromOffset: mark.offset };
  return { kind: 'position', fromOffset: position[role] };
}

export function truncatedReason(at: TopicPartition, nextOffset: number, range: LogRange): string {
  const lost = `${at.topic} partition ${at.partition} begins at offset ${range.startOffset}, but ${nextOffset} is the next one needed: records were removed unread.`;
  return nextOffset === 0
    ? `${lost} A view from here on would lack them; if that is meant, start every node with START_AT=log-start under a new APPLICATION_ID`
    : `${lost} Stop the node, set retention.ms=-1 and retention.bytes=-1 on the topic, and rebuild this node's DATA_DIR from a log that still has them`;
}

export function behindReason(at: TopicPartition, nextOffset: number, range: LogRange): string {
  return (
    `${at.topic} partition ${at.partition} ends at offset ${range.endOffset}, but ${nextOffset} is the next one needed: the topic was recreated or lost its end. ` +
    'Counts built from the old log cannot be continued with it: restore the topic, or build a new view under another APPLICATION_ID'
  );
}

export function changedReason(at: TopicPartition, mark: RecordMark): string {
  return (
    `${at.topic} partition ${at.partition} holds another record at offset ${mark.offset} than the one consumed there: the topic was recreated. ` +
    'Counts built from the old log cannot be continued with it: restore the topic, or build a new view under another APPLICATION_ID'
  );
}
