// One recursive blocking query over everything of an application id, again and again: the view that routing and ownership
// live on. Rules from Consul's own documentation ("Blocking Queries"), each of them seen to matter:
//   - an index that goes back (a restarted or restored Consul) → start over at 0, and let the leader prove itself first
//   - an index that Consul has not reached is waited for: after a failure, too, start over at 0
//   - a return is no guarantee of change → a view equal to the last one is not passed on
//   - back-off with jitter after failures; a least interval between returns, so that a storm of changes is not a storm of
//     requests
//   - an agent that hangs answers nothing, not even the end of the wait → the client has a time limit of its own
//
// I7: while nothing can be read, nothing is said: the last view stays with whoever has it.

import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { ConsulClient, ConsulTree } from './consul-client.ts';
import type { ConsulKeys } from './consul-keys.ts';
import type { DirectoryView } from './directory.ts';

const INTERVAL_MIN_MS = 10;
const BACKOFF_FIRST_MS = 50;
const BACKOFF_MAX_MS = 2_000;

export interface ConsulWatchOptions {
  readonly client: ConsulClient;
  readonly keys: ConsulKeys;
  readonly onView: (view: DirectoryView) => void;
  /** A failed query; it is tried again. */
  readonly onRetry: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** Follows the keys until `signal` aborts. */
export async function watchConsul({ client, keys, onView, onRetry, signal }: ConsulWatchOptions): Promise<void> {
  let last: DirectoryView | undefined;
  /** Newest index seen, and the one to ask from; 0 = answer at once. */
  let newest = 0;
  let index = 0;
  for (let failures = 0; !signal.aborted;) {
    const startedAt = performance.now();
    // Newest is reset when it went back: what a server that is behind says is not believed before the leader says it too.
    const query = { index, consistent: newest === 0, signal };
    const tree: ConsulTree | void = await client.watchTree(keys.prefix, query).catch((error: unknown) => {
      if (!signal.aborted) onRetry(error);
    });
    if (signal.aborted) return;
    if (tree === undefined) {
      // It may come back with other data, and then wait for our old index in vain.
      index = 0;
      await pause(backOffMs(failures++), signal);
      continue;
    }
    failures = 0;
    const wentBack = tree.index < newest;
    newest = index = wentBack ? 0 : tree.index;
    const view = wentBack ? undefined : readView(keys, tree, onRetry);
    if (view !== undefined && !isDeepStrictEqual(view, last)) {
      last = view;
      onView(view);
    }
    await pause(startedAt + INTERVAL_MIN_MS - performance.now(), signal);
  }
}

/** Undefined, with `onRetry` told, where the topology is damaged: then it is as if Consul could not be read. */
function readView(
  keys: ConsulKeys,
  tree: ConsulTree,
  onRetry: ConsulWatchOptions['onRetry'],
): DirectoryView | undefined {
  try {
    return keys.view(tree.keys);
  } catch (error) {
    onRetry(error);
    return undefined;
  }
}

function backOffMs(failures: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** failures) * (0.5 + Math.random() / 2);
}

/** Ends early, without an error, when `signal` aborts. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal }).catch(() => undefined);
}
