// What every directory must do, whoever keeps it: membership, ownership, topology, and what is left of them when a node,
// the connection or the directory itself is lost. Run against the embedded registry and against a real Consul.
/* oxlint-disable vitest/valid-title -- this file wraps `it`. */
import { expect, it } from 'vitest';
import {
  type Directory,
  DirectoryUnavailable,
  type DirectoryView,
  type Membership,
  type NodeEntry,
} from '../../cluster/directory.ts';
import { ROW_VERSION } from '../../schema/inventory-row.ts';
import type { ShardStateName, Topology } from '../../schema/topology.ts';
import { eventually } from '../support/eventually.ts';
import { uniqueId } from '../support/unique.ts';

/** One directory under test; its keys are its own. */
export interface DirectoryHarness extends AsyncDisposable {
  /** A connection as another process would have it. */
  connect(): Directory;
  /** Starts what the directory's health check calls for this node; resolves with its URL. */
  startNode(nodeId: string): Promise<{ readonly healthUrl: string }>;
  /** The node's process dies: it answers no health check and says goodbye to nobody. */
  crash(nodeId: string, directory: Directory): Promise<void>;
  /** The directory stops answering, keeping what it knows; the connections stay. */
  setReachable(reachable: boolean): Promise<void>;
  /** The directory comes back with nothing. */
  wipe(): Promise<void>;
}

