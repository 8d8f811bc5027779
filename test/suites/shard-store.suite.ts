// What every shard store promises (node/shard-store.ts), run against each adapter: I1 rests on it.

import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ScanRange, ShardStore, StoreBatch, StoreReader } from '../../node/shard-store.ts';

/** A store of its own for one test; disposing closes it and removes what it left. */
export interface OpenStore extends AsyncDisposable {
  readonly store: ShardStore;
}

/** Sorts behind every key of these tests. */
const END = Buffer.from([0xff, 0xff]);
const EVERYTHING: ScanRange = { from: Buffer.alloc(0), to: END, limit: 100_000 };

export function shardStoreSuite(adapter: string, open: () => Promise<OpenStore>): void {
  describe(`shard store: ${adapter}`, () => {
    let opened: OpenStore;
    let store: ShardStore;

    beforeEach(async () => {
      opened = await open();
      store = opened.store;
    });
    afterEach(() => opened[Symbol.asyncDispose]());

    batchTests(() => store);
    readTests(() => store);
    momentTests(() => store);
    endTests(() => store);
    modelTests(open);
  });
}

function batchTests(store: () => ShardStore): void {
  test('reads what was put, and null for what was not', async () => {
    await put(store(), { a: '1', b: '' });
    expect(await get(store(), 'a', 'b', 'c')).toEqual(['1', '', null]);
  });

  test('the later of two operations on a key wins, within a batch and across batches', async () => {
    await store().write((batch) => {
      batch.put(bytes('a'), bytes('1'));
      batch.put(bytes('a'), bytes('2'));
      batch.put(bytes('b'), bytes('1'));
      batch.delete(bytes('b'));
      batch.delete(bytes('c'));
      batch.put(bytes('c'), bytes('3'));
    });
    expect(await get(store(), 'a', 'b', 'c')).toEqual(['2', null, '3']);
    await put(store(), { a: '4' });
    expect(await get(store(), 'a')).toEqual(['4']);
  });

  test('a range deletion takes keys from its start up to before its end, those put earlier in the batch too', async () => {
    await put(store(), { a: '1', b: '1', c: '1', ca: '1', d: '1' });
    await store().write((batch) => {
      batch.put(bytes('bb'), bytes('1'));
      batch.deleteRange(bytes('b'), bytes('d'));
      batch.put(bytes('c'), bytes('2'));
    });
    expect(await contents(store())).toEqual({ a: '1', c: '2', d: '1' });
  });

  test.each([
    ['empty', 'b', 'b'],
    ['reversed', 'c', 'a'],
  ])('an %s range deletes nothing, and the rest of its batch commits', async (_, from, to) => {
    await put(store(), { a: '1', b: '1' });
    await store().write((batch) => {
      batch.deleteRange(bytes(from), bytes(to));
      batch.put(bytes('x'), bytes('1'));
    });
    expect(await contents(store())).toEqual({ a: '1', b: '1', x: '1' });
  });

  test('counts the operations of a batch', async () => {
    const sizes: number[] = [];
    await store().write((batch) => {
      sizes.push(batch.size);
      batch.put(bytes('a'), bytes('1'));
      batch.delete(bytes('b'));
      batch.deleteRange(bytes('c'), bytes('d'));
      sizes.push(batch.size);
    });
    expect(sizes).toEqual([0, 3]);
  });

  test('commits nothing of a batch whose filling throws, and goes on working', async () => {
    const writing = store().write((batch) => {
      batch.put(bytes('a'), bytes('1'));
      throw new Error('no more');
    });
    await expect(writing).rejects.toThrow('no more');
    expect(await get(store(), 'a')).toEqual([null]);
    await put(store(), { a: '2' });
    expect(await get(store(), 'a')).toEqual(['2']);
  });

  test('an empty batch is no error', async () => {
    await store().write(() => undefined);
    expect(await contents(store())).toEqual({});
  });

  test('keeps its own copy once a write has resolved', async () => {
    const [key, value] = [bytes('a'), bytes('1')];
    await store().write((batch) => batch.put(key, value));
    key.fill(0x7a);
    value.fill(0x7a);
    expect(await contents(store())).toEqual({ a: '1' });
    (await store().getMany([bytes('a')]))[0]?.fill(0x7a);
    (await store().scan(EVERYTHING))[0]?.value.fill(0x7a);
    expect(await contents(store())).toEqual({ a: '1' });
  });
}

