// The port that every node serves and its callers use: reads of single shards, any number of them in one request.
//
//   gateway ── POST /internal/reads {protocol, incarnation, reads: [...]} ──▶ node
//           ◀── {answers: [...]}, one per read, in order ──
//
// I4: every answer is of exactly one partition's shard or a refusal; "unknown" (null) and "not here" (NOT_SERVING) differ.
// I1: the position of an answer comes from the same RocksDB snapshot or published state as its rows.
//
// Protocol history
//   1  rows, totals, storeTotals, itemTotals, storePage, itemPage, status

import { type ErrorCode, isErrorCode } from './errors.ts';
import { ID_PATTERN, ID_RULE, type InventoryKey, parseInventoryKey } from './inventory-key.ts';
import type { InventoryRow } from './inventory-row.ts';
import type { Position } from './position.ts';
import { decodeSum, encodeSum, type Sum } from './sum.ts';
import { SHARD_STATE_NAMES, type ShardStateName } from './topology.ts';
import { decodeTotals, encodeTotals, type Totals } from './totals.ts';

export const PROTOCOL_VERSION = 1;
export const READS_PATH = '/internal/reads';
/** Header with the milliseconds that the caller still waits for this answer. */
export const DEADLINE_HEADER = 'stockroom-deadline-ms';
/** Most reads in one request, most keys in one `rows` read, most rows in one page. */
export const READS_MAX = 4_096;
export const KEYS_MAX = 10_000;
export const PAGE_ROWS_MAX = 501;

/** All given conditions hold; `below` and `above` exclude the bound. */
export interface RowFilter {
  readonly onHandBelow?: number;
  readonly onHandAbove?: number;
  readonly oversold?: boolean;
  readonly itemIdPrefix?: string;
}
/** ON_HAND orders break ties by item id, ascending in both. */
export type RowOrder = 'ITEM_ID' | 'ON_HAND_ASC' | 'ON_HAND_DESC';
/** Last row of the previous page: rows strictly behind it in the page's order follow. `onHand` counts in ON_HAND orders only. */
export interface PageStart {
  readonly itemId: string;
  readonly onHand: Sum;
}

/** One read of one partition. */
export type ShardRead =
  | { readonly kind: 'rows'; readonly partition: number; readonly keys: readonly InventoryKey[] }
  | { readonly kind: 'totals'; readonly partition: number }
  | { readonly kind: 'storeTotals'; readonly partition: number; readonly storeId: string }
  | { readonly kind: 'itemTotals'; readonly partition: number; readonly itemId: string; readonly scanRowsMax: number }
  | StorePageRead
  | ItemPageRead
  /** For operators: answered for every shard that the node holds, whether it serves or not. */
  | { readonly kind: 'status'; readonly partition: number };
/** Rows of one store. `limit` 1–PAGE_ROWS_MAX rows come back at most, `scanRowsMax` are looked at at most. */
export interface StorePageRead {
  readonly kind: 'storePage';
  readonly partition: number;
  readonly storeId: string;
  readonly order: RowOrder;
  readonly filter: RowFilter;
  readonly after: PageStart | null;
  readonly limit: number;
  readonly scanRowsMax: number;
}
/** Rows of one item, by store id in byte order, those after `afterStoreId`. */
export interface ItemPageRead {
  readonly kind: 'itemPage';
  readonly partition: number;
  readonly itemId: string;
  readonly afterStoreId: string | null;
  readonly limit: number;
}

/** A row with its key. */
export interface KeyedRow {
  readonly key: InventoryKey;
  readonly row: InventoryRow;
}
/** Rows in the order asked for. */
export interface Page {
  readonly rows: readonly KeyedRow[];
  /**
   * Null: the shard has no further matching row. Else the id (item id of a store page, store id of an item page) up to
   * which, inclusive, the shard has been looked at; the next page starts behind it.
   */
  readonly scannedTo: string | null;
}

/** How far one topic of a partition has been applied. `endOffset` is exclusive; null = not asked yet. */
export interface TopicProgress {
  readonly nextOffset: number;
  readonly endOffset: number | null;
}
export interface ShardStatus {
  readonly state: ShardStateName;
  readonly shipments: TopicProgress;
  readonly sales: TopicProgress;
}