export function directorySuite(start: () => Promise<DirectoryHarness>): void {
  const scenario = (name: string, run: (harness: DirectoryHarness) => Promise<void>): void =>
    it(name, async () => {
      await using harness = await start();
      await run(harness);
      expect.hasAssertions();
    });

  scenario('lets one of two creators write the topology, and gives both the same', async (harness) => {
    const [a, b] = [harness.connect(), harness.connect()];
    expect(await a.readTopology()).toBeUndefined();
    const proposals = [topology(16), topology(12)];
    const stored = await Promise.all([a, b].map((directory, i) => directory.createTopology(proposals[i] as Topology)));
    expect(stored[0]).toEqual(stored[1]);
    expect(proposals).toContainEqual(stored[0]);
    expect(await b.readTopology()).toEqual(stored[0]);
    expect(await a.createTopology(topology(99))).toEqual(stored[0]);
  });

  scenario('shows a node that joins and what it publishes', async (harness) => {
    const views = await watching(harness);
    const { membership, entry } = await joined(harness, 'a');
    await views.until('the node is there', ({ nodes }) => nodes.get('a')?.url === entry.url);
    const published = { ...entry, zone: 'north', draining: true, shards: shards({ 0: 'serving', 3: 'catching-up' }) };
    await membership.publish(published);
    await views.until('the entry is the new one', ({ nodes }) => nodes.get('a')?.draining === true);
    expect(views.last().nodes.get('a')).toEqual(published);
  });

  scenario('gives a partition to one node at a time, under a higher epoch each time', async (harness) => {
    const views = await watching(harness);
    const [a, b] = [await joined(harness, 'a'), await joined(harness, 'b')];
    const first = await a.membership.acquire(3);
    expect(first).toBeGreaterThanOrEqual(1);
    expect(await a.membership.acquire(3)).toBe(first);
    expect(await b.membership.acquire(3)).toBeUndefined();
    await b.membership.release(3);
    expect(await b.membership.acquire(3)).toBeUndefined();
    await a.membership.release(3);
    const second = await b.membership.acquire(3);
    expect(second).toBeGreaterThan(first as number);
    await views.until('b owns it', ({ owners }) => owners.get(3)?.nodeId === 'b');
    expect(views.last().owners).toEqual(new Map([[3, { nodeId: 'b', epoch: second }]]));
  });

  scenario('lets exactly one of many racing nodes acquire', async (harness) => {
    const nodes = await Promise.all(['a', 'b', 'c', 'd'].map((nodeId) => joined(harness, nodeId)));
    const epochs = await Promise.all(nodes.map(({ membership }) => membership.acquire(0)));
    expect(epochs.filter((epoch) => epoch !== undefined)).toHaveLength(1);
  });

  scenario('frees what a crashed node owned, drops it from the view, and raises the epoch', async (harness) => {
    const views = await watching(harness);
    const [a, b] = [await joined(harness, 'a'), await joined(harness, 'b')];
    const first = await a.membership.acquire(1);
    await views.until('a owns it', ({ owners }) => owners.get(1)?.nodeId === 'a');
    await harness.crash('a', a.directory);
    await views.until('a is gone', ({ nodes, owners }) => !nodes.has('a') && !owners.has(1));
    expect(await b.membership.acquire(1)).toBeGreaterThan(first as number);
  });

  scenario('refuses a second live process of the same node id, and leaves the first alone', async (harness) => {
    const first = await joined(harness, 'a');
    await first.membership.acquire(2);
    await expect(joined(harness, 'a')).rejects.toMatchObject({ code: 'BAD_CONFIG' });
    expect(first.membership.lost.aborted).toBe(false);
    const views = await watching(harness);
    expect(views.last().owners.get(2)?.nodeId).toBe('a');
    await first.membership.publish({ ...first.entry, version: 'later' });
    await views.until('the first one publishes', ({ nodes }) => nodes.get('a')?.version === 'later');
  });

  scenario('lets a node join again after a crash', async (harness) => {
    const first = await joined(harness, 'a');
    const epoch = await first.membership.acquire(2);
    await harness.crash('a', first.directory);
    const second = await joined(harness, 'a');
    expect(await second.membership.acquire(2)).toBeGreaterThan(epoch as number);
  });

  scenario('frees everything at once when a node leaves', async (harness) => {
    const views = await watching(harness);
    const [a, b] = [await joined(harness, 'a'), await joined(harness, 'b')];
    await a.membership.acquire(0);
    await a.membership.leave();
    expect(await b.membership.acquire(0)).toBeGreaterThan(1);
    await views.until('a is gone', ({ nodes }) => !nodes.has('a') && nodes.has('b'));
    await expect(joined(harness, 'a')).resolves.toBeDefined();
  });

  scenario('tells a node that its session is gone, and nothing is acquired through it', async (harness) => {
    const a = await joined(harness, 'a');
    await a.membership.acquire(0);
    await harness.wipe();
    await expect(use(() => a.membership.acquire(1))).resolves.toBeInstanceOf(DirectoryUnavailable);
    await eventually('the session is lost', () => a.membership.lost.aborted);
    await expect(a.membership.publish(a.entry)).rejects.toBeInstanceOf(DirectoryUnavailable);
    await expect(a.directory.join(a)).resolves.toBeDefined();
  });

  scenario(
    'shows an emptied directory as empty, then another incarnation whose epochs start again',
    async (harness) => {
      const views = await watching(harness);
      const a = await joined(harness, 'a');
      const before = await a.directory.createTopology(topology(16));
      for (let i = 0; i < 3; i++) {
        await a.membership.acquire(5);
        await a.membership.release(5);
      }
      await views.until('the topology is there', (view) => view.topology !== null);
      await harness.wipe();
      await views.until('nothing is there', (view) => view.topology === null && view.nodes.size === 0);
      const after = await a.directory.createTopology({ ...before, incarnation: uniqueId('incarnation') });
      const again = await a.directory.join(a);
      expect(await again.acquire(5)).toBe(1);
      await views.until('a owns it', ({ owners }) => owners.get(5)?.nodeId === 'a');
      expect(views.last().topology).toEqual(after);
      expect(after.incarnation).not.toBe(before.incarnation);
    },
  );

  scenario('says nothing while it cannot be reached, rejects every request, and then goes on', async (harness) => {
    const a = await joined(harness, 'a');
    const views = await watching(harness);
    await eventually('connected', () => views.directory.connected);
    await harness.setReachable(false);
    const seen = views.count();
    const requests = [
      () => a.membership.acquire(7),
      () => a.membership.release(7),
      () => a.membership.publish(a.entry),
      () => views.directory.readTopology(),
      () => views.directory.createTopology(topology(16)),
      () => views.directory.join({ ...a, entry: { ...a.entry, nodeId: 'other' } }),
    ];
    for (const outcome of await Promise.all(requests.map(use))) expect(outcome).toBeInstanceOf(DirectoryUnavailable);
    await eventually('not connected', () => !views.directory.connected && !a.directory.connected);
    expect(views.count()).toBe(seen);
    await harness.setReachable(true);
    await eventually('connected again', () => views.directory.connected, { timeoutMs: 20_000 });
    await (await joined(harness, 'b')).membership.acquire(9);
    await views.until('news arrive again', ({ owners }) => owners.get(9)?.nodeId === 'b');
  });

  scenario('never shows an older view after a newer one, and the same one only once', async (harness) => {
    const views = await watching(harness);
    const { membership } = await joined(harness, 'a');
    for (let i = 0; i < 20; i++) {
      await membership.acquire(0);
      await membership.release(0);
    }
    const last = await membership.acquire(0);
    await views.until('the last epoch is seen', ({ owners }) => owners.get(0)?.epoch === last);
    const epochs = views.all().flatMap(({ owners }) => owners.get(0)?.epoch ?? []);
    expect(epochs).toEqual([...epochs].sort((x, y) => x - y));
    for (const [i, view] of views.all().entries()) expect(view).not.toEqual(views.all()[i - 1]);
  });

  scenario('stops watching when the signal aborts', async (harness) => {
    const views = await watching(harness);
    views.stop();
    const seen = views.count();
    const others = await watching(harness);
    await joined(harness, 'a');
    await others.until('somebody else sees it', ({ nodes }) => nodes.has('a'));
    expect(views.count()).toBe(seen);
  });
}

