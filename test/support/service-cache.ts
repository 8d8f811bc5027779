// The project's own folder for what the system tests fetch: `.cache/` in the checkout, or STOCKROOM_CACHE_DIR.
//
// Hazard: several test processes may want the same entry at once, and any of them may be killed half-way. So an entry
// is built in a folder of its own and appears under its name by one rename; who comes second throws his copy away.
// A name states the exact version or content of its entry: an entry never changes and is never checked for age.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const CHECKOUT = resolve(import.meta.dirname, '../..');
const BUILD_ATTEMPTS_MAX = 3;
const RETRY_DELAY_MS = 1_000;

export interface CacheEntry {
  /** Folder name: what it holds and its exact version. */
  readonly name: string;
  /** Fills an empty folder; called again, on another empty folder, after it has thrown. */
  readonly build: (folder: string) => Promise<void>;
  /** How often to try before giving up; 1 for work that does not touch the network. */
  readonly attemptsMax?: number;
  /** Before the second attempt; doubled before each further one. */
  readonly retryDelayMs?: number;
}

/** The cache folder, absolute; it may not exist yet. */
export function cacheRoot(): string {
  return resolve(process.env['STOCKROOM_CACHE_DIR'] ?? join(CHECKOUT, '.cache'));
}

/** The folder of an entry, built first where it is missing. Throws the last attempt's error. */
export async function cached({
  name,
  build,
  attemptsMax = BUILD_ATTEMPTS_MAX,
  retryDelayMs = RETRY_DELAY_MS,
}: CacheEntry): Promise<string> {
  const target = join(cacheRoot(), name);
  for (let attempt = 1; !existsSync(target); attempt += 1) {
    try {
      await buildAside(target, build);
    } catch (error) {
      if (attempt >= attemptsMax) throw error;
      await sleep(retryDelayMs * 2 ** (attempt - 1));
    }
  }
  return target;
}

/** A short name for some content, for an entry that depends on it. */
export function contentHash(...content: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of content) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 16);
}

async function buildAside(target: string, build: CacheEntry['build']): Promise<void> {
  await mkdir(cacheRoot(), { recursive: true });
  const aside = await mkdtemp(`${target}.building-`);
  try {
    await build(aside);
    await rename(aside, target);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (!isTaken(error) || !existsSync(target)) throw error;
  }
}

function isTaken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return code === 'ENOTEMPTY' || code === 'EEXIST';
}