/** What each kind of read answers. */
export interface ShardReadValues {
  /** Aligned with `keys`; null = no event names the key. */
  rows: readonly (InventoryRow | null)[];
  totals: Totals;
  /** Null = no event of this partition names the store / the item. */
  storeTotals: Totals | null;
  itemTotals: Totals | null;
  storePage: Page;
  itemPage: Page;
  status: ShardStatus;
}
export type ReadKind = keyof ShardReadValues;
export type ReadOf<Kind extends ReadKind> = Extract<ShardRead, { kind: Kind }>;

/** A value at a position, or why there is none. Failures: NOT_SERVING, RESTORING, WRONG_PARTITION, SCAN_LIMIT_EXCEEDED, OVERLOADED, INTERNAL. */
export type ShardAnswer<Value = ShardReadValues[ReadKind]> =
  | { readonly ok: true; readonly position: Position; readonly value: Value }
  | { readonly ok: false; readonly code: ErrorCode; readonly message: string };

/** Names the deployment a request is meant for; another incarnation is refused with TOPOLOGY_MISMATCH. */
export interface ReadsRequest {
  readonly incarnation: string;
  readonly reads: readonly ShardRead[];
}

/** The port: implemented by a node in process, and over HTTP by cluster/shard-client.ts. */
export interface ShardApi {
  /**
   * Answers aligned with `request.reads`; a read fails alone. Rejects with OWNER_UNAVAILABLE (could not be reached),
   * DEADLINE_EXCEEDED, OVERLOADED, TOPOLOGY_MISMATCH, or the signal's reason.
   */
  read(
    request: ReadsRequest,
    options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
  ): Promise<readonly ShardAnswer[]>;
}

// ── Wire form ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Body of a request. */
export function encodeReadsRequest(request: ReadsRequest): string {
  return JSON.stringify({ protocol: PROTOCOL_VERSION, ...request, reads: request.reads.map(encodeRead) });
}

/** Inverse of `encodeReadsRequest`. Throws a TypeError that says what is wrong; the node answers it as a 400. */
export function decodeReadsRequest(body: string): ReadsRequest {
  const json = asObject(parseJson(body, 'request'), 'request');
  if (json['protocol'] !== PROTOCOL_VERSION) {
    throw new TypeError(`expected protocol ${PROTOCOL_VERSION}, got ${JSON.stringify(json['protocol'])}`);
  }
  const reads = asArray(json['reads'], 'reads');
  if (reads.length > READS_MAX) throw new TypeError(`expected at most ${READS_MAX} reads, got ${reads.length}`);
  return { incarnation: asString(json['incarnation'], 'incarnation'), reads: reads.map(decodeRead) };
}

/** Body of a response; `reads` are those answered. */
export function encodeAnswers(reads: readonly ShardRead[], answers: readonly ShardAnswer[]): string {
  return JSON.stringify({ answers: answers.map((answer, i) => encodeAnswer(reads[i], answer)) });
}

/** Inverse of `encodeAnswers`, for the reads that were sent. Throws a TypeError. */
export function decodeAnswers(reads: readonly ShardRead[], body: string): ShardAnswer[] {
  const answers = asArray(asObject(parseJson(body, 'response'), 'response')['answers'], 'answers');
  if (answers.length !== reads.length) throw new TypeError(`expected ${reads.length} answers, got ${answers.length}`);
  return reads.map((read, i) => decodeAnswer(read, answers[i]));
}

function encodeRead(read: ShardRead): unknown {
  if (read.kind !== 'storePage' || read.after === null) return read;
  return { ...read, after: { ...read.after, onHand: encodeSum(read.after.onHand) } };
}

function decodeRead(json: unknown): ShardRead {
  const read = asObject(json, 'read');
  const partition = asCount(read['partition'], 'partition');
  switch (read['kind']) {
    case 'rows':
      return { kind: 'rows', partition, keys: decodeKeys(read['keys']) };
    case 'totals':
    case 'status':
      return { kind: read['kind'], partition };
    case 'storeTotals':
      return { kind: 'storeTotals', partition, storeId: asId(read['storeId'], 'storeId') };
    case 'itemTotals': {
      const scanRowsMax = asCount(read['scanRowsMax'], 'scanRowsMax');
      return { kind: 'itemTotals', partition, itemId: asId(read['itemId'], 'itemId'), scanRowsMax };
    }
    case 'storePage':
      return decodeStorePage(read, partition);
    case 'itemPage': {
      const afterStoreId = read['afterStoreId'] === null ? null : asId(read['afterStoreId'], 'afterStoreId');
      return {
        kind: 'itemPage',
        partition,
        itemId: asId(read['itemId'], 'itemId'),
        afterStoreId,
        limit: asLimit(read['limit']),
      };
    }
    default:
      throw new TypeError(`unknown read ${JSON.stringify(read['kind'])}`);
  }
}

