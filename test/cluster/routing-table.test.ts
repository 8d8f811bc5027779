import { describe, expect, it } from 'vitest';
import type { DirectoryView, NodeEntry } from '../../cluster/directory.ts';
import { mergeRoutingTable, ownerOf, type RoutingTable, standbysOf } from '../../cluster/routing-table.ts';
import type { ShardStateName, Topology } from '../../schema/topology.ts';

const TOPOLOGY: Topology = {
  incarnation: 'first',
  partitions: 4,
  partitioner: 'murmur2',
  keyCodec: 'storeId/itemId',
  countMax: 1_000_000_000,
  dedupeWindow: 100_000,
  rowVersion: 1,
  topics: { shipments: 'shipments', sales: 'sales' },
  startAt: 'zero',
};

describe('mergeRoutingTable', () => {
  it('has no table before a view has a topology', () => {
    expect(mergeRoutingTable(undefined, view({ topology: null }))).toBeUndefined();
  });

  it('routes to the owner under the URL of its entry', () => {
    const table = tableOf(view({ nodes: ['a', 'b'], owners: { 0: ['a', 3], 2: ['b', 1] } }));
    expect(ownerOf(table, 0)).toEqual({ nodeId: 'a', url: 'http://a', epoch: 3, incarnation: 'first', live: true });
    expect(ownerOf(table, 2)).toEqual({ nodeId: 'b', url: 'http://b', epoch: 1, incarnation: 'first', live: true });
    expect(ownerOf(table, 1)).toBeUndefined();
    expect(ownerOf(table, 99)).toBeUndefined();
  });

  it('keeps the last owner while nobody owns the partition', () => {
    const owned = tableOf(view({ nodes: ['a'], owners: { 0: ['a', 3] } }));
    expect(ownerOf(tableOf(view({ nodes: ['a'] }), owned), 0)).toMatchObject({ nodeId: 'a', epoch: 3, live: true });
  });

  it('keeps the URL of an owner that is gone, and says that it is', () => {
    const owned = tableOf(view({ nodes: ['a'], owners: { 0: ['a', 3] } }));
    const gone = tableOf(view({ nodes: ['b'] }), owned);
    expect(ownerOf(gone, 0)).toEqual({ nodeId: 'a', url: 'http://a', epoch: 3, incarnation: 'first', live: false });
    const replaced = tableOf(view({ nodes: ['b'], owners: { 0: ['b', 4] } }), gone);
    expect(ownerOf(replaced, 0)).toEqual({ nodeId: 'b', url: 'http://b', epoch: 4, incarnation: 'first', live: true });
  });

  it('follows an owner that comes back under another URL', () => {
    const owned = tableOf(view({ nodes: ['a'], owners: { 0: ['a', 3] } }));
    const moved = view({ owners: { 0: ['a', 4] } });
    const entry = { ...entryOf('a'), url: 'http://elsewhere' };
    expect(ownerOf(tableOf({ ...moved, nodes: new Map([['a', entry]]) }, owned), 0)?.url).toBe('http://elsewhere');
  });

  it('never goes back to an older epoch within one incarnation', () => {
    const newer = tableOf(view({ nodes: ['a', 'b'], owners: { 0: ['b', 4] } }));
    expect(ownerOf(tableOf(view({ nodes: ['a', 'b'], owners: { 0: ['a', 3] } }), newer), 0)?.nodeId).toBe('b');
  });

  it('keeps what it knew of the owner where the view has no entry of a new one', () => {
    const owned = tableOf(view({ nodes: ['a'], owners: { 0: ['a', 3] } }));
    expect(ownerOf(tableOf(view({ nodes: ['a'], owners: { 0: ['b', 4] } }), owned), 0)?.nodeId).toBe('a');
  });

  it('keeps the table when the directory is empty', () => {
    const table = tableOf(view({ nodes: ['a'], owners: { 0: ['a', 3] } }));
    expect(mergeRoutingTable(table, view({ topology: null }))).toBe(table);
  });

  it('believes any owner of a new incarnation, and asks where it was before there is one', () => {
    const before = tableOf(view({ nodes: ['a', 'b'], owners: { 0: ['a', 30], 1: ['a', 30] } }));
    const topology = { ...TOPOLOGY, incarnation: 'second' };
    const after = tableOf(view({ topology, nodes: ['a', 'b'], owners: { 0: ['b', 1] } }), before);
    expect(after.incarnation).toBe('second');
    expect(ownerOf(after, 0)).toMatchObject({ nodeId: 'b', epoch: 1, incarnation: 'second' });
    // The node may not have heard of the second one yet.
    expect(ownerOf(after, 1)).toMatchObject({ nodeId: 'a', epoch: 0, incarnation: 'first' });
    const later = tableOf(view({ topology, nodes: ['a', 'b'], owners: { 0: ['b', 1], 1: ['b', 1] } }), after);
    expect(ownerOf(later, 1)).toMatchObject({ nodeId: 'b', epoch: 1, incarnation: 'second' });
  });

  it('forgets everything when a new incarnation has another partition count', () => {
    const before = tableOf(view({ nodes: ['a'], owners: { 0: ['a', 30] } }));
    const topology = { ...TOPOLOGY, incarnation: 'second', partitions: 8 };
    const after = tableOf(view({ topology, nodes: ['a'] }), before);
    expect(after.partitions).toBe(8);
    expect(ownerOf(after, 0)).toBeUndefined();
  });

  it('ignores owners of partitions that do not exist', () => {
    expect(tableOf(view({ nodes: ['a'], owners: { 4: ['a', 1] } })).owners.size).toBe(0);
  });
});

describe('standbysOf', () => {
  it('names the live nodes, other than the owner, whose shard serves', () => {
    const shards: Record<string, ShardStateName> = { 0: 'serving', 1: 'catching-up' };
    const nodes = ['c', 'a', 'b'].map((nodeId) => [nodeId, { ...entryOf(nodeId), shards }] as const);
    const table = tableOf({ ...view({ owners: { 0: ['b', 1] } }), nodes: new Map(nodes) });
    expect(standbysOf(table, 0).map(({ nodeId }) => nodeId)).toEqual(['a', 'c']);
    expect(standbysOf(table, 1)).toEqual([]);
  });
});

function tableOf(next: DirectoryView, table?: RoutingTable): RoutingTable {
  const merged = mergeRoutingTable(table, next);
  if (merged === undefined) throw new Error('expected a table');
  return merged;
}

function view({
  topology = TOPOLOGY,
  nodes = [],
  owners = {},
}: {
  topology?: Topology | null;
  nodes?: readonly string[];
  owners?: Record<number, readonly [nodeId: string, epoch: number]>;
}): DirectoryView {
  return {
    topology,
    nodes: new Map(nodes.map((nodeId) => [nodeId, entryOf(nodeId)])),
    owners: new Map(Object.entries(owners).map(([p, [nodeId, epoch]]) => [Number(p), { nodeId, epoch }])),
  };
}

function entryOf(nodeId: string): NodeEntry {
  return { nodeId, url: `http://${nodeId}`, zone: null, version: '1', draining: false, shards: {} };
}
