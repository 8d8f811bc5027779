// Where a shard's records lie in the node's store. Every key begins with the shard's prefix (partition, u16 big-endian),
// so that a shard is one range; then one byte says what the record is.
//
//   c                        checkpoint      JSON ShardHead: checkpoint, totals, complete      each batch
//   r storeId/itemId         row             inventory-row.ts                                  each batch that touches it
//   s storeId                store totals    JSON list, totals.ts                              each batch that touches a row of it
//   i itemId/storeId         item index      empty                                             once, when the key first appears
//   w role offset            dedupe chunk    dedupe-window.ts                                  each batch with event ids; deleted once out of the window
//   o role offset            dead letter     JSON DeadLetter                                   deleted when published
//
// All of them are written by the apply queue alone, in one batch per group (I1); only the dead-letter publisher deletes.

import type { TopicRole } from '../schema/events.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import type { ScanRange } from './shard-store.ts';

const PREFIX_BYTES = 2;
const KIND = {
  head: 0x63,
  row: 0x72,
  storeTotals: 0x73,
  itemIndex: 0x69,
  dedupeChunk: 0x77,
  deadLetter: 0x6f,
} as const;
type Kind = (typeof KIND)[keyof typeof KIND];
const ROLE_BYTE: Record<TopicRole, number> = { shipments: 0, sales: 1 };

/** Most partitions a store can hold: the prefix 0xffff is the node's own record. */
export const PARTITIONS_MAX = 0xffff;

/** Key of the record that says whose store this is: JSON StoreIdentity. */
export const IDENTITY_KEY = Buffer.from([0xff, 0xff]);

/** The keys of one shard. */
export class ShardKeys {
  readonly head: Buffer;
  /** Every record of the shard. */
  readonly all: { readonly from: Buffer; readonly to: Buffer };
  readonly #prefix: Buffer;

  constructor(partition: number) {
    this.#prefix = u16(partition);
    this.all = { from: this.#prefix, to: u16(partition + 1) };
    this.head = this.#text(KIND.head, '');
  }

  row(key: InventoryKey): Buffer {
    return this.#text(KIND.row, key);
  }

  storeTotals(storeId: string): Buffer {
    return this.#text(KIND.storeTotals, storeId);
  }

  itemIndex(ids: { readonly itemId: string; readonly storeId: string }): Buffer {
    return this.#text(KIND.itemIndex, `${ids.itemId}/${ids.storeId}`);
  }

  dedupeChunk(role: TopicRole, firstOffset: number): Buffer {
    return this.#offset(KIND.dedupeChunk, role, firstOffset);
  }

  deadLetter(role: TopicRole, offset: number): Buffer {
    return this.#offset(KIND.deadLetter, role, offset);
  }

  /** Rows of a store whose item id begins with `itemIdPrefix` and lies behind `afterItemId`. */
  storeRows(
    where: { readonly storeId: string; readonly itemIdPrefix: string; readonly afterItemId: string | null },
    limit: number,
  ): ScanRange {
    return this.#textRange(KIND.row, `${where.storeId}/`, where.itemIdPrefix, where.afterItemId, limit);
  }

  /** Item index entries of an item behind `afterStoreId`. */
  itemStores(where: { readonly itemId: string; readonly afterStoreId: string | null }, limit: number): ScanRange {
    return this.#textRange(KIND.itemIndex, `${where.itemId}/`, '', where.afterStoreId, limit);
  }

  dedupeChunks(role: TopicRole, fromOffset: number, limit: number): ScanRange {
    return {
      from: this.dedupeChunk(role, fromOffset),
      to: this.#kindAndRole(KIND.dedupeChunk, ROLE_BYTE[role] + 1),
      limit,
    };
  }

  deadLetters(limit: number): ScanRange {
    return { from: this.#kindAndRole(KIND.deadLetter, 0), to: this.#kindAndRole(KIND.deadLetter, 2), limit };
  }

  /** The text behind prefix and kind: inverse of `row`, `storeTotals` and `itemIndex`. */
  textOf(key: Buffer): string {
    return key.toString('latin1', PREFIX_BYTES + 1);
  }

  /** The offset of a dedupe chunk's or dead letter's key. */
  offsetOf(key: Buffer): number {
    return Number(key.readBigUInt64BE(PREFIX_BYTES + 2));
  }

  /** Text is ASCII: ids are checked where events are decoded. */
  #text(kind: Kind, text: string): Buffer {
    const key = Buffer.allocUnsafe(PREFIX_BYTES + 1 + text.length);
    this.#prefix.copy(key);
    key[PREFIX_BYTES] = kind;
    key.write(text, PREFIX_BYTES + 1, 'latin1');
    return key;
  }

  /** 0x00 sorts behind `after` and before everything longer; 0x7f behind every character of an id. */
  #textRange(kind: Kind, head: string, prefix: string, after: string | null, limit: number): ScanRange {
    const from = after === null || after < prefix ? `${head}${prefix}` : `${head}${after}\0`;
    return { from: this.#text(kind, from), to: this.#text(kind, `${head}${prefix}\x7f`), limit };
  }

  #offset(kind: Kind, role: TopicRole, offset: number): Buffer {
    const key = Buffer.allocUnsafe(PREFIX_BYTES + 10);
    this.#kindAndRole(kind, ROLE_BYTE[role]).copy(key);
    key.writeBigUInt64BE(BigInt(offset), PREFIX_BYTES + 2);
    return key;
  }

  #kindAndRole(kind: Kind, role: number): Buffer {
    return Buffer.from([...this.#prefix, kind, role]);
  }
}

function u16(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(PREFIX_BYTES);
  bytes.writeUInt16BE(value);
  return bytes;
}
