import { beforeEach, describe, expect, test } from 'vitest';
import { DedupeStore } from '../../node/dedupe-store.ts';
import { encodeSightings, fingerprint, type Sighting } from '../../node/dedupe-window.ts';
import { openMemoryStore } from '../../node/memory-store.ts';
import { ShardKeys } from '../../node/shard-keys.ts';
import type { ShardStore } from '../../node/shard-store.ts';

const WINDOW = 1_000;
const KEYS = new ShardKeys(3);

describe('the stored dedupe window', () => {
  let store: ShardStore;
  beforeEach(() => {
    store = openMemoryStore();
  });

  test('decides after a restart as it would have without one, across more chunks than one read brings', async () => {
    const dedupe = new DedupeStore(WINDOW, KEYS);
    for (let offset = 0; offset < 3_000; offset += 3)
      await noteAndStore(dedupe, store, [sighting(`e${offset}`, offset)]);
    const reopened = new DedupeStore(WINDOW, KEYS);
    await reopened.load(store);
    const again = [1_998, 2_001, 2_400, 2_997, 1_995, 9_999].map((id, i) => sighting(`e${id}`, 3_000 - 2 + i));
    const expected = ['duplicate', 'duplicate', 'duplicate', 'duplicate', 'first', 'first'];
    expect(again.map((one) => dedupe.windows.sales.note(one))).toEqual(expected);
    expect(again.map((one) => reopened.windows.sales.note(one))).toEqual(expected);
  });

  test('keeps both edges of the window over a restart', async () => {
    const dedupe = new DedupeStore(WINDOW, KEYS);
    await noteAndStore(dedupe, store, [sighting('a', 100, 7), sighting('b', 101, 7)]);
    const reopened = new DedupeStore(WINDOW, KEYS);
    await reopened.load(store);
    expect(reopened.windows.shipments.note(sighting('a', 1_100))).toBe('first');
    expect(reopened.windows.sales.note(sighting('a', 1_101, 7))).toBe('first');
    expect(reopened.windows.sales.note(sighting('b', 1_101, 8))).toBe('conflict');
  });

  test('drops chunks once no later record can match them, and never before', async () => {
    const dedupe = new DedupeStore(WINDOW, KEYS);
    for (const offset of [0, 10, 20])
      await noteAndStore(dedupe, store, [sighting('x', offset), sighting('y', offset + 5)]);
    expect(await storedChunks(store)).toEqual([0, 10, 20]);
    await dropOutdated(dedupe, store, 5 + WINDOW);
    expect(await storedChunks(store)).toEqual([0, 10, 20]);
    await dropOutdated(dedupe, store, 5 + WINDOW + 1);
    expect(await storedChunks(store)).toEqual([10, 20]);
    await dropOutdated(dedupe, store, 50 * WINDOW);
    expect(await storedChunks(store)).toEqual([]);
  });

  test('drops after a restart what was written before it', async () => {
    await noteAndStore(new DedupeStore(WINDOW, KEYS), store, [sighting('x', 0)]);
    const reopened = new DedupeStore(WINDOW, KEYS);
    await reopened.load(store);
    await dropOutdated(reopened, store, 2 * WINDOW);
    expect(await storedChunks(store)).toEqual([]);
  });

  test('keeps its list of chunks short over a long life', async () => {
    const dedupe = new DedupeStore(WINDOW, KEYS);
    for (let offset = 0; offset < 20_000; offset += 5) {
      await noteAndStore(dedupe, store, [sighting(`e${offset}`, offset)]);
      await dropOutdated(dedupe, store, offset + 1);
    }
    const chunks = await storedChunks(store);
    expect(chunks[0]).toBe(19_995 - WINDOW + 5);
    expect(chunks).toHaveLength(WINDOW / 5);
  });

  test('a torn chunk stops the opening', async () => {
    await store.write((batch) => batch.put(KEYS.dedupeChunk('shipments', 0), Buffer.alloc(7)));
    await expect(new DedupeStore(WINDOW, KEYS).load(store)).rejects.toThrow(RangeError);
  });
});

function sighting(eventId: string, offset: number, count = 1): Sighting {
  return { ...fingerprint('10/CA', eventId), offset, count };
}

async function noteAndStore(dedupe: DedupeStore, store: ShardStore, sightings: readonly Sighting[]): Promise<void> {
  for (const one of sightings) dedupe.windows.sales.note(one);
  const [firstOffset, lastOffset] = [sightings[0]?.offset ?? 0, sightings.at(-1)?.offset ?? 0];
  await store.write((batch) => {
    batch.put(KEYS.dedupeChunk('sales', firstOffset), encodeSightings(sightings));
    dedupe.written([{ role: 'sales', firstOffset, lastOffset }]);
  });
}

function dropOutdated(dedupe: DedupeStore, store: ShardStore, nextOffset: number): Promise<void> {
  return store.write((batch) => dedupe.deleteOutdated(batch, 'sales', nextOffset));
}

async function storedChunks(store: ShardStore): Promise<number[]> {
  const entries = await store.scan(KEYS.dedupeChunks('sales', 0, 10_000));
  return entries.map(({ key }) => KEYS.offsetOf(key));
}
