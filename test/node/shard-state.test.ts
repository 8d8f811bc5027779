import { describe, expect, test } from 'vitest';
import { nextShardState, type ShardState, type ShardStateEvent } from '../../node/shard-state.ts';
import type { ShardStateName } from '../../schema/topology.ts';

const EVENTS = {
  openedEmpty: { kind: 'opened', complete: false },
  openedComplete: { kind: 'opened', complete: true },
  reachedEnd: { kind: 'reached-end' },
  refuse: { kind: 'refuse', reason: 'the log is another one' },
  close: { kind: 'close' },
  closed: { kind: 'closed' },
} as const satisfies Record<string, ShardStateEvent>;
type EventName = keyof typeof EVENTS;

/** `same`: the event means nothing in this state, and the very same object comes back. */
const TRANSITIONS: Record<ShardStateName, Record<EventName, ShardStateName | 'same'>> = {
  opening: {
    openedEmpty: 'restoring',
    openedComplete: 'catching-up',
    reachedEnd: 'same',
    refuse: 'refused',
    close: 'closed',
    closed: 'closed',
  },
  restoring: {
    openedEmpty: 'same',
    openedComplete: 'same',
    reachedEnd: 'serving',
    refuse: 'refused',
    close: 'closed',
    closed: 'closed',
  },
  'catching-up': {
    openedEmpty: 'same',
    openedComplete: 'same',
    reachedEnd: 'serving',
    refuse: 'refused',
    close: 'closed',
    closed: 'closed',
  },
  serving: {
    openedEmpty: 'same',
    openedComplete: 'same',
    reachedEnd: 'same',
    refuse: 'refused',
    close: 'draining',
    closed: 'closed',
  },
  draining: {
    openedEmpty: 'same',
    openedComplete: 'same',
    reachedEnd: 'same',
    refuse: 'same',
    close: 'same',
    closed: 'closed',
  },
  refused: {
    openedEmpty: 'same',
    openedComplete: 'same',
    reachedEnd: 'same',
    refuse: 'refused',
    close: 'closed',
    closed: 'closed',
  },
  closed: {
    openedEmpty: 'same',
    openedComplete: 'same',
    reachedEnd: 'same',
    refuse: 'same',
    close: 'same',
    closed: 'same',
  },
};

describe.each(Object.entries(TRANSITIONS))('%s', (name, row) => {
  test.each(Object.entries(row))('on %s is %s', (event, expected) => {
    const state: ShardState =
      name === 'refused' ? { name, reason: 'before' } : { name: name as Exclude<ShardStateName, 'refused'> };
    const next = nextShardState(state, EVENTS[event as EventName]);
    const reason = expected === 'refused' ? { reason: EVENTS.refuse.reason } : {};
    expect(next).toEqual(expected === 'same' ? state : { name: expected, ...reason });
    expect(next === state).toBe(expected === 'same');
  });
});

test('drains only what served, because a draining shard still answers reads (I4)', () => {
  const drainingFrom = Object.entries(TRANSITIONS).filter(([, row]) => Object.values(row).includes('draining'));
  expect(drainingFrom.map(([name]) => name)).toEqual(['serving']);
});
