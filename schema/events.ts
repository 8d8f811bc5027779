// Shipment and Sale records: what a record of the two source topics means, and the decoder. Invariant I8: bytes that are
// no event become a DecodeFailure with the reason, never an exception and never a guess.
//
// Record layout: key `storeId/itemId` (UTF-8), value the count as decimal text, headers `event-id` (idempotency key) and
// `source`, timestamp = event time. Written by tills, warehouses, the gateway; never deleted (retention is unlimited).

import { decodeInventoryKey, type InventoryKey, skipIdBytes } from './inventory-key.ts';

/** The role of a source topic; its name is configuration. Also the order of the two in every vector. */
export type TopicRole = 'shipments' | 'sales';
export const TOPIC_ROLES: readonly TopicRole[] = ['shipments', 'sales'];

/** Bound of a single count, whoever writes it. */
export const COUNT_MAX = 1_000_000_000;
/** What an event id may be. */
export const EVENT_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;
const EVENT_ID_LENGTH_MAX = 64;
/** 9999-12-31T23:59:59.999Z: past it RFC 3339 has no text for an instant. */
const EVENT_TIME_MAX = 253_402_300_799_999;
/** Kafka's "no timestamp". */
const NO_TIMESTAMP = -1;

/** A record as the event log delivers it, bytes uninterpreted. */
export interface LogRecord {
  readonly offset: number;
  /** Milliseconds since 1970, −1 = none. May be nonsense: producers choose it. */
  readonly timestamp: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: RecordHeaders;
}
/** A header that comes several times has a list. */
export type RecordHeaders = Readonly<Record<string, Buffer | string | readonly (Buffer | string)[] | undefined>>;

/** One shipment or sale. */
export interface InventoryEvent {
  readonly kind: 'event';
  readonly role: TopicRole;
  readonly key: InventoryKey;
  /** Integer within ±COUNT_MAX; negative = return or correction, 0 names the key. */
  readonly count: number;
  /** Event time in ms, null where the record has none or no valid date. */
  readonly time: number | null;
  readonly eventId: string | null;
  readonly offset: number;
  /** True where the record has a timestamp that is no date: the count applies, and a dead letter tells. */
  readonly timestampInvalid: boolean;
}

/** Why bytes are no event (code DECODE_FAILED). */
export interface DecodeFailure {
  readonly kind: 'failure';
  readonly offset: number;
  readonly message: string;
}

/** The event that a record of the topic in `role` holds, or why it holds none. Never throws. */
export function decodeEvent(role: TopicRole, record: LogRecord): InventoryEvent | DecodeFailure {
  const { offset } = record;
  if (record.key === null) return failure(offset, 'the key is null; expected storeId/itemId');
  const key = decodeInventoryKey(record.key);
  if (key === undefined) return failure(offset, `the key is no storeId/itemId: ${quote(record.key)}`);
  if (record.value === null) return failure(offset, 'the value is null; expected a count');
  const count = parseCount(record.value);
  if (count === undefined) return failure(offset, `the value is no count within ±${COUNT_MAX}: ${quote(record.value)}`);
  const eventId = decodeEventId(record.headers);
  if (eventId === undefined)
    return failure(offset, 'the header event-id must be one value of 1–64 of A–Z a–z 0–9 . _ -');
  const time = isEventTime(record.timestamp) ? record.timestamp : null;
  const timestampInvalid = time === null && record.timestamp !== NO_TIMESTAMP;
  return { kind: 'event', role, key, count, time, eventId, offset, timestampInvalid };
}

/** Whether a record timestamp is a date that the product can show. */
export function isEventTime(timestamp: number): boolean {
  return Number.isInteger(timestamp) && timestamp >= 0 && timestamp <= EVENT_TIME_MAX;
}

/** The bytes of a count: inverse of the decoder. Integer within ±COUNT_MAX. */
export function encodeCount(count: number): string {
  return count.toString();
}

/** The integer that `-?(0|[1-9][0-9]{0,9})` within ±COUNT_MAX spells, or undefined. Byte by byte: this is the hot path. */
function parseCount(bytes: Buffer): number | undefined {
  const negative = bytes[0] === 0x2d;
  const start = negative ? 1 : 0;
  const digits = bytes.length - start;
  if (digits < 1 || digits > 10) return undefined;
  if (bytes[start] === 0x30 && digits > 1) return undefined;
  let count = 0;
  for (let i = start; i < bytes.length; i++) {
    const digit = (bytes[i] ?? 0) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    count = count * 10 + digit;
  }
  if (count > COUNT_MAX) return undefined;
  return negative && count !== 0 ? -count : count;
}

/** The event id, null where there is none, undefined where it is malformed: ignoring it could count a retry twice. */
function decodeEventId(headers: RecordHeaders | undefined): string | null | undefined {
  const values = headers?.['event-id'];
  if (values === undefined) return null;
  const header: unknown = Array.isArray(values) && values.length === 1 ? values[0] : values;
  if (typeof header === 'string') return EVENT_ID_PATTERN.test(header) ? header : undefined;
  // What is left is a list of several, or null: some clients deliver that for a header without a value.
  if (!Buffer.isBuffer(header)) return undefined;
  const { length } = header;
  if (length < 1 || length > EVENT_ID_LENGTH_MAX || skipIdBytes(header, 0) < length) return undefined;
  return header.toString('latin1');
}

function failure(offset: number, message: string): DecodeFailure {
  return { kind: 'failure', offset, message };
}

function quote(bytes: Buffer): string {
  return JSON.stringify(bytes.toString('utf8', 0, 96)) + (bytes.length > 96 ? '…' : '');
}