function readTests(store: () => ShardStore): void {
  test('aligns getMany with its keys: any order, duplicates, absent ones', async () => {
    await put(store(), { a: '1', b: '2', c: '3' });
    expect(await get(store(), 'c', 'x', 'a', 'c', 'x', 'b')).toEqual(['3', null, '1', '3', null, '2']);
    expect(await store().getMany([])).toEqual([]);
  });

  test('scans from its start, up to before its end, in the order of bytes', async () => {
    const keys = [
      [0x00],
      [0x00, 0x00],
      [0x0a],
      [0x61],
      [0x61, 0x00],
      [0x61, 0xff],
      [0x62],
      [0x7f],
      [0x80],
      [0xfe, 0xff],
    ];
    await store().write((batch) => {
      for (const key of keys.toReversed()) batch.put(Buffer.from(key), bytes('v'));
    });
    expect(await scannedKeys(store(), EVERYTHING)).toEqual(keys);
    const range = { from: Buffer.from([0x61]), to: Buffer.from([0x80]), limit: 100 };
    expect(await scannedKeys(store(), range)).toEqual([[0x61], [0x61, 0x00], [0x61, 0xff], [0x62], [0x7f]]);
  });

  test.each([
    { from: 'b', to: 'b' },
    { from: 'c', to: 'a' },
    { from: 'a', to: '' },
    { from: 'x', to: 'z' },
  ])('finds nothing in the range from "$from" to "$to"', async ({ from, to }) => {
    await put(store(), { a: '1', b: '2', c: '3' });
    expect(await store().scan({ from: bytes(from), to: bytes(to), limit: 10 })).toEqual([]);
  });

  test('gives at most `limit` entries', async () => {
    await put(store(), { a: '1', b: '2', c: '3' });
    for (const limit of [0, 1, 2, 3, 4]) {
      const entries = await store().scan({ ...EVERYTHING, limit });
      expect(entries.map(({ key }) => String(key))).toEqual(['a', 'b', 'c'].slice(0, limit));
    }
  });

  test('holds 10,000 keys, read by list and by scans of every awkward length', async () => {
    const keys = Array.from({ length: 10_000 }, (_, i) => bytes(`key-${String(i).padStart(5, '0')}`));
    await store().write((batch) => {
      for (const key of keys) batch.put(key, Buffer.concat([bytes('value of '), key]));
    });
    const values = await store().getMany(keys.toReversed());
    expect(values.map(String)).toEqual(keys.map((key) => `value of ${String(key)}`).toReversed());
    for (const limit of [499, 500, 501, 1_000, 9_999, 10_000, 10_001]) {
      const entries = await store().scan({ ...EVERYTHING, limit });
      expect(entries.map(({ key }) => String(key))).toEqual(keys.slice(0, limit).map(String));
    }
  });

  test('tells its size', async () => {
    await put(store(), { a: 'x'.repeat(1_000) });
    const { memoryBytes, diskBytes } = await store().stats();
    expect(memoryBytes + diskBytes).toBeGreaterThan(1_000);
  });
}

function momentTests(store: () => ShardStore): void {
  test('a snapshot keeps its moment: puts, deletions and new keys after it do not show', async () => {
    await put(store(), { a: '1', b: '1', c: '1' });
    const snapshot = store().snapshot();
    await store().write((batch) => {
      batch.put(bytes('a'), bytes('2'));
      batch.deleteRange(bytes('b'), bytes('c'));
      batch.delete(bytes('c'));
      batch.put(bytes('d'), bytes('2'));
    });
    const later = store().snapshot();
    await put(store(), { a: '3' });
    expect(await contents(snapshot)).toEqual({ a: '1', b: '1', c: '1' });
    expect(await get(snapshot, 'd', 'a')).toEqual([null, '1']);
    expect(await contents(later)).toEqual({ a: '2', d: '2' });
    expect(await contents(store())).toEqual({ a: '3', d: '2' });
    await Promise.all([snapshot.release(), later.release()]);
  });

  test('a released snapshot reads no more, and releasing it again is no error', async () => {
    const snapshot = store().snapshot();
    await snapshot.release();
    await snapshot.release();
    await expect(snapshot.getMany([bytes('a')])).rejects.toThrow('released');
    await expect(snapshot.scan(EVERYTHING)).rejects.toThrow('released');
  });

  // Torn reads would let an answer mix rows and a position of two moments (I1). 2,000 keys take several native reads.
  test.each([50, 2_000])('a read of %d keys beside a writer is of one moment, by list and by scan', async (size) => {
    const keys = Array.from({ length: size }, (_, i) => bytes(`key-${String(i).padStart(5, '0')}`));
    const writeAll = (version: number): Promise<void> =>
      store().write((batch) => {
        for (const key of keys) batch.put(key, bytes(String(version)));
      });
    await writeAll(0);
    const reading = { done: false };
    const writer = (async () => {
      let version = 1;
      for (; !reading.done; version++) await writeAll(version);
      return version;
    })();
    const seen: string[][] = [];
    for (let round = 0; round < 12; round++) {
      const [listed, scanned] = await Promise.all([store().getMany(keys), store().scan(EVERYTHING)]);
      seen.push(distinct(listed), distinct(scanned.map(({ value }) => value)));
    }
    reading.done = true;
    expect(await writer).toBeGreaterThan(1);
    expect(seen.map((versions) => versions.length)).toEqual(seen.map(() => 1));
  });
}

