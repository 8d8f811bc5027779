// An inventory cluster in memory, as a gateway sees it: nodes that implement the shard-api over plain maps, and a directory
// that says who owns what. Nodes can be taken down, left hanging, or told to refuse a partition.

import type { Directory, DirectoryView, NodeEntry, Ownership } from '../../cluster/directory.ts';
import type { ErrorCode } from '../../schema/errors.ts';
import { InventoryError } from '../../schema/errors.ts';
import { COUNT_MAX } from '../../schema/events.ts';
import { type InventoryKey, inventoryKey, splitInventoryKey } from '../../schema/inventory-key.ts';
import { emptyRow, type InventoryRow, onHandOf, ROW_VERSION } from '../../schema/inventory-row.ts';
import { partitionOfKey } from '../../schema/partitioner.ts';
import type {
  ItemPageRead,
  KeyedRow,
  Page,
  RowFilter,
  ReadsRequest,
  ShardAnswer,
  ShardApi,
  ShardRead,
  ShardStatus,
  StorePageRead,
} from '../../schema/shard-api.ts';
import type { Topology } from '../../schema/topology.ts';
import { changeTotals, NO_TOTALS, type Totals } from '../../schema/totals.ts';

export const TOPICS = { shipments: 'shipments', sales: 'sales' };

export interface FakeClusterOptions {
  readonly partitions?: number;
  readonly nodes?: number;
}

/** Rows by partition, nodes, and who owns what. Partition p belongs to node `n<p mod nodes>` at first. */
export class FakeCluster {
  readonly directory: FakeDirectory;
  readonly nodes = new Map<string, FakeNode>();
  readonly owners = new Map<number, Ownership>();
  incarnation = 'incarnation-1';
  partitions: number;
  #rows: Map<InventoryKey, InventoryRow>[];
  #epoch = 0;

  constructor({ partitions = 12, nodes = 3 }: FakeClusterOptions = {}) {
    this.partitions = partitions;
    this.#rows = Array.from({ length: partitions }, () => new Map());
    for (let i = 0; i < nodes; i++) this.nodes.set(`n${i}`, new FakeNode(this, `n${i}`));
    for (let p = 0; p < partitions; p++) this.move(p, `n${p % nodes}`);
    this.directory = new FakeDirectory();
    this.publish();
  }

  /** Replaces the row of a key. */
  put(storeId: string, itemId: string, row: Partial<InventoryRow>): void {
    const key = inventoryKey({ storeId, itemId });
    this.rowsOf(partitionOfKey(key, this.partitions)).set(key, { ...emptyRow(), ...row });
  }

  rowsOf(partition: number): Map<InventoryKey, InventoryRow> {
    const rows = this.#rows[partition];
    if (rows === undefined) throw new RangeError(`no partition ${partition}`);
    return rows;
  }

  partitionOf(storeId: string, itemId: string): number {
    return partitionOfKey(inventoryKey({ storeId, itemId }), this.partitions);
  }

  node(nodeId: string): FakeNode {
    const node = this.nodes.get(nodeId);
    if (node === undefined) throw new RangeError(`no node ${nodeId}`);
    return node;
  }

  ownerOf(partition: number): FakeNode {
    return this.node(this.owners.get(partition)?.nodeId ?? '');
  }