/** What `request` rejects with, or its value. */
async function use(request: () => Promise<unknown>): Promise<unknown> {
  try {
    return await request();
  } catch (error) {
    return error;
  }
}

async function joined(
  harness: DirectoryHarness,
  nodeId: string,
): Promise<{ directory: Directory; membership: Membership; entry: NodeEntry; healthUrl: string }> {
  const { healthUrl } = await harness.startNode(nodeId);
  const directory = harness.connect();
  const url = new URL(healthUrl).origin;
  const entry: NodeEntry = { nodeId, url, zone: null, version: '1', draining: false, shards: {} };
  return { directory, membership: await directory.join({ entry, healthUrl }), entry, healthUrl };
}

/** Resolves once the first view is there. */
async function watching(harness: DirectoryHarness) {
  const directory = harness.connect();
  const stop = new AbortController();
  const views: DirectoryView[] = [];
  directory.watch((view) => views.push(view), stop.signal);
  await eventually('the first view arrives', () => views.length > 0);
  return {
    directory,
    stop: () => stop.abort(),
    count: () => views.length,
    all: (): readonly DirectoryView[] => views,
    last: (): DirectoryView => views.at(-1) as DirectoryView,
    until: (condition: string, isSo: (view: DirectoryView) => boolean) =>
      eventually(condition, () => isSo(views.at(-1) as DirectoryView), { timeoutMs: 20_000 }),
  };
}

function shards(states: Record<number, ShardStateName>): NodeEntry['shards'] {
  return states;
}

function topology(partitions: number): Topology {
  return {
    incarnation: uniqueId('incarnation'),
    partitions,
    partitioner: 'murmur2',
    keyCodec: 'storeId/itemId',
    countMax: 1_000_000_000,
    dedupeWindow: 100_000,
    rowVersion: ROW_VERSION,
    topics: { shipments: 'shipments', sales: 'sales' },
    startAt: 'zero',
  };
}
