// The oracle: what the log means, folded a second time by other code. Deliberately naive (text, regular expressions,
// bigints, maps) and sharing nothing with schema/ and node/ but types: what it says and they do must agree because both
// are right, not because both are the same. Source of every rule here: the section "Records" of ARCHITECTURE.md.

import type { LogRecord, RecordHeaders, TopicRole } from '../../schema/events.ts';
import type { InventoryRow } from '../../schema/inventory-row.ts';
import type { Position } from '../../schema/position.ts';

/** A record with its place, as a test wrote it or read it back from the log. */
export interface OracleRecord extends LogRecord {
  readonly role: TopicRole;
  readonly partition: number;
}

export interface OracleOptions {
  /** Partition count of both topics. */
  readonly partitions: number;
  /** Records further apart than so many offsets are no duplicates. Default 100,000. */
  readonly dedupeWindow?: number;
  /** Fold a partition's records before this position only; without it, all of them. */
  readonly upTo?: (partition: number) => Position;
}

export interface OracleRow {
  readonly partition: number;
  readonly received: bigint;
  readonly sold: bigint;
  /** Offset of the last event counted, −1 where there is none. */
  readonly shipmentsStamp: number;
  readonly salesStamp: number;
  /** Event time in ms of that event, null where it has none. */
  readonly lastShipmentAt: number | null;
  readonly lastSaleAt: number | null;
}

export interface OracleTotals {
  readonly items: number;
  readonly received: bigint;
  readonly sold: bigint;
  readonly oversoldItems: number;
  readonly outOfStockItems: number;
}

export interface Place {
  readonly role: TopicRole;
  readonly partition: number;
  readonly offset: number;
}
export interface ExpectedDeadLetter extends Place {
  readonly reason: 'DECODE_FAILED' | 'WRONG_PARTITION' | 'TIMESTAMP_INVALID';
}
export interface ExpectedDuplicate extends Place {
  /** Its count differs from that of the record it repeats. */
  readonly conflict: boolean;
}

/** What the log means. */
export interface Oracle {
  /** By `storeId/itemId`. */
  readonly rows: ReadonlyMap<string, OracleRow>;
  /** Shipments before sales, then by partition and offset; so are `duplicates`. */
  readonly deadLetters: readonly ExpectedDeadLetter[];
  readonly duplicates: readonly ExpectedDuplicate[];
}

const DEDUPE_WINDOW = 100_000;
const ID = '[A-Za-z0-9][A-Za-z0-9._-]{0,63}';
const KEY_TEXT = new RegExp(`^${ID}/${ID}$`);
const COUNT_TEXT = /^-?(0|[1-9][0-9]{0,9})$/;
const COUNT_BOUND = 1_000_000_000n;
const EVENT_ID_TEXT = /^[A-Za-z0-9._-]{1,64}$/;
const LAST_DATE = Date.UTC(9999, 11, 31, 23, 59, 59, 999);
const NO_ROW: Omit<OracleRow, 'partition'> = {
  received: 0n,
  sold: 0n,
  shipmentsStamp: -1,
  salesStamp: -1,
  lastShipmentAt: null,
  lastSaleAt: null,
};

/** Folds `records`, given in any order, each once. Throws where one place comes twice: then the test is wrong. */
export function foldLog(records: readonly OracleRecord[], options: OracleOptions): Oracle {
  const fold = new Fold(options);
  const ordered = records.filter((record) => isBefore(record, options)).sort(comparePlaces);
  ordered.forEach((record, i) => {
    const previous = ordered[i - 1];
    if (previous !== undefined && comparePlaces(previous, record) === 0) {
      throw new Error(`two records at ${record.role}/${record.partition}/${record.offset}`);
    }
    fold.take(record);
  });
  return fold;
}

class Fold implements Oracle {
  readonly rows = new Map<string, OracleRow>();
  readonly deadLetters: ExpectedDeadLetter[] = [];
  readonly duplicates: ExpectedDuplicate[] = [];
  readonly #options: OracleOptions;
  /** By topic, partition, key and event id: the latest record that carries them. */
  readonly #sightings = new Map<string, { readonly offset: number; readonly count: bigint }>();
  readonly #partitions = new Map<string, number>();

  constructor(options: OracleOptions) {
    this.#options = options;
  }

