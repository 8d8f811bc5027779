// One process per directory: a file `lock` that names the process which uses it. A lock left behind by a process that
// died is recognised and taken over, also when another process or the next container has its number by now.
//
// `lock`: JSON {"pid", "birth"}; written by the process that takes the directory, removed when it lets go.

import { readFileSync } from 'node:fs';
import { link, mkdir, readFile, rename, rm, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { InventoryError } from '../schema/errors.ts';

interface Holder {
  readonly pid: number;
  /** Which process of that number: boot and start time, where the system tells (Linux); else empty. */
  readonly birth: string;
}

const ATTEMPTS_MAX = 5;
/** Directories that this process holds: without `birth` our own number in a lock would tell nothing. */
const held = new Set<string>();

/** Takes `directory`, made when missing. Resolves with what lets it go again; rejects with BAD_CONFIG when it is in use. */
export async function lockDirectory(directory: string): Promise<() => Promise<void>> {
  await mkdir(directory, { recursive: true });
  const path = join(directory, 'lock');
  const own: Holder = { pid: process.pid, birth: birthOf(process.pid) };
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    if (await writeExclusively(path, JSON.stringify(own))) {
      held.add(path);
      return async () => {
        held.delete(path);
        await unlink(path);
      };
    }
    const found = await readFile(path, 'utf8').catch(() => undefined);
    if (found === undefined) continue;
    const holder = parseHolder(found);
    if (holder !== undefined && isAlive(holder, path)) {
      throw new InventoryError('BAD_CONFIG', `the directory ${directory} is in use by process ${holder.pid}`);
    }
    await takeAway(path, found);
  }
  throw new InventoryError('BAD_CONFIG', `the directory ${directory} is being taken by another process`);
}

/** Whole or not at all, and only where there is none: a lock that is being written must not look like a broken one. */
async function writeExclusively(path: string, content: string): Promise<boolean> {
  const aside = `${path}.${process.pid}`;
  await writeFile(aside, content);
  try {
    await link(aside, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

/** Removes the lock if it is still the stale one; another process may have been faster and put its own there. */
async function takeAway(path: string, stale: string): Promise<void> {
  const aside = `${path}.stale.${process.pid}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, 'utf8')) !== stale) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, birth } = JSON.parse(text) as Partial<Holder>;
    return typeof pid === 'number' && typeof birth === 'string' ? { pid, birth } : undefined;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, birth }: Holder, path: string): boolean {
  const now = birthOf(pid);
  if (birth !== '' && now !== '') return birth === now;
  if (pid === process.pid) return held.has(path);
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Field 22 of /proc/<pid>/stat is the start time in ticks since boot; the command in field 2 may hold spaces. */
function birthOf(pid: number): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return `${boot}/${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return '';
  }
}
