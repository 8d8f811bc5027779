import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { cached, cacheRoot } from './service-cache.ts';
import { type TempDir, tempDir } from './temp-dir.ts';

let folder: TempDir;

beforeEach(async () => {
  folder = await tempDir('cache');
  vi.stubEnv('STOCKROOM_CACHE_DIR', folder.path);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await folder[Symbol.asyncDispose]();
});

it('builds an entry once and leaves only it behind', async () => {
  let builds = 0;
  const entry = {
    name: 'thing-1.2.3',
    build: async (path: string) => {
      builds += 1;
      await writeFile(join(path, 'content'), 'made');
    },
  };
  expect(await cached(entry)).toBe(join(cacheRoot(), 'thing-1.2.3'));
  expect(await readFile(join(await cached(entry), 'content'), 'utf8')).toBe('made');
  expect(builds).toBe(1);
  expect(await readdir(folder.path)).toEqual(['thing-1.2.3']);
});

it('lets the first of two racing builds win, whole', async () => {
  let release = (): void => undefined;
  const bothBuilding = new Promise<void>((resolve) => {
    release = resolve;
  });
  let builds = 0;
  const build = async (path: string): Promise<void> => {
    builds += 1;
    await writeFile(join(path, 'content'), `build ${builds}`);
    if (builds === 2) release();
    await bothBuilding;
  };
  const [one, other] = await Promise.all([cached({ name: 'raced', build }), cached({ name: 'raced', build })]);
  expect(one).toBe(other);
  expect(await readdir(folder.path)).toEqual(['raced']);
  expect(await readFile(join(one, 'content'), 'utf8')).toMatch(/^build [12]$/);
});

it('throws the error of a build that fails, and leaves nothing half-made', async () => {
  const build = async (path: string): Promise<void> => {
    await writeFile(join(path, 'half'), '');
    throw new Error('mirror unreachable');
  };
  await expect(cached({ name: 'broken', build, attemptsMax: 1 })).rejects.toThrow('mirror unreachable');
  expect(await readdir(folder.path)).toEqual([]);
});

it('tries again, in a folder that is empty again', async () => {
  const found: boolean[] = [];
  const build = async (path: string): Promise<void> => {
    found.push(existsSync(join(path, 'half')));
    await writeFile(join(path, 'half'), '');
    if (found.length < 3) throw new Error('connection reset');
  };
  await cached({ name: 'third-time', build, retryDelayMs: 1 });
  expect(found).toEqual([false, false, false]);
});