  /** Makes `nodeId` the owner; the directory tells only once `publish` is called. */
  move(partition: number, nodeId: string): void {
    for (const node of this.nodes.values()) node.holds.delete(partition);
    this.node(nodeId).holds.add(partition);
    this.owners.set(partition, { nodeId, epoch: ++this.#epoch });
  }

  /** Shows the present owners to everybody who watches the directory. */
  publish(): void {
    const nodes = new Map([...this.nodes].map(([id, node]) => [id, node.entry()]));
    this.directory.show({ topology: this.topology(), nodes, owners: new Map(this.owners) });
  }

  topology(): Topology {
    return {
      incarnation: this.incarnation,
      partitions: this.partitions,
      partitioner: 'murmur2',
      keyCodec: 'storeId/itemId',
      countMax: COUNT_MAX,
      dedupeWindow: 100_000,
      rowVersion: ROW_VERSION,
      topics: TOPICS,
      startAt: 'zero',
    };
  }

  /** The node behind a URL of its entry. */
  openShardApi = (url: string): ShardApi => this.node(new URL(url).hostname);

  /** Requests that nodes have been sent, by node id. */
  requestCounts(): Record<string, number> {
    return Object.fromEntries([...this.nodes].map(([id, { requests }]) => [id, requests.length]));
  }
}

/** A directory whose views the test shows by hand. */
export class FakeDirectory implements Directory {
  connected = true;
  view: DirectoryView | undefined;
  readonly #watchers = new Set<(view: DirectoryView) => void>();

  show(view: DirectoryView): void {
    this.view = view;
    for (const watcher of this.#watchers) watcher(view);
  }

  watch(onView: (view: DirectoryView) => void, signal: AbortSignal): void {
    this.#watchers.add(onView);
    signal.addEventListener('abort', () => this.#watchers.delete(onView));
    if (this.view !== undefined) onView(this.view);
  }

  readTopology(): Promise<Topology | undefined> {
    return Promise.resolve(this.view?.topology ?? undefined);
  }

  createTopology(): never {
    throw new Error('a gateway creates nothing');
  }

  join(): never {
    throw new Error('a gateway does not join');
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** One node. */
export class FakeNode implements ShardApi {
  readonly nodeId: string;
  readonly holds = new Set<number>();
  /** Every request it was sent. */
  readonly requests: ReadsRequest[] = [];
  /** What it refuses partitions with. */
  readonly refusals = new Map<number, ErrorCode>();
  mode: 'serving' | 'down' | 'hanging' = 'serving';
  /** Called before each request is answered. */
  onRequest: (request: ReadsRequest) => void = () => {};
  readonly #cluster: FakeCluster;

  constructor(cluster: FakeCluster, nodeId: string) {
    this.#cluster = cluster;
    this.nodeId = nodeId;
  }

  entry(): NodeEntry {
    const shards = Object.fromEntries([...this.holds].map((p) => [String(p), 'serving' as const]));
    const { nodeId } = this;
    return { nodeId, url: `http://${nodeId}`, zone: null, version: '0.1.0', draining: false, shards };
  }

  async read(request: ReadsRequest, { deadlineMs }: { readonly deadlineMs: number }): Promise<readonly ShardAnswer[]> {
    this.requests.push(request);
    this.onRequest(request);
    if (this.mode === 'down') throw new InventoryError('OWNER_UNAVAILABLE', `${this.nodeId} is down`);
    if (this.mode === 'hanging') {
      await new Promise((resolve) => {
        setTimeout(resolve, deadlineMs);
      });
      throw new InventoryError('DEADLINE_EXCEEDED', `${this.nodeId} hangs`);
    }
    if (request.incarnation !== this.#cluster.incarnation) throw new InventoryError('TOPOLOGY_MISMATCH', 'incarnation');
    return request.reads.map((read) => this.#answer(read));
  }

  #answer(read: ShardRead): ShardAnswer {
    const { partition } = read;
    const refusal = this.refusals.get(partition) ?? (this.holds.has(partition) ? undefined : 'NOT_SERVING');
    if (refusal !== undefined) return { ok: false, code: refusal, message: `${this.nodeId} refuses ${partition}` };
    try {
      return { ok: true, position: { shipments: 1, sales: 1 }, value: this.#value(read) };
    } catch (error) {
      if (!(error instanceof InventoryError)) throw error;
      return { ok: false, code: error.code, message: error.message };
    }
  }

  #value(read: ShardRead): (ShardAnswer & { ok: true })['value'] {
    const rows = this.#cluster.rowsOf(read.partition);
    if (read.kind === 'rows') return read.keys.map((key) => this.#row(key, read.partition));
    if (read.kind === 'totals') return sum([...rows.values()]) ?? NO_TOTALS;
    if (read.kind === 'storeTotals') return sumOf(rows, ({ storeId }) => storeId === read.storeId);
    if (read.kind === 'itemTotals') return sumOf(rows, ({ itemId }) => itemId === read.itemId);
    if (read.kind === 'storePage') return storePage(rows, read);
    if (read.kind === 'itemPage') return itemPage(rows, read);
    return statusOf(read.partition);
  }

  #row(key: InventoryKey, partition: number): InventoryRow | null {
    if (partitionOfKey(key, this.#cluster.partitions) !== partition) throw new InventoryError('WRONG_PARTITION', key);
    return this.#cluster.rowsOf(partition).get(key) ?? null;
  }
}

function sum(rows: readonly InventoryRow[]): Totals | null {
  if (rows.length === 0) return null;
  return rows.reduce((totals, row) => changeTotals(totals, null, row), NO_TOTALS);
}

function sumOf(
  rows: ReadonlyMap<InventoryKey, InventoryRow>,
  wanted: (ids: { storeId: string; itemId: string }) => boolean,
): Totals | null {
  return sum(listRows(rows, wanted).map(({ row }) => row));
}

/** Three shipments behind, sales ahead of what the log's end was last; partition 0 does not know the end of its sales. */
function statusOf(partition: number): ShardStatus {
  return {
    state: 'serving',
    shipments: { nextOffset: 7, endOffset: 10 },
    sales: { nextOffset: 9, endOffset: partition === 0 ? null : 8 },
  };
}

function listRows(
  rows: ReadonlyMap<InventoryKey, InventoryRow>,
  wanted: (ids: { storeId: string; itemId: string }) => boolean,
): KeyedRow[] {
  return [...rows].filter(([key]) => wanted(splitInventoryKey(key))).map(([key, row]) => ({ key, row }));
}

/** The rows of a store in a page's order; the naive model of the tests uses it too. */
export function orderRows(rows: readonly KeyedRow[], order: StorePageRead['order']): KeyedRow[] {
  const direction = order === 'ON_HAND_DESC' ? -1 : 1;
  return [...rows].sort((a, b) => {
    const byOnHand = onHandOf(a.row) < onHandOf(b.row) ? -direction : direction;
    if (order !== 'ITEM_ID' && onHandOf(a.row) !== onHandOf(b.row)) return byOnHand;
    return Buffer.compare(Buffer.from(splitInventoryKey(a.key).itemId), Buffer.from(splitInventoryKey(b.key).itemId));
  });
}

export function matchesFilter({ key, row }: KeyedRow, filter: RowFilter): boolean {
  const onHand = onHandOf(row);
  return (
    (filter.onHandBelow === undefined || onHand < filter.onHandBelow) &&
    (filter.onHandAbove === undefined || onHand > filter.onHandAbove) &&
    (filter.oversold === undefined || filter.oversold === onHand < 0) &&
    splitInventoryKey(key).itemId.startsWith(filter.itemIdPrefix ?? '')
  );
}

function storePage(rows: ReadonlyMap<InventoryKey, InventoryRow>, read: StorePageRead): Page {
  const { after, filter, limit, order, scanRowsMax, storeId } = read;
  const prefix = filter.itemIdPrefix ?? '';
  const all = orderRows(
    listRows(rows, (ids) => ids.storeId === storeId && ids.itemId.startsWith(prefix)),
    order,
  );
  if (order !== 'ITEM_ID' && all.length > scanRowsMax) throw new InventoryError('SCAN_LIMIT_EXCEEDED', 'too many rows');
  const start =
    after === null ? undefined : { key: `${storeId}/${after.itemId}` as InventoryKey, row: rowWith(after.onHand) };
  const behind =
    start === undefined
      ? all
      : all.filter(
          (one) => (orderRows([one, start], order)[1] === one && one.key !== start.key) || isMoved(one, start, order),
        );
  const page: KeyedRow[] = [];
  let scanned = 0;
  for (const one of behind) {
    scanned++;
    if (matchesFilter(one, filter)) page.push(one);
    const isLimited = page.length === limit || (order === 'ITEM_ID' && scanned === scanRowsMax);
    if (isLimited) return { rows: page, scannedTo: splitInventoryKey(one.key).itemId };
  }
  return { rows: page, scannedTo: null };
}

/** The row of the cursor itself, whose stock has changed since to behind the cursor. */
function isMoved(one: KeyedRow, start: KeyedRow, order: StorePageRead['order']): boolean {
  if (one.key !== start.key || order === 'ITEM_ID') return false;
  const [before, after] = order === 'ON_HAND_ASC' ? [start, one] : [one, start];
  return onHandOf(before.row) < onHandOf(after.row);
}

function rowWith(onHand: number | bigint): InventoryRow {
  return { ...emptyRow(), received: onHand };
}

function itemPage(rows: ReadonlyMap<InventoryKey, InventoryRow>, read: ItemPageRead): Page {
  const after = read.afterStoreId ?? '';
  const all = listRows(rows, ({ storeId, itemId }) => itemId === read.itemId && storeId > after).sort((a, b) =>
    splitInventoryKey(a.key).storeId < splitInventoryKey(b.key).storeId ? -1 : 1,
  );
  const page = all.slice(0, read.limit);
  const last = page.at(-1);
  return {
    rows: page,
    scannedTo: page.length === read.limit && last !== undefined ? splitInventoryKey(last.key).storeId : null,
  };
}
