// The plan of one node, case by case. What plans come to when many nodes follow them is in ownership.test.ts.
import { describe, expect, it } from 'vitest';
import type { NodeEntry } from '../../cluster/directory.ts';
import { type OwnershipAction, planOwnership } from '../../node/ownership-plan.ts';
import type { ShardStateName } from '../../schema/topology.ts';

interface Case {
  /** Placed nodes of partition 0, the owner first. */
  readonly placed: readonly string[];
  /** State of partition 0's shard by node; `me` at first hand, the others as published. */
  readonly shards: Readonly<Record<string, ShardStateName>>;
  /** Who owns it in the view. */
  readonly owner?: string;
  /** Whether this node knows to own it. */
  readonly owned?: boolean;
  readonly draining?: readonly string[];
  readonly mayAcquire?: boolean;
}

/** What node `me` does about partition 0. */
function plan({ placed, shards, owner, owned = owner === 'me', draining = [], mayAcquire = true }: Case): string {
  const nodes = ['me', 'x', 'y'].map((nodeId): [string, NodeEntry] => {
    const state = shards[nodeId];
    const published = state === undefined ? {} : { '0': state };
    const isDraining = draining.includes(nodeId);
    return [nodeId, { nodeId, url: '', zone: null, version: '', draining: isDraining, shards: published }];
  });
  const owners = new Map(owner === undefined ? [] : [[0, { nodeId: owner, epoch: 1 }]]);
  const actions = planOwnership({
    view: { topology: null, nodes: new Map(nodes), owners },
    nodeId: 'me',
    shards: new Map(shards['me'] === undefined ? [] : [[0, shards['me']]]),
    owned: new Set(owned ? [0] : []),
    placement: [placed],
    draining: draining.includes('me'),
    mayAcquire: () => mayAcquire,
  });
  expect(actions.length).toBeLessThanOrEqual(1);
  return describeAction(actions[0]);
}

function describeAction(action: OwnershipAction | undefined): string {
  if (action === undefined) return 'nothing';
  return action.kind === 'release' ? `release: ${action.reason}` : action.kind;
}

describe('planOwnership', () => {
  it.each<[string, Case, string]>([
    ['opens what it is placed for', { placed: ['me'], shards: {} }, 'open'],
    ['opens what it is a standby for', { placed: ['x', 'me'], shards: {}, owner: 'x' }, 'open'],
    ['opens again what was closed', { placed: ['me'], shards: { me: 'closed' } }, 'open'],
    ['opens nothing while it drains', { placed: ['me'], shards: {}, draining: ['me'] }, 'nothing'],
    ['holds nothing it is not placed for', { placed: ['x'], shards: {} }, 'nothing'],
    ['leaves a refused shard to its operator', { placed: ['me'], shards: { me: 'refused' } }, 'nothing'],
    ['waits until its shard serves', { placed: ['me'], shards: { me: 'catching-up' } }, 'nothing'],
    ['acquires what is placed here and free', { placed: ['me'], shards: { me: 'serving' } }, 'acquire'],
    [
      'acquires nothing that is owned',
      { placed: ['me'], shards: { me: 'serving', x: 'serving' }, owner: 'x' },
      'nothing',
    ],
    [
      'leaves a free partition to a ready node of higher rank',
      { placed: ['x', 'me'], shards: { me: 'serving', x: 'serving' } },
      'nothing',
    ],
    [
      'acquires as a standby while the placed owner is not ready',
      { placed: ['x', 'me'], shards: { me: 'serving', x: 'catching-up' } },
      'acquire',
    ],
    [
      'acquires what it is not even placed for when nobody placed is ready',
      { placed: ['x', 'y'], shards: { me: 'serving', x: 'opening' } },
      'acquire',
    ],
    [
      'leaves a free partition to a node that stays, when it drains',
      { placed: ['x'], shards: { me: 'serving', y: 'serving' }, draining: ['me'] },
      'nothing',
    ],
    [
      'acquires while it drains when nobody else is ready',
      { placed: ['x'], shards: { me: 'serving', x: 'catching-up' }, draining: ['me'] },
      'acquire',
    ],
    [
      'acquires nothing that it may not yet',
      { placed: ['me'], shards: { me: 'serving' }, mayAcquire: false },
      'nothing',
    ],
    [
      'acquires again what the view shows as free, though it should own it',
      { placed: ['me'], shards: { me: 'serving' }, owned: true, mayAcquire: false },
      'acquire',
    ],
    ['keeps what it owns', { placed: ['me'], shards: { me: 'serving' }, owner: 'me' }, 'nothing'],
    [
      'keeps what it owns until the placed owner is ready',
      { placed: ['x'], shards: { me: 'serving', x: 'catching-up' }, owner: 'me' },
      'nothing',
    ],
    [
      'hands over to the placed owner once that is ready',
      { placed: ['x'], shards: { me: 'serving', x: 'serving' }, owner: 'me' },
      'release: hand-over',
    ],
    [
      'hands over to no mere standby',
      { placed: ['x', 'y'], shards: { me: 'serving', x: 'restoring', y: 'serving' }, owner: 'me' },
      'nothing',
    ],
    [
      'releases a shard that is not ready to any node that is',
      { placed: ['me', 'y'], shards: { me: 'catching-up', y: 'serving' }, owner: 'me' },
      'release: not-ready',
    ],
    [
      'keeps a shard that is not ready while nobody is',
      { placed: ['me'], shards: { me: 'refused' }, owner: 'me' },
      'nothing',
    ],
    [
      'hands over to whoever is ready when it drains',
      { placed: ['x'], shards: { me: 'serving', y: 'serving' }, owner: 'me', draining: ['me'] },
      'release: leaving',
    ],
    [
      'hands over to no node that drains as well',
      { placed: [], shards: { me: 'serving', y: 'serving' }, owner: 'me', draining: ['me', 'y'] },
      'nothing',
    ],
    ['opens what it owns without holding it', { placed: [], shards: {}, owner: 'me' }, 'open'],
    [
      'closes what it does not need once the placed owner owns it, ready',
      { placed: ['x'], shards: { me: 'serving', x: 'serving' }, owner: 'x' },
      'close',
    ],
    [
      'keeps a warm shard while the partition is not where it should be',
      { placed: ['x'], shards: { me: 'serving', x: 'serving', y: 'serving' }, owner: 'y' },
      'nothing',
    ],
    [
      'keeps a warm shard while a placed standby is not ready',
      { placed: ['x', 'y'], shards: { me: 'serving', x: 'serving', y: 'restoring' }, owner: 'x' },
      'nothing',
    ],
    [
      'keeps a warm shard while nobody owns the partition and somebody of higher rank is about to',
      { placed: ['x'], shards: { me: 'serving', x: 'serving' } },
      'nothing',
    ],
    [
      'closes nothing while it drains: it serves to the end',
      { placed: ['x'], shards: { me: 'serving', x: 'serving' }, owner: 'x', draining: ['me'] },
      'nothing',
    ],
  ])('%s', (_name, facts, action) => {
    expect(plan(facts)).toBe(action);
  });
});
