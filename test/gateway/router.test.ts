import { describe, expect, test } from 'vitest';
import { REROUTE_WAIT_MS } from '../../gateway/router.ts';
import { inventoryKey } from '../../schema/inventory-key.ts';
import { FakeCluster } from '../support/fake-nodes.ts';
import { routerOver } from '../support/router-fixture.ts';

const KEY = inventoryKey({ storeId: '10', itemId: 'CA' });

/** A cluster with a row under KEY, its partition, its owner and another node. */
function clusterWithRow() {
  const cluster = new FakeCluster({ partitions: 4, nodes: 2 });
  cluster.put('10', 'CA', { received: 80 });
  const partition = cluster.partitionOf('10', 'CA');
  const owner = cluster.ownerOf(partition);
  const [other] = [...cluster.nodes.values()].filter((node) => node !== owner);
  if (other === undefined) throw new Error('expected two nodes');
  return { cluster, partition, owner, other };
}

describe('a lookup', () => {
  test('goes to the owner and says who answered', async () => {
    const { cluster, owner, other } = clusterWithRow();
    const { router, scope } = routerOver(cluster);
    await expect(router.row(KEY, scope())).resolves.toMatchObject({
      value: { received: 80 },
      position: { shipments: 1, sales: 1 },
      nodeId: owner.nodeId,
    });
    expect(other.requests).toEqual([]);
  });

  test('fails with NOT_READY before the first table', async () => {
    const cluster = new FakeCluster();
    cluster.directory.view = undefined;
    const { router, scope } = routerOver(cluster);
    await expect(router.row(KEY, scope())).rejects.toMatchObject({ code: 'NOT_READY' });
  });

  test.each(['NOT_SERVING', 'RESTORING', 'WRONG_PARTITION', 'TOPOLOGY_MISMATCH'] as const)(
    'refused with %s is re-routed once, to the owner in a table that comes meanwhile',
    async (code) => {
      const { cluster, partition, owner, other } = clusterWithRow();
      const { router, reroutes, scope } = routerOver(cluster);
      owner.refusals.set(partition, code);
      owner.onRequest = () => {
        cluster.move(partition, other.nodeId);
        queueMicrotask(() => cluster.publish());
      };
      await expect(router.row(KEY, scope())).resolves.toMatchObject({ nodeId: other.nodeId });
      expect(reroutes).toEqual([code]);
      expect(owner.requests).toHaveLength(1);
    },
  );

  test('of an unreachable owner goes to the next one', async () => {
    const { cluster, partition, owner, other } = clusterWithRow();
    const { router, reroutes, scope } = routerOver(cluster);
    owner.mode = 'down';
    owner.onRequest = () => {
      cluster.move(partition, other.nodeId);
      cluster.publish();
    };
    await expect(router.row(KEY, scope())).resolves.toMatchObject({ nodeId: other.nodeId });
    expect(reroutes).toEqual(['OWNER_UNAVAILABLE']);
  });

  test('is asked twice at most, and then fails with OWNER_UNAVAILABLE', async () => {
    const { cluster, partition, owner } = clusterWithRow();
    const { router, scope } = routerOver(cluster);
    owner.refusals.set(partition, 'NOT_SERVING');
    await expect(router.row(KEY, scope())).rejects.toMatchObject({ code: 'OWNER_UNAVAILABLE', retryable: true });
    expect(owner.requests).toHaveLength(2);
    owner.mode = 'down';
    await expect(router.row(KEY, scope())).rejects.toMatchObject({ code: 'OWNER_UNAVAILABLE' });
    expect(owner.requests).toHaveLength(4);
  });

  test('of a partition that nobody owns waits for an owner, but not for long', async () => {
    const { cluster, partition, owner } = clusterWithRow();
    cluster.owners.delete(partition);
    cluster.publish();
    const { router, scope } = routerOver(cluster);
    await expect(router.row(KEY, scope())).rejects.toMatchObject({ code: 'OWNER_UNAVAILABLE' });
    const waiting = router.row(KEY, scope());
    cluster.move(partition, owner.nodeId);
    cluster.publish();
    await expect(waiting).resolves.toMatchObject({ nodeId: owner.nodeId });
    expect(REROUTE_WAIT_MS).toBeLessThan(100);
  });

  test.each(['OVERLOADED', 'INTERNAL', 'SCAN_LIMIT_EXCEEDED'] as const)(
    'refused with %s is not asked again',
    async (code) => {
      const { cluster, partition, owner } = clusterWithRow();
      const { router, reroutes, scope } = routerOver(cluster);
      owner.refusals.set(partition, code);
      await expect(router.row(KEY, scope())).rejects.toMatchObject({ code });
      expect(owner.requests).toHaveLength(1);
      expect(reroutes).toEqual([]);
    },
  );

  test('that hangs ends at the deadline with DEADLINE_EXCEEDED', async () => {
    const { cluster, owner } = clusterWithRow();
    const { router, scope } = routerOver(cluster);
    owner.mode = 'hanging';
    await expect(router.row(KEY, scope(20))).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED', retryable: true });
    expect(owner.requests).toHaveLength(1);
  });

  test('about which the nodes disagree for good is INTERNAL, with a line in the log', async () => {
    const { cluster, partition, owner } = clusterWithRow();
    const { logLines, router, scope } = routerOver(cluster);
    owner.refusals.set(partition, 'WRONG_PARTITION');
    await expect(router.row(KEY, scope())).rejects.toMatchObject({ code: 'INTERNAL' });
    expect(logLines).toMatchObject([{ code: 'WRONG_PARTITION', partition }]);
  });
});

