// The one record that says what a shard's other records add up to: its checkpoint, the totals of all rows, and whether it
// was ever complete. Written in every batch; read first on opening. A shard without one is empty.

import type { TopicRole } from '../schema/events.ts';
import type { Checkpoint, RecordMark } from '../schema/position.ts';
import { decodeTotals, encodeTotals, type Totals } from '../schema/totals.ts';

export interface ShardHead {
  readonly checkpoint: Checkpoint;
  readonly totals: Totals;
  /** Whether the shard once reached the end of both logs; before, it answers nothing. */
  readonly complete: boolean;
}

/** Stored form: JSON. */
export function encodeHead(head: ShardHead): Buffer {
  return Buffer.from(JSON.stringify({ ...head, totals: encodeTotals(head.totals) }));
}

/** Inverse of `encodeHead`. Throws a TypeError: the store is damaged. */
export function decodeHead(bytes: Buffer): ShardHead {
  const json = JSON.parse(bytes.toString()) as {
    checkpoint?: Partial<Checkpoint>;
    totals?: unknown;
    complete?: unknown;
  };
  const { position, marks } = json.checkpoint ?? {};
  if (
    !isOffset(position?.shipments) ||
    !isOffset(position.sales) ||
    marks === undefined ||
    typeof json.complete !== 'boolean'
  ) {
    throw new TypeError(`expected a shard head, got ${bytes.toString('utf8', 0, 200)}`);
  }
  const checkedMarks: Record<TopicRole, RecordMark | null> = {
    shipments: checkMark(marks.shipments),
    sales: checkMark(marks.sales),
  };
  return { checkpoint: { position, marks: checkedMarks }, totals: decodeTotals(json.totals), complete: json.complete };
}

function checkMark(mark: RecordMark | null): RecordMark | null {
  if (mark === null) return null;
  if (!isOffset(mark?.offset) || typeof mark.digest !== 'string')
    throw new TypeError(`expected a record mark, got ${JSON.stringify(mark)}`);
  return { offset: mark.offset, digest: mark.digest };
}

function isOffset(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}
