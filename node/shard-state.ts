// The lifecycle of a shard on a node, pure.
//
//   opening ──▶ restoring ───┐                      a shard that has never been complete answers nothing
//      │                     ├──▶ serving ──▶ draining ──▶ closed
//      └──────▶ catching-up ─┘                      a complete one that fell behind while its node was away
//
//   any but draining and closed ──▶ refused ──▶ closed    the log or the store does not fit: a person must look
//   opening, restoring, catching-up ──▶ closed            what never served has nothing to drain
//
// I4: only `serving` and, until it has ended what is under way, `draining` answer reads; so nothing may drain that did not
// serve. I8: a log that does not fit makes the shard refuse, with a reason.

import type { ShardStateName } from '../schema/topology.ts';

export type ShardState =
  | { readonly name: Exclude<ShardStateName, 'refused'> }
  /** `reason` says what does not fit and what to do. */
  | { readonly name: 'refused'; readonly reason: string };

export type ShardStateEvent =
  /** The local store has been read; `complete` = the shard once held the whole log up to its end. */
  | { readonly kind: 'opened'; readonly complete: boolean }
  /** The position covers an end offset seen after opening, and the log is the one it was built from. */
  | { readonly kind: 'reached-end' }
  | { readonly kind: 'refuse'; readonly reason: string }
  | { readonly kind: 'close' }
  | { readonly kind: 'closed' };

/** The state after `event`; the same object where the event means nothing in this state. */
export function nextShardState(state: ShardState, event: ShardStateEvent): ShardState {
  switch (event.kind) {
    case 'opened':
      return state.name === 'opening' ? { name: event.complete ? 'catching-up' : 'restoring' } : state;
    case 'reached-end':
      return state.name === 'restoring' || state.name === 'catching-up' ? { name: 'serving' } : state;
    case 'refuse':
      return isEnding(state) ? state : { name: 'refused', reason: event.reason };
    case 'close':
      return closing(state);
    case 'closed':
      return state.name === 'closed' ? state : { name: 'closed' };
  }
}

function closing(state: ShardState): ShardState {
  if (isEnding(state)) return state;
  return { name: state.name === 'serving' ? 'draining' : 'closed' };
}

function isEnding(state: ShardState): boolean {
  return state.name === 'draining' || state.name === 'closed';
}