describe('a new incarnation', () => {
  test('replaces the table, and a key is routed by its partition count', async () => {
    const { cluster, owner } = clusterWithRow();
    const { reroutes, router, scope } = routerOver(cluster);
    const next = new FakeCluster({ partitions: 7, nodes: 2 });
    next.incarnation = 'incarnation-2';
    next.put('10', 'CA', { received: 7 });
    owner.onRequest = () => {
      cluster.incarnation = next.incarnation;
      cluster.partitions = next.partitions;
      const view = { topology: next.topology(), nodes: new Map(), owners: new Map() };
      cluster.directory.show(view);
    };
    await expect(router.row(KEY, scope())).rejects.toMatchObject({ code: 'OWNER_UNAVAILABLE' });
    expect(router.table()).toMatchObject({ incarnation: 'incarnation-2', partitions: 7 });
    expect(reroutes).toEqual([]);
  });

  test('is kept from a node that has acquired nothing under it: it may not have heard of it', async () => {
    const { cluster, owner } = clusterWithRow();
    const { reroutes, router, scope } = routerOver(cluster);
    const topology = { ...cluster.topology(), incarnation: 'incarnation-2' };
    cluster.directory.show({ topology, nodes: new Map(), owners: new Map() });
    expect(router.table().incarnation).toBe('incarnation-2');
    await expect(router.row(KEY, scope())).resolves.toMatchObject({ nodeId: owner.nodeId });
    expect(reroutes).toEqual([]);
  });

  test('with another partition count ends a fan-out that began under the old one', async () => {
    const { cluster, partition, owner } = clusterWithRow();
    const { router, scope } = routerOver(cluster);
    owner.onRequest = () => {
      cluster.incarnation = 'incarnation-2';
      cluster.partitions = 7;
      cluster.publish();
    };
    await expect(router.read<'totals'>({ kind: 'totals', partition }, scope())).rejects.toMatchObject({
      code: 'OWNER_UNAVAILABLE',
    });
  });
});

describe('a directory that came back empty', () => {
  test('leaves the last table in force', async () => {
    const { cluster, owner } = clusterWithRow();
    const { router, scope } = routerOver(cluster);
    cluster.directory.show({ topology: null, nodes: new Map(), owners: new Map() });
    await expect(router.row(KEY, scope())).resolves.toMatchObject({ nodeId: owner.nodeId });
  });
});

describe('links', () => {
  test('to nodes that left the table are let go', async () => {
    const { cluster, owner } = clusterWithRow();
    const closed: string[] = [];
    const open = cluster.openShardApi;
    cluster.openShardApi = (url) => {
      const node = open(url);
      return Object.assign(Object.create(node) as typeof node, {
        read: node.read.bind(node),
        close: async () => void closed.push(url),
      });
    };
    const { links, router, routes, scope } = routerOver(cluster);
    await router.row(KEY, scope());
    const table = routes.current();
    if (table === undefined) throw new Error('expected a table');
    links.keepOnly(table);
    expect(closed).toEqual([]);
    links.keepOnly({ ...table, nodes: new Map(), owners: new Map() });
    await links.close();
    expect(closed).toEqual([`http://${owner.nodeId}`]);
  });
});
