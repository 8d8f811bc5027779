import { describe, expect, it } from 'vitest';
import { type EmbeddedDirectory, EmbeddedRegistry } from '../../cluster/embedded-directory.ts';
import type { NodeEntry } from '../../cluster/directory.ts';
import { eventually } from '../support/eventually.ts';
import { type DirectoryHarness, directorySuite } from '../suites/directory.suite.ts';

const TTL_MS = 40;

function entryOf(nodeId: string): NodeEntry {
  return { nodeId, url: `http://127.0.0.1/${nodeId}`, zone: null, version: '1', draining: false, shards: {} };
}

async function startEmbedded(): Promise<DirectoryHarness> {
  const registry = new EmbeddedRegistry({ sessionTtlMs: TTL_MS });
  const directories: EmbeddedDirectory[] = [];
  return {
    connect: () => {
      const directory = registry.connect();
      directories.push(directory);
      return directory;
    },
    startNode: async (nodeId) => ({ healthUrl: `http://127.0.0.1:1/${nodeId}` }),
    crash: (_nodeId, directory) => directory.close(),
    setReachable: async (reachable) => registry.setReachable(reachable),
    wipe: async () => registry.wipe(),
    [Symbol.asyncDispose]: async () => {
      for (const directory of directories) await directory.close();
    },
  };
}

describe('EmbeddedDirectory', () => {
  directorySuite(startEmbedded);

  it('ends the session of a node that stays cut off, and tells it when it is back', async () => {
    const registry = new EmbeddedRegistry({ sessionTtlMs: TTL_MS });
    await using cut = disposable(registry.connect());
    await using other = disposable(registry.connect());
    const membership = await cut.directory.join({ entry: entryOf('a'), healthUrl: '' });
    const heir = await other.directory.join({ entry: entryOf('b'), healthUrl: '' });
    await membership.acquire(0);
    cut.directory.setReachable(false);
    expect(other.directory.connected).toBe(true);
    await eventually('the partition is free', async () => (await heir.acquire(0)) !== undefined);
    expect(membership.lost.aborted).toBe(false);
    cut.directory.setReachable(true);
    expect(membership.lost.aborted).toBe(true);
  });

  it('keeps the session of a node whose connection heals in time', async () => {
    const waits: (() => void)[] = [];
    const sleep = (_ms: number, signal?: AbortSignal): Promise<void> =>
      new Promise((resolve, reject) => {
        waits.push(resolve);
        signal?.addEventListener('abort', () => reject(new Error('aborted')));
      });
    const directory = new EmbeddedRegistry({ sleep }).connect();
    const membership = await directory.join({ entry: entryOf('a'), healthUrl: '' });
    directory.setReachable(false);
    directory.setReachable(true);
    for (const end of waits) end();
    expect(await membership.acquire(0)).toBe(1);
    expect(membership.lost.aborted).toBe(false);
    await directory.close();
  });

  it('can carry a request out and lose the answer', async () => {
    let hops = 0;
    const registry: EmbeddedRegistry = new EmbeddedRegistry({
      hop: async () => {
        hops += 1;
        if (hops === 2) registry.setReachable(false);
      },
    });
    const directory = registry.connect();
    const other = registry.connect();
    await expect(directory.join({ entry: entryOf('a'), healthUrl: '' })).rejects.toThrow(/cut off/);
    registry.setReachable(true);
    hops = 100;
    const membership = await directory.join({ entry: entryOf('a'), healthUrl: '' });
    hops = 0;
    await expect(membership.acquire(4)).rejects.toThrow(/cut off/);
    registry.setReachable(true);
    const heir = await other.join({ entry: entryOf('b'), healthUrl: '' });
    expect(await heir.acquire(4)).toBeUndefined();
    await Promise.all([directory.close(), other.close()]);
  });
});

function disposable(directory: EmbeddedDirectory): AsyncDisposable & { readonly directory: EmbeddedDirectory } {
  return { directory, [Symbol.asyncDispose]: () => directory.close() };
}
