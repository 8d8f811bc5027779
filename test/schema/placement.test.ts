import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadBound, placeShards, type Placement, type PlacementNode, rankNodes } from '../../schema/placement.ts';

/** What a join or leave may move beyond partitions / nodes: full nodes make way, and what makes way displaces others. */
const EXTRA_SHARE = 0.5;
const EXTRA_MOVES = 10;
const EXTRA_MOVES_MEAN = 2.5;

const nodeIds = fc.uniqueArray(fc.stringMatching(/^[a-z][a-z0-9-]{0,12}$/), { minLength: 1, maxLength: 12 });
const cluster = fc.record({
  nodes: nodeIds.chain((ids) =>
    fc.tuple(
      ...ids.map((nodeId) => fc.record({ nodeId: fc.constant(nodeId), zone: fc.constantFrom(null, 'a', 'b', 'c') })),
    ),
  ),
  partitions: fc.integer({ min: 1, max: 64 }),
  replicas: fc.integer({ min: 1, max: 4 }),
});

describe('placeShards', () => {
  it('gives every partition as many different nodes as there can be', () => {
    fc.assert(
      fc.property(cluster, ({ nodes, partitions, replicas }) => {
        const placement = placeShards({ nodes, partitions, replicas });
        expect(placement).toHaveLength(partitions);
        const known = new Set(nodes.map(({ nodeId }) => nodeId));
        for (const placed of placement) {
          expect(placed).toHaveLength(Math.min(replicas, nodes.length));
          expect(new Set(placed).size).toBe(placed.length);
          expect(placed.every((nodeId) => known.has(nodeId))).toBe(true);
        }
      }),
    );
  });

  it('gives no node more owners than the bound, nor, but for a shard or two, more shards', () => {
    fc.assert(
      fc.property(cluster, ({ nodes, partitions, replicas }) => {
        const placement = placeShards({ nodes, partitions, replicas });
        const ranks = Math.min(replicas, nodes.length);
        for (const load of loads(placement.map(([owner]) => [owner ?? '']))) {
          expect(load).toBeLessThanOrEqual(loadBound(partitions, nodes.length));
        }
        for (const load of loads(placement)) {
          expect(load).toBeLessThanOrEqual(loadBound(partitions * ranks, nodes.length) + ranks);
        }
      }),
    );
  });

  it('depends on nothing but the nodes, in whatever order they come', () => {
    fc.assert(
      fc.property(cluster, fc.infiniteStream(fc.nat()), ({ nodes, partitions, replicas }, keys) => {
        const shuffled = nodes
          .map((node) => ({ node, key: keys.next().value as number }))
          .sort((a, b) => a.key - b.key)
          .map(({ node }) => node);
        const input = { partitions, replicas };
        expect(placeShards({ nodes: shuffled, ...input })).toEqual(placeShards({ nodes, ...input }));
      }),
    );
  });

  it('moves little more than its share when a node joins, and the same when it leaves', () => {
    fc.assert(
      fc.property(cluster, ({ nodes, partitions }) => {
        if (nodes.length < 2) return;
        const without = placeShards({ nodes: nodes.slice(1), partitions, replicas: 1 });
        const withAll = placeShards({ nodes, partitions, replicas: 1 });
        const share = partitions / nodes.length;
        expect(moves(without, withAll)).toBeLessThanOrEqual(share * (1 + EXTRA_SHARE) + EXTRA_MOVES);
      }),
    );
  });

  it('moves on average hardly more than its share when a node joins', () => {
    const extra = Array.from({ length: 40 }, (_, i) => {
      const nodes = nodesOf(2 + (i % 10)).map(({ nodeId, zone }) => ({ nodeId: `${nodeId}-${i}`, zone }));
      const without = placeShards({ nodes: nodes.slice(1), partitions: 64, replicas: 1 });
      return moves(without, placeShards({ nodes, partitions: 64, replicas: 1 })) - 64 / nodes.length;
    });
    expect(extra.reduce((a, b) => a + b) / extra.length).toBeLessThan(EXTRA_MOVES_MEAN);
  });

  it('keeps an owner where it is unless the joining node takes its place or its load has to shrink', () => {
    const before = placeShards({ nodes: nodesOf(4), partitions: 64, replicas: 1 });
    const after = placeShards({ nodes: nodesOf(5), partitions: 64, replicas: 1 });
    const toOthers = after.filter(([owner], p) => owner !== before[p]?.[0] && owner !== 'node-4');
    expect(toOthers.length).toBeLessThanOrEqual(6);
  });

  it('spreads the shards of a partition over zones where every zone has room', () => {
    const nodes = nodesOf(9, ['a', 'b', 'c']);
    const zones = new Map(nodes.map(({ nodeId, zone }) => [nodeId, zone]));
    for (const placed of placeShards({ nodes, partitions: 128, replicas: 3 })) {
      expect(new Set(placed.map((nodeId) => zones.get(nodeId))).size).toBe(3);
    }
  });

  it('puts the standby of a two-zone cluster into the other zone', () => {
    const nodes = nodesOf(6, ['a', 'b']);
    const zones = new Map(nodes.map(({ nodeId, zone }) => [nodeId, zone]));
    const spread = placeShards({ nodes, partitions: 120, replicas: 2 }).filter(
      ([owner = '', standby = '']) => zones.get(owner) !== zones.get(standby),
    );
    // A zone that owns more than half may run out of room opposite.
    expect(spread.length).toBeGreaterThanOrEqual(115);
  });

  it('makes most of a dead owner’s standbys the new owners, so that failover and placement agree', () => {
    const nodes = nodesOf(5);
    const before = placeShards({ nodes, partitions: 100, replicas: 2 });
    const after = placeShards({ nodes: nodes.slice(1), partitions: 100, replicas: 2 });
    const orphaned = before.flatMap(([owner, standby], p) => (owner === 'node-0' ? [{ standby, p }] : []));
    const agreeing = orphaned.filter(({ standby, p }) => after[p]?.[0] === standby);
    expect(agreeing.length).toBeGreaterThan(orphaned.length / 2);
  });

  it('places nothing where there is no node', () => {
    expect(placeShards({ nodes: [], partitions: 2, replicas: 2 })).toEqual([[], []]);
  });

  it('does not change between versions: moved shards would be the price', () => {
    const placement = placeShards({ nodes: nodesOf(3), partitions: 8, replicas: 2 });
    const short = placement.map((placed) => placed.map((nodeId) => nodeId.replace('node-', '')).join(''));
    expect(short.join(' ')).toBe('21 20 10 10 20 02 12 01');
  });
});