function endTests(store: () => ShardStore): void {
  test('refuses everything once closed, and closing again is no error', async () => {
    await put(store(), { a: '1' });
    const snapshot = store().snapshot();
    await Promise.all([store().close(), store().close()]);
    await expect(store().getMany([bytes('a')])).rejects.toThrow('closed');
    await expect(store().scan(EVERYTHING)).rejects.toThrow('closed');
    await expect(put(store(), { a: '2' })).rejects.toThrow('closed');
    await expect(store().stats()).rejects.toThrow('closed');
    expect(() => store().snapshot()).toThrow('closed');
    await snapshot.release();
  });

  test('closing lets the writes and reads under way end', async () => {
    const writing = put(store(), { a: '1' });
    const reading = store().getMany([bytes('a')]);
    await store().close();
    await writing;
    expect(await reading).toHaveLength(1);
  });
}

type Step =
  | { readonly kind: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly kind: 'delete'; readonly key: Buffer }
  | { readonly kind: 'deleteRange'; readonly from: Buffer; readonly to: Buffer };

function modelTests(open: () => Promise<OpenStore>): void {
  test('equals a plain Map under any batches, now and in the snapshots taken on the way', async () => {
    // Few and short keys, so that operations meet.
    const key = fc
      .array(fc.constantFrom(0x00, 0x61, 0x62, 0xfe), { minLength: 1, maxLength: 3 })
      .map((list) => Buffer.from(list));
    const value = fc.uint8Array({ maxLength: 4 }).map((list) => Buffer.from(list));
    const step: fc.Arbitrary<Step> = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('deleteRange' as const), from: key, to: key }) },
    );
    const batches = fc.array(fc.array(step, { maxLength: 12 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(batches, key, key, fc.nat(20), async (writes, from, to, limit) => {
        await using opened = await open();
        const model = new Map<string, string>();
        const moments = [{ snapshot: opened.store.snapshot(), expected: inOrder(model) }];
        for (const steps of writes) {
          await opened.store.write((batch) => steps.forEach((one) => perform(batch, one)));
          for (const one of steps) performOnModel(model, one);
          moments.push({ snapshot: opened.store.snapshot(), expected: inOrder(model) });
        }
        for (const { snapshot, expected } of moments) expect(await hexEntries(snapshot, EVERYTHING)).toEqual(expected);
        const range = { from, to, limit };
        expect(await hexEntries(opened.store, range)).toEqual(within(inOrder(model), range));
        await Promise.all(moments.map(({ snapshot }) => snapshot.release()));
      }),
      { numRuns: 60 },
    );
  });
}

function perform(batch: StoreBatch, step: Step): void {
  if (step.kind === 'put') batch.put(step.key, step.value);
  else if (step.kind === 'delete') batch.delete(step.key);
  else batch.deleteRange(step.from, step.to);
}

/** Hex text orders like the bytes it spells. */
function performOnModel(model: Map<string, string>, step: Step): void {
  if (step.kind === 'put') model.set(step.key.toString('hex'), step.value.toString('hex'));
  else if (step.kind === 'delete') model.delete(step.key.toString('hex'));
  else {
    const [from, to] = [step.from.toString('hex'), step.to.toString('hex')];
    for (const key of model.keys()) if (key >= from && key < to) model.delete(key);
  }
}

function inOrder(model: ReadonlyMap<string, string>): [string, string][] {
  return [...model].sort(([a], [b]) => (a < b ? -1 : 1));
}

function within(entries: [string, string][], { from, to, limit }: ScanRange): [string, string][] {
  const [first, end] = [from.toString('hex'), to.toString('hex')];
  return entries.filter(([key]) => key >= first && key < end).slice(0, limit);
}

async function hexEntries(reader: StoreReader, range: ScanRange): Promise<[string, string][]> {
  const entries = await reader.scan(range);
  return entries.map(({ key, value }) => [key.toString('hex'), value.toString('hex')]);
}

async function scannedKeys(reader: StoreReader, range: ScanRange): Promise<number[][]> {
  return (await reader.scan(range)).map(({ key }) => [...key]);
}

async function contents(reader: StoreReader): Promise<Record<string, string>> {
  const entries = await reader.scan(EVERYTHING);
  return Object.fromEntries(entries.map(({ key, value }) => [String(key), String(value)]));
}

async function get(reader: StoreReader, ...keys: readonly string[]): Promise<(string | null)[]> {
  const values = await reader.getMany(keys.map(bytes));
  return values.map((value) => (value === null ? null : String(value)));
}

function put(store: ShardStore, values: Readonly<Record<string, string>>): Promise<void> {
  return store.write((batch) => {
    for (const [key, value] of Object.entries(values)) batch.put(bytes(key), bytes(value));
  });
}

function distinct(values: readonly (Buffer | null)[]): string[] {
  return [...new Set(values.map(String))];
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}