function decodeStorePage(read: Record<string, unknown>, partition: number): StorePageRead {
  const order = read['order'];
  if (order !== 'ITEM_ID' && order !== 'ON_HAND_ASC' && order !== 'ON_HAND_DESC')
    throw new TypeError(`unknown order ${JSON.stringify(order)}`);
  const after = read['after'] === null ? null : asObject(read['after'], 'after');
  return {
    kind: 'storePage',
    partition,
    storeId: asId(read['storeId'], 'storeId'),
    order,
    filter: decodeFilter(asObject(read['filter'], 'filter')),
    after: after === null ? null : { itemId: asId(after['itemId'], 'itemId'), onHand: decodeSum(after['onHand']) },
    limit: asLimit(read['limit']),
    scanRowsMax: asCount(read['scanRowsMax'], 'scanRowsMax'),
  };
}

function decodeFilter(json: Record<string, unknown>): RowFilter {
  const { onHandBelow, onHandAbove, oversold, itemIdPrefix } = json;
  return {
    ...(onHandBelow === undefined ? {} : { onHandBelow: asInteger(onHandBelow, 'onHandBelow') }),
    ...(onHandAbove === undefined ? {} : { onHandAbove: asInteger(onHandAbove, 'onHandAbove') }),
    ...(oversold === undefined ? {} : { oversold: asBoolean(oversold, 'oversold') }),
    ...(itemIdPrefix === undefined ? {} : { itemIdPrefix: asString(itemIdPrefix, 'itemIdPrefix') }),
  };
}

function decodeKeys(json: unknown): InventoryKey[] {
  const keys = asArray(json, 'keys');
  if (keys.length > KEYS_MAX) throw new TypeError(`expected at most ${KEYS_MAX} keys, got ${keys.length}`);
  return keys.map(asKey);
}

/** A row as a list: [received, sold, shipmentsStamp, salesStamp, lastShipmentAt, lastSaleAt]. */
function encodeRowJson(row: InventoryRow): unknown[] {
  return [
    encodeSum(row.received),
    encodeSum(row.sold),
    row.shipmentsStamp,
    row.salesStamp,
    row.lastShipmentAt,
    row.lastSaleAt,
  ];
}

function decodeRowJson(json: unknown): InventoryRow {
  const [received, sold, shipmentsStamp, salesStamp, lastShipmentAt, lastSaleAt] = asArray(json, 'row');
  return {
    received: decodeSum(received),
    sold: decodeSum(sold),
    shipmentsStamp: asInteger(shipmentsStamp, 'shipmentsStamp'),
    salesStamp: asInteger(salesStamp, 'salesStamp'),
    lastShipmentAt: lastShipmentAt === null ? null : asInteger(lastShipmentAt, 'lastShipmentAt'),
    lastSaleAt: lastSaleAt === null ? null : asInteger(lastSaleAt, 'lastSaleAt'),
  };
}

/** How each kind's value travels. */
const VALUE_CODECS: {
  [Kind in ReadKind]: { encode(value: ShardReadValues[Kind]): unknown; decode(json: unknown): ShardReadValues[Kind] };
} = {
  rows: {
    encode: (rows) => rows.map((row) => (row === null ? null : encodeRowJson(row))),
    decode: (json) => asArray(json, 'rows').map((row) => (row === null ? null : decodeRowJson(row))),
  },
  totals: { encode: encodeTotals, decode: decodeTotals },
  storeTotals: { encode: encodeNullableTotals, decode: decodeNullableTotals },
  itemTotals: { encode: encodeNullableTotals, decode: decodeNullableTotals },
  storePage: { encode: encodePage, decode: decodePage },
  itemPage: { encode: encodePage, decode: decodePage },
  status: { encode: (status) => status, decode: decodeStatus },
};