  take(record: OracleRecord): void {
    const event = decode(record);
    if (event === null) return this.#bury(record, 'DECODE_FAILED');
    if (this.#partitionOf(event.key) !== record.partition) return this.#bury(record, 'WRONG_PARTITION');
    if (event.time === 'no date') this.#bury(record, 'TIMESTAMP_INVALID');
    if (!this.#isDuplicate(record, event)) this.#count(record, event);
  }

  #bury({ role, partition, offset }: OracleRecord, reason: ExpectedDeadLetter['reason']): void {
    this.deadLetters.push({ role, partition, offset, reason });
  }

  /** The record it repeats is the latest of its id within the window, itself counted or not. */
  #isDuplicate({ role, partition, offset }: OracleRecord, { key, eventId, count }: Decoded): boolean {
    if (eventId === null) return false;
    const id = `${role} ${partition} ${key} ${eventId}`;
    const latest = this.#sightings.get(id);
    this.#sightings.set(id, { offset, count });
    if (latest === undefined || offset - latest.offset > (this.#options.dedupeWindow ?? DEDUPE_WINDOW)) return false;
    this.duplicates.push({ role, partition, offset, conflict: latest.count !== count });
    return true;
  }

  #count({ role, partition, offset }: OracleRecord, event: Decoded): void {
    const row = this.rows.get(event.key) ?? { ...NO_ROW, partition };
    const time = event.time === 'no date' ? null : event.time;
    const changed =
      role === 'shipments'
        ? { received: row.received + event.count, shipmentsStamp: offset, lastShipmentAt: time }
        : { sold: row.sold + event.count, salesStamp: offset, lastSaleAt: time };
    this.rows.set(event.key, { ...row, ...changed });
  }

  #partitionOf(key: string): number {
    const known = this.#partitions.get(key);
    if (known !== undefined) return known;
    const partition = javaPartitionOf(Buffer.from(key), this.#options.partitions);
    this.#partitions.set(key, partition);
    return partition;
  }
}

interface Decoded {
  readonly key: string;
  readonly count: bigint;
  readonly eventId: string | null;
  readonly time: number | null | 'no date';
}

/** Null where the record's bytes are no event. */
function decode({ key, value, headers, timestamp }: LogRecord): Decoded | null {
  const [keyText, valueText] = [key?.toString('latin1') ?? '', value?.toString('latin1') ?? ''];
  const [eventId, ...more] = headerValues(headers, 'event-id');
  if (!KEY_TEXT.test(keyText) || !COUNT_TEXT.test(valueText) || more.length > 0) return null;
  if (eventId !== undefined && !EVENT_ID_TEXT.test(eventId)) return null;
  const count = BigInt(valueText);
  if (count > COUNT_BOUND || count < -COUNT_BOUND) return null;
  return { key: keyText, count, eventId: eventId ?? null, time: timeOf(timestamp) };
}

function timeOf(timestamp: number): Decoded['time'] {
  if (timestamp === -1) return null;
  return timestamp >= 0 && timestamp <= LAST_DATE && Math.floor(timestamp) === timestamp ? timestamp : 'no date';
}

/** The header's values as text; an empty one stands for a header without a value, be it null or an empty list. */
function headerValues(headers: RecordHeaders | undefined, name: string): string[] {
  const header = headers?.[name] as RecordHeaders[string] | null;
  if (header === undefined) return [];
  const values = Array.isArray(header) ? (header as readonly (Buffer | string)[]) : [header as Buffer | string | null];
  return values.length === 0 ? [''] : values.map((value) => value?.toString('latin1') ?? '');
}

/** Totals of the rows that `includes` accepts; of all of them without it. */
export function totalsOf(
  rows: Oracle['rows'],
  includes: (ids: { readonly storeId: string; readonly itemId: string }, row: OracleRow) => boolean = () => true,
): OracleTotals {
  const chosen = [...rows].filter(([key, row]) => includes(idsOf(key), row)).map(([, row]) => row);
  return {
    items: chosen.length,
    received: chosen.reduce((sum, row) => sum + row.received, 0n),
    sold: chosen.reduce((sum, row) => sum + row.sold, 0n),
    oversoldItems: chosen.filter((row) => row.received - row.sold < 0n).length,
    outOfStockItems: chosen.filter((row) => row.received - row.sold <= 0n).length,
  };
}

/** A row of the product in the oracle's terms, to be compared with one of its rows. */
export function asOracleRow(row: InventoryRow, partition: number): OracleRow {
  return { ...row, received: BigInt(row.received), sold: BigInt(row.sold), partition };
}

/** `toPositive(murmur2(key)) % partitions`, after org.apache.kafka.common.utils.Utils, in plain arithmetic modulo 2^32. */
export function javaPartitionOf(key: Uint8Array, partitions: number): number {
  return Number((murmur2(key) & 0x7fffffffn) % BigInt(partitions));
}

function murmur2(bytes: Uint8Array): bigint {
  const multiplier = 0x5bd1e995n;
  const bits = 0xffffffffn;
  const words = Math.floor(bytes.length / 4);
  let hash = 0x9747b28cn ^ BigInt(bytes.length);
  for (let word = 0; word < words; word++) {
    let mixed = (littleEndian(bytes.subarray(word * 4, word * 4 + 4)) * multiplier) & bits;
    mixed = ((mixed ^ (mixed >> 24n)) * multiplier) & bits;
    hash = ((hash * multiplier) & bits) ^ mixed;
  }
  if (bytes.length % 4 > 0) hash = ((hash ^ littleEndian(bytes.subarray(words * 4))) * multiplier) & bits;
  hash = ((hash ^ (hash >> 13n)) * multiplier) & bits;
  return hash ^ (hash >> 15n);
}

function littleEndian(bytes: Uint8Array): bigint {
  return bytes.reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
}

function idsOf(key: string): { storeId: string; itemId: string } {
  const [storeId = '', itemId = ''] = key.split('/');
  return { storeId, itemId };
}

function isBefore({ role, partition, offset }: OracleRecord, { upTo }: OracleOptions): boolean {
  return upTo === undefined || offset < upTo(partition)[role];
}

function comparePlaces(a: Place, b: Place): number {
  if (a.role !== b.role) return a.role === 'shipments' ? -1 : 1;
  return a.partition === b.partition ? a.offset - b.offset : a.partition - b.partition;
}
