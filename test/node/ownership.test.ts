// The control loop of ownership in a simulated cluster: real loops and a real directory, only the shards and the time are
// made up. The simulation itself checks, at every instant, that nobody owns what another owns, that nothing a ready node
// could own stays without owner, and that nobody releases before somebody else is ready.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { REJOIN_GRACE_MS } from '../../node/ownership.ts';
import { Simulation, TOPOLOGY } from './ownership-simulation.ts';

const PARTITIONS = TOPOLOGY.partitions;

describe('Ownership', () => {
  it('spreads the partitions over the nodes that join, each owned by the node that is placed', async () => {
    await using cluster = new Simulation();
    for (const nodeId of ['a', 'b', 'c']) cluster.join(nodeId);
    await cluster.run(2_000);
    expect(cluster.owners()).toEqual(cluster.placement().map(([placed]) => placed));
    expect(cluster.holders()).toEqual(cluster.placement().map((placed) => [...placed].sort()));
    expect(new Set(cluster.owners()).size).toBe(3);
  });

  it('keeps what it holds until the node that joined is ready, then hands over', async () => {
    await using cluster = new Simulation();
    const a = cluster.join('a');
    await cluster.run(1_000);
    const b = cluster.join('b', { warmMs: 5_000 });
    await cluster.run(4_000);
    expect(cluster.owners()).toEqual(Array(PARTITIONS).fill('a'));
    await cluster.run(3_000);
    expect(cluster.owners()).toEqual(cluster.placement().map(([placed]) => placed));
    expect(a.moves.filter((reason) => reason === 'hand-over')).toHaveLength(b.ownership.owned.size);
    expect(b.moves.every((reason) => reason === 'hand-over')).toBe(true);
    // The retreat is to warm shards: what moved away is closed only now.
    expect(new Set(a.shards.states().keys())).toEqual(new Set(a.ownership.owned.keys()));
  });

  it('lets a ready standby take over from a crashed owner before the placed node is ready', async () => {
    await using cluster = new Simulation({ standbyReplicas: 1 });
    for (const nodeId of ['a', 'b', 'c']) cluster.join(nodeId);
    await cluster.run(2_000);
    const before = cluster.owners();
    await cluster.crash('a');
    await cluster.run(200);
    const kept = (owners: string[]): string[] => owners.map((owner, i) => (before[i] === 'a' ? 'moved' : owner));
    expect(kept(cluster.owners())).toEqual(kept(before));
    expect(cluster.owners()).not.toContain('a');
    expect(cluster.owners()).not.toContain('');
    await cluster.run(2_000);
    expect(cluster.owners()).toEqual(cluster.placement().map(([placed]) => placed));
  });

  it('hands everything over before it leaves', async () => {
    await using cluster = new Simulation();
    const a = cluster.join('a');
    cluster.join('b');
    await cluster.run(1_000);
    const share = a.ownership.owned.size;
    const left = cluster.leave('a');
    await cluster.run(2_000);
    await left;
    expect(cluster.owners()).toEqual(Array(PARTITIONS).fill('b'));
    expect(a.moves.filter((reason) => reason === 'leaving')).toHaveLength(share);
    expect([...cluster.view().nodes.keys()]).toEqual(['b']);
  });

  it('leaves with what it still owns once its time is over', async () => {
    await using cluster = new Simulation();
    cluster.join('a');
    await cluster.run(1_000);
    cluster.join('b', { warmMs: 60_000 });
    await cluster.run(1_000);
    const left = cluster.leave('a', 3_000);
    await cluster.run(2_500);
    expect(cluster.owners()).toEqual(Array(PARTITIONS).fill('a'));
    await cluster.run(1_000);
    await left;
    expect(cluster.view().owners.size).toBe(0);
  });

  it('leaves at once when no other node stays', async () => {
    await using cluster = new Simulation();
    for (const nodeId of ['a', 'b']) cluster.join(nodeId);
    await cluster.run(1_000);
    const left = Promise.all([cluster.leave('a'), cluster.leave('b')]);
    await cluster.run(100);
    await left;
    expect(cluster.view().nodes.size).toBe(0);
  });

  it('releases a shard that is not ready any more to a node that is', async () => {
    await using cluster = new Simulation({ standbyReplicas: 1 });
    const nodes = ['a', 'b'].map((nodeId) => cluster.join(nodeId, { warmMs: 1_000 }));
    await cluster.run(3_000);
    const owner = nodes.find(({ nodeId }) => nodeId === cluster.owners()[0]);
    owner?.shards.chill(0);
    await cluster.run(500);
    expect(cluster.owners()[0]).not.toBe(owner?.nodeId);
    expect(owner?.moves).toContain('not-ready');
    await cluster.run(3_000);
    expect(cluster.owners()[0]).toBe(owner?.nodeId);
  });

  it('keeps owning a shard that is not ready any more while nobody else is', async () => {
    await using cluster = new Simulation();
    const node = cluster.join('a');
    await cluster.run(1_000);
    node.shards.chill(0);
    await cluster.run(50);
    expect(cluster.owners()[0]).toBe('a');
  });

  it('moves nothing while the directory cannot be reached, and goes on where it was', async () => {
    await using cluster = new Simulation();
    for (const nodeId of ['a', 'b']) cluster.join(nodeId);
    await cluster.run(1_000);
    const before = [...cluster.view().owners];
    cluster.registry.setReachable(false);
    await cluster.run(60_000);
    expect([...cluster.nodes.values()].map(({ ownership }) => ownership.owned.size).reduce((a, b) => a + b)).toBe(8);
    cluster.registry.setReachable(true);
    await cluster.run(1_000);
    expect([...cluster.view().owners]).toEqual(before);
  });

  it('joins again after its session was lost, and takes back what nobody else took', async () => {
    await using cluster = new Simulation();
    const node = cluster.join('a');
    await cluster.run(1_000);
    node.directory.setReachable(false);
    await cluster.run(30_000);
    expect(cluster.view().owners.size).toBe(0);
    expect(node.ownership.owned.size).toBe(PARTITIONS);
    node.directory.setReachable(true);
    await cluster.run(1_000);
    expect(cluster.owners()).toEqual(Array(PARTITIONS).fill('a'));
    expect(node.moves.filter((reason) => reason === 'session-lost')).toHaveLength(PARTITIONS);
    expect(node.moves.filter((reason) => reason === 're-acquired')).toHaveLength(PARTITIONS);
  });

  it('refills an emptied directory under a new incarnation, every partition where it was', async () => {
    await using cluster = new Simulation({ standbyReplicas: 1 });
    for (const nodeId of ['a', 'b', 'c']) cluster.join(nodeId);
    await cluster.run(2_000);
    const before = cluster.owners();
    cluster.registry.wipe();
    await cluster.run(1_000);
    expect(cluster.owners()).toEqual(before);
    const { topology, owners } = cluster.view();
    expect(topology).toMatchObject({ ...TOPOLOGY, incarnation: expect.not.stringMatching(TOPOLOGY.incarnation) });
    expect([...owners.values()].every(({ epoch }) => epoch === 1)).toBe(true);
    const gained = [...cluster.nodes.values()].flatMap(({ moves }) => moves).filter((reason) => reason === 'hand-over');
    await cluster.run(REJOIN_GRACE_MS);
    expect(cluster.owners()).toEqual(before);
    expect([...cluster.nodes.values()].flatMap(({ moves }) => moves).filter((r) => r === 'hand-over')).toEqual(gained);
  });

  it('leaves what another node owned to it for a while after the directory was emptied, then takes it', async () => {
    await using cluster = new Simulation({ standbyReplicas: 1, unownedMaxMs: REJOIN_GRACE_MS + 500 });
    for (const nodeId of ['a', 'b']) cluster.join(nodeId);
    await cluster.run(2_000);
    const before = cluster.owners();
    cluster.nodes.get('a')?.directory.setReachable(false);
    cluster.registry.wipe();
    await cluster.run(REJOIN_GRACE_MS - 100);
    expect(cluster.owners()).toEqual(before.map((owner) => (owner === 'b' ? 'b' : '')));
    await cluster.run(500);
    expect(cluster.owners()).toEqual(Array(PARTITIONS).fill('b'));
  });

  it('stops with BAD_CONFIG when the directory comes back with another topology', async () => {
    await using cluster = new Simulation();
    cluster.join('a');
    await cluster.run(1_000);
    cluster.registry.wipe();
    cluster.registry.topology = { ...TOPOLOGY, incarnation: 'other', partitions: 99 };
    cluster.registry.changed();
    await expect(cluster.run(1_000)).rejects.toMatchObject({ code: 'BAD_CONFIG' });
    cluster.failures.length = 0;
  });

  it('comes to the placement from any sequence of joins, leaves, crashes and shards that fall behind', async () => {
    const step = fc.record({
      kind: fc.constantFrom('join', 'leave', 'crash', 'chill'),
      node: fc.integer({ min: 0, max: 3 }),
      partition: fc.integer({ min: 0, max: PARTITIONS - 1 }),
      warmMs: fc.integer({ min: 0, max: 400 }),
      waitMs: fc.integer({ min: 0, max: 600 }),
    });
    const scenario = fc.record({
      standbyReplicas: fc.integer({ min: 0, max: 2 }),
      hopMs: fc.constantFrom(0, 0, 7, 20),
      steps: fc.array(step, { minLength: 1, maxLength: 14 }),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ standbyReplicas, hopMs, steps }) => {
        await using cluster = new Simulation({ standbyReplicas, hopMs });
        cluster.join('n9');
        await cluster.run(50);
        for (const { kind, node, partition, warmMs, waitMs } of steps) {
          const nodeId = `n${node}`;
          const isHere = cluster.nodes.has(nodeId) && !cluster.view().nodes.get(nodeId)?.draining;
          if (kind === 'join' && !cluster.nodes.has(nodeId)) cluster.join(nodeId, { warmMs });
          if (kind === 'leave' && isHere) void cluster.leave(nodeId);
          if (kind === 'crash' && isHere) await cluster.crash(nodeId);
          if (kind === 'chill') cluster.nodes.get(nodeId)?.shards.chill(partition);
          await cluster.run(waitMs);
        }
        await cluster.run(6_000);
        expect(cluster.owners()).toEqual(cluster.placement().map(([placed]) => placed));
        expect(cluster.holders()).toEqual(cluster.placement().map((placed) => [...placed].sort()));
      }),
      { numRuns: 60 },
    );
  });
});