describe('rankNodes', () => {
  it('ranks the same nodes the same way in any order, and every node once', () => {
    fc.assert(
      fc.property(nodeIds, fc.nat({ max: 10_000 }), (ids, partition) => {
        const ranked = rankNodes(partition, ids);
        expect(rankNodes(partition, ids.toReversed())).toEqual(ranked);
        expect([...ranked].sort()).toEqual([...ids].sort());
      }),
    );
  });

  it('keeps the order of the others when one is missing', () => {
    const ids = nodesOf(10).map(({ nodeId }) => nodeId);
    const ranked = rankNodes(7, ids);
    const fewer = ids.filter((id) => id !== ranked[3]);
    expect(rankNodes(7, fewer)).toEqual(ranked.filter((id) => id !== ranked[3]));
  });
});

function nodesOf(count: number, zones: readonly string[] = []): PlacementNode[] {
  return Array.from({ length: count }, (_, i) => ({ nodeId: `node-${i}`, zone: zones[i % zones.length] ?? null }));
}

function loads(placement: Placement): number[] {
  const counts = new Map<string, number>();
  for (const nodeId of placement.flat()) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  return [...counts.values()];
}

/** Partitions with another owner. */
function moves(before: Placement, after: Placement): number {
  return after.filter(([owner], p) => owner !== before[p]?.[0]).length;
}
