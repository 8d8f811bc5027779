import { cp, mkdir, readdir, readFile, truncate, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openRocksDbStore } from '../../node/rocksdb-store.ts';
import type { ShardStore } from '../../node/shard-store.ts';
import { shardStoreSuite } from '../suites/shard-store.suite.ts';
import { startProcess } from '../support/child-process.ts';
import { HEAD_KEY, numberOf, SLOTS, slotKey } from '../support/store-writer-keys.ts';
import { tempDir } from '../support/temp-dir.ts';

const WRITER = join(import.meta.dirname, '../support/store-writer.ts');
const KEYS = Array.from({ length: 2_000 }, (_, i) => Buffer.from(`key-${i}`));

shardStoreSuite('RocksDB', async () => {
  const folder = await tempDir('store');
  const store = await openRocksDbStore({ path: join(folder.path, 'store') });
  return {
    store,
    [Symbol.asyncDispose]: async () => {
      await store.close();
      await folder[Symbol.asyncDispose]();
    },
  };
});

describe('a store opened again', () => {
  test('holds after a close what it held before', async () => {
    await using folder = await tempDir('store');
    const path = join(folder.path, 'node-1', 'shards');
    await fillStore(path);
    const store = await openRocksDbStore({ path });
    expect(await store.getMany(KEYS)).toEqual(KEYS);
    expect((await store.stats()).diskBytes).toBeGreaterThan(KEYS.length * 10);
    await store.close();
  });

  // A process is killed with SIGKILL between and within its batches. Every batch it was told of is there, and whichever
  // the newest is: it and all before it are there whole (I1).
  test('holds after SIGKILL every batch that had resolved, each whole', { timeout: 60_000 }, async () => {
    await using folder = await tempDir('store');
    let before = 0;
    for (const batches of [1, 150, 500]) {
      const resolved = await killWriterAfter(folder.path, before + batches);
      const store = await openRocksDbStore({ path: folder.path });
      const head = numberOf((await store.getMany([HEAD_KEY]))[0]);
      expect(head).toBeGreaterThanOrEqual(resolved);
      expect(await readSlots(store)).toEqual(slotsAfter(head));
      await store.close();
      before = head;
    }
  });
});

describe('a store that cannot be opened', () => {
  test('is StoreLocked while this process has it open, and opens once that has closed', async () => {
    await using folder = await tempDir('store');
    const store = await openRocksDbStore({ path: folder.path });
    await expect(openRocksDbStore({ path: folder.path })).rejects.toMatchObject({ name: 'StoreLocked' });
    await store.close();
    await (await openRocksDbStore({ path: folder.path })).close();
  });

  test('is StoreLocked while another process has it open, and is named', async () => {
    await using folder = await tempDir('store');
    await using writer = startWriter(folder.path);
    await writer.waitForLine(/^\d+$/);
    const opening = openRocksDbStore({ path: folder.path });
    await expect(opening).rejects.toMatchObject({ name: 'StoreLocked' });
    await expect(opening).rejects.toThrow(folder.path);
  });

  test('is StoreUnavailable where the path is a file', async () => {
    await using folder = await tempDir('store');
    const path = join(folder.path, 'file');
    await writeFile(path, 'something else');
    await expect(openRocksDbStore({ path })).rejects.toMatchObject({ name: 'StoreUnavailable' });
    await expect(openRocksDbStore({ path: join(path, 'below') })).rejects.toMatchObject({ name: 'StoreUnavailable' });
  });

  test.each<[string, RegExp, (file: string) => Promise<void>]>([
    ['CURRENT overwritten', /^CURRENT$/, (file) => writeFile(file, 'garbage')],
    ['the manifest overwritten', /^MANIFEST-/, (file) => writeFile(file, 'garbage')],
    ['a table truncated', /\.sst$/, (file) => truncate(file, 100)],
    ['a table gone', /\.sst$/, (file) => unlink(file)],
  ])('is StoreDamaged with %s', async (_, pattern, damage) => {
    await using folder = await tempDir('store');
    await fillStore(folder.path);
    await damage(await findFile(folder.path, pattern));
    await expect(openRocksDbStore({ path: folder.path })).rejects.toMatchObject({ name: 'StoreDamaged' });
  });
});

test('reading flipped bytes of a table is StoreDamaged, never a wrong value', async () => {
  await using folder = await tempDir('store');
  await fillStore(folder.path);
  const table = await findFile(folder.path, /\.sst$/);
  const bytes = await readFile(table);
  for (let at = 500; at < bytes.length / 2; at += 500) bytes[at] = (bytes[at] ?? 0) ^ 0xff;
  await writeFile(table, bytes);
  const store = await openRocksDbStore({ path: folder.path });
  await expect(store.getMany(KEYS)).rejects.toMatchObject({ name: 'StoreDamaged' });
  const everything = { from: Buffer.alloc(0), to: Buffer.from([0xff]), limit: 10_000 };
  await expect(store.scan(everything)).rejects.toMatchObject({ name: 'StoreDamaged' });
  await store.close();
});

test('opens a copy of its files made while it was closed', async () => {
  await using folder = await tempDir('store');
  const [path, copy] = [join(folder.path, 'first'), join(folder.path, 'copy')];
  await fillStore(path);
  await mkdir(copy);
  await cp(path, copy, { recursive: true });
  const [first, second] = await Promise.all([openRocksDbStore({ path }), openRocksDbStore({ path: copy })]);
  expect(await second.getMany(KEYS)).toEqual(KEYS);
  await Promise.all([first.close(), second.close()]);
});

/** KEYS, each its own value; the size makes a table file of them at the close. */
async function fillStore(path: string): Promise<void> {
  const store = await openRocksDbStore({ path, writeBufferBytes: 64 * 1024 });
  for (let from = 0; from < KEYS.length; from += 100) {
    await store.write((batch) => {
      for (const key of KEYS.slice(from, from + 100)) {
        batch.put(key, key);
        batch.put(Buffer.concat([Buffer.from('padding of '), key]), Buffer.alloc(200, key));
      }
    });
  }
  await store.close();
}

/** The number of the last batch that the writer said had resolved before it was killed. */
async function killWriterAfter(path: string, batches: number): Promise<number> {
  await using writer = startWriter(path);
  const line = await writer.waitForLine((text) => Number(text) >= batches);
  writer.kill('SIGKILL');
  await writer.exited;
  return Number(writer.output().trimEnd().split('\n').at(-1) ?? line);
}

function startWriter(path: string): ReturnType<typeof startProcess> {
  return startProcess({ name: 'store-writer', command: process.execPath, args: ['--import', 'tsx', WRITER, path] });
}

async function readSlots(store: ShardStore): Promise<number[]> {
  const values = await store.getMany(Array.from({ length: SLOTS }, (_, slot) => slotKey(slot)));
  return values.map(numberOf);
}

/** Slot s holds the highest n ≤ head with n mod SLOTS = s; 0 where there is none yet. */
function slotsAfter(head: number): number[] {
  const slots = Array.from({ length: SLOTS }, () => 0);
  for (let n = 1; n <= head; n++) slots[n % SLOTS] = n;
  return slots;
}

async function findFile(path: string, pattern: RegExp): Promise<string> {
  const name = (await readdir(path)).find((file) => pattern.test(file));
  if (name === undefined) throw new Error(`no file like ${String(pattern)} in ${path}`);
  return join(path, name);
}