function decodeStatus(json: unknown): ShardStatus {
  const status = asObject(json, 'status');
  const state = SHARD_STATE_NAMES.find((name) => name === status['state']);
  if (state === undefined) throw new TypeError(`unknown shard state ${JSON.stringify(status['state'])}`);
  return { state, shipments: decodeProgress(status['shipments']), sales: decodeProgress(status['sales']) };
}

function decodeProgress(json: unknown): TopicProgress {
  const { nextOffset, endOffset } = asObject(json, 'progress');
  return {
    nextOffset: asCount(nextOffset, 'nextOffset'),
    endOffset: endOffset === null ? null : asCount(endOffset, 'endOffset'),
  };
}

function encodeNullableTotals(totals: Totals | null): unknown {
  return totals === null ? null : encodeTotals(totals);
}

function decodeNullableTotals(json: unknown): Totals | null {
  return json === null ? null : decodeTotals(json);
}

function encodePage(page: Page): unknown {
  return { rows: page.rows.map(({ key, row }) => [key, encodeRowJson(row)]), scannedTo: page.scannedTo };
}

function decodePage(json: unknown): Page {
  const page = asObject(json, 'page');
  const rows = asArray(page['rows'], 'rows').map((entry) => {
    const [key, row] = asArray(entry, 'row of a page');
    return { key: asKey(key), row: decodeRowJson(row) };
  });
  return { rows, scannedTo: page['scannedTo'] === null ? null : asString(page['scannedTo'], 'scannedTo') };
}

function encodeAnswer(read: ShardRead | undefined, answer: ShardAnswer): unknown {
  if (read === undefined) throw new TypeError('more answers than reads');
  if (!answer.ok) return { code: answer.code, message: answer.message };
  const { shipments, sales } = answer.position;
  const codec = VALUE_CODECS[read.kind] as { encode(value: unknown): unknown };
  return { at: [shipments, sales], value: codec.encode(answer.value) };
}

function decodeAnswer(read: ShardRead, json: unknown): ShardAnswer {
  const answer = asObject(json, 'answer');
  if (answer['at'] === undefined) {
    const code = answer['code'];
    return { ok: false, code: isErrorCode(code) ? code : 'INTERNAL', message: asString(answer['message'], 'message') };
  }
  const [shipments, sales] = asArray(answer['at'], 'at');
  const position = { shipments: asCount(shipments, 'shipments'), sales: asCount(sales, 'sales') };
  const value = VALUE_CODECS[read.kind].decode(answer['value']);
  if (read.kind === 'rows') checkAligned(read.keys, value);
  return { ok: true, position, value };
}

/** A short list would turn the rows it lacks into unknown items (I4). */
function checkAligned(keys: readonly InventoryKey[], rows: unknown): void {
  const length = asArray(rows, 'rows').length;
  if (length !== keys.length) throw new TypeError(`rows: expected ${keys.length}, got ${length}`);
}

function parseJson(body: string, what: string): unknown {
  try {
    return JSON.parse(body) as unknown;
  } catch (cause) {
    throw new TypeError(`${what}: expected JSON`, { cause });
  }
}

function asObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new TypeError(`${what}: expected an object`);
}

function asArray(value: unknown, what: string): unknown[] {
  if (Array.isArray(value)) return value as unknown[];
  throw new TypeError(`${what}: expected a list`);
}

function asString(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  throw new TypeError(`${what}: expected text`);
}

function asInteger(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw new TypeError(`${what}: expected an integer`);
}

function asCount(value: unknown, what: string): number {
  const count = asInteger(value, what);
  if (count < 0) throw new TypeError(`${what}: expected 0 or more`);
  return count;
}

function asLimit(value: unknown): number {
  const limit = asCount(value, 'limit');
  if (limit < 1 || limit > PAGE_ROWS_MAX) throw new TypeError(`limit: expected 1–${PAGE_ROWS_MAX}, got ${limit}`);
  return limit;
}

function asBoolean(value: unknown, what: string): boolean {
  if (typeof value === 'boolean') return value;
  throw new TypeError(`${what}: expected true or false`);
}

function asId(value: unknown, what: string): string {
  const id = asString(value, what);
  if (!ID_PATTERN.test(id)) throw new TypeError(`${what}: expected ${ID_RULE}`);
  return id;
}

function asKey(value: unknown): InventoryKey {
  const key = parseInventoryKey(asString(value, 'key'));
  if (key === undefined) throw new TypeError('key: expected storeId/itemId');
  return key;
}
