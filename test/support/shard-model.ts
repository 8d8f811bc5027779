// What a shard must hold, said a second time and as plainly as can be: a fold over the whole log up to a position, with
// bigints and look-backs over lists, sharing no code with node/. Slow on purpose.

import type { TopicRole } from '../../schema/events.ts';
import type { Position } from '../../schema/position.ts';

/** A usable record of one topic of one partition. */
export interface ModelEvent {
  readonly offset: number;
  /** `storeId/itemId`. */
  readonly key: string;
  readonly count: number;
  readonly eventId: string | null;
  readonly time: number | null;
}
/** Both topics of one partition, each in offset order. */
export type ModelLog = Readonly<Record<TopicRole, readonly ModelEvent[]>>;

export interface ModelRow {
  readonly received: bigint;
  readonly sold: bigint;
  readonly shipmentsStamp: number;
  readonly salesStamp: number;
  readonly lastShipmentAt: number | null;
  readonly lastSaleAt: number | null;
}
export interface ModelTotals {
  readonly items: number;
  readonly received: bigint;
  readonly sold: bigint;
  readonly oversoldItems: number;
  readonly outOfStockItems: number;
}
export interface ModelShard {
  readonly rows: ReadonlyMap<string, ModelRow>;
  readonly duplicates: number;
  readonly conflicts: number;
}

/** The shard at `position`: every event below it, duplicates within `dedupeWindow` offsets left out. */
export function foldModel(log: ModelLog, position: Position, dedupeWindow: number): ModelShard {
  const rows = new Map<string, ModelRow>();
  let duplicates = 0;
  let conflicts = 0;
  for (const role of ['shipments', 'sales'] as const) {
    const events = log[role].filter(({ offset }) => offset < position[role]);
    events.forEach((event, i) => {
      const earlier = event.eventId === null ? undefined : lastSighting(events, i, dedupeWindow);
      if (earlier === undefined) rows.set(event.key, foldEvent(rows.get(event.key), role, event));
      else duplicates++;
      if (earlier !== undefined && earlier.count !== event.count) conflicts++;
    });
  }
  return { rows, duplicates, conflicts };
}

/** The newest record with the id of event `i` among those at most `dedupeWindow` offsets before it, applied or not. */
function lastSighting(events: readonly ModelEvent[], i: number, dedupeWindow: number): ModelEvent | undefined {
  const { key, eventId, offset } = events[i] as ModelEvent;
  for (let j = i - 1; j >= 0; j--) {
    const earlier = events[j] as ModelEvent;
    if (earlier.offset < offset - dedupeWindow) return undefined;
    if (earlier.key === key && earlier.eventId === eventId) return earlier;
  }
  return undefined;
}

function foldEvent(before: ModelRow | undefined, role: TopicRole, { count, offset, time }: ModelEvent): ModelRow {
  const row = before ?? {
    received: 0n,
    sold: 0n,
    shipmentsStamp: -1,
    salesStamp: -1,
    lastShipmentAt: null,
    lastSaleAt: null,
  };
  return role === 'shipments'
    ? { ...row, received: row.received + BigInt(count), shipmentsStamp: offset, lastShipmentAt: time }
    : { ...row, sold: row.sold + BigInt(count), salesStamp: offset, lastSaleAt: time };
}

/** Totals of the rows whose key begins with `prefix`; null where there is none. */
export function modelTotals(rows: ReadonlyMap<string, ModelRow>, prefix = ''): ModelTotals | null {
  const counted = [...rows].filter(([key]) => key.startsWith(prefix)).map(([, row]) => row);
  if (counted.length === 0) return null;
  return {
    items: counted.length,
    received: counted.reduce((sum, row) => sum + row.received, 0n),
    sold: counted.reduce((sum, row) => sum + row.sold, 0n),
    oversoldItems: counted.filter((row) => row.received < row.sold).length,
    outOfStockItems: counted.filter((row) => row.received <= row.sold).length,
  };
}
