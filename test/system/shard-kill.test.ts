// I1, the hard way. A process that applies batches to three shards of one RocksDB store is killed with SIGKILL at random
// instants, over and over, and goes on from what the store says. After each kill everything stored is a fold of the logs
// up to the stored positions, and covers what the process had said was done; at the end rows, totals and indexes are those
// of the whole logs.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openRocksDbStore } from '../../node/rocksdb-store.ts';
import type { TopicRole } from '../../schema/events.ts';
import { covers, type Position } from '../../schema/position.ts';
import { type StartedProcess, startProcess } from '../support/child-process.ts';
import { expectedStored, readStored } from '../support/shard-harness.ts';
import { foldModel, type ModelEvent } from '../support/shard-model.ts';
import { DEDUPE_WINDOW, LOG_LENGTH, placeAt, SHARDS, type WrittenShard } from '../support/shard-writer-log.ts';
import { tempDir } from '../support/temp-dir.ts';

const WRITER = join(import.meta.dirname, '../support/shard-writer.ts');
const KILLS = 50;
/** Most commits, and milliseconds after the last of them, that a life of the process lasts. */
const LIFE_COMMITS_MAX = 20;
const LIFE_MS_MAX = 15;

test(
  `after each of ${KILLS} kills every shard is a fold of its logs up to its stored position`,
  { timeout: 300_000 },
  async () => {
    await using folder = await tempDir('kill');
    const positions = new Set<string>();
    for (let kills = 0; kills < KILLS; kills++) {
      const said = await killWriter(folder.path);
      positions.add(await checkStore(folder.path, said));
    }
    // The kills fell on a store that was being written, not on one and the same.
    expect(positions.size).toBeGreaterThan(KILLS / 2);
    await using writer = startWriter(folder.path);
    await writer.waitForLine(/^done$/, 120_000);
    await writer.exited;
    const end = { shipments: LOG_LENGTH, sales: LOG_LENGTH };
    await checkStore(folder.path, new Map(SHARDS.map((partition) => [partition, end])));
  },
);

/** Runs the writer for a random while, kills it, and answers the last position that it said of each shard. */
async function killWriter(path: string): Promise<Map<number, Position>> {
  await using writer = startWriter(path);
  const commits = Math.floor(Math.random() * LIFE_COMMITS_MAX);
  let seen = -1;
  await writer.waitForLine((line) => /^(opened|\d)/.test(line) && ++seen >= commits);
  // Not a wait for anything: a random instant between two commits, or within one.
  await sleep(Math.random() * LIFE_MS_MAX);
  expect(writer.running, 'killed before it was done').toBe(true);
  writer.kill('SIGKILL');
  expect((await writer.exited).signal).toBe('SIGKILL');
  return saidBy(writer);
}

function startWriter(path: string): StartedProcess {
  return startProcess({ name: 'shard-writer', command: process.execPath, args: ['--import', 'tsx', WRITER, path] });
}

function saidBy(writer: StartedProcess): Map<number, Position> {
  const said = new Map<number, Position>();
  for (const line of writer.output().split('\n')) {
    const [partition, shipments, sales] = /^(\d+) (\d+) (\d+)$/.exec(line)?.slice(1).map(Number) ?? [];
    if (partition !== undefined && shipments !== undefined && sales !== undefined)
      said.set(partition, { shipments, sales });
  }
  return said;
}

/** Compares all that is stored with the model; the positions as text. */
async function checkStore(path: string, said: ReadonlyMap<number, Position>): Promise<string> {
  const store = await openRocksDbStore({ path });
  const positions: Position[] = [];
  for (const partition of SHARDS) {
    const stored = await readStored(store, partition);
    const { position } = stored;
    expect(covers(position, said.get(partition) ?? { shipments: 0, sales: 0 })).toBe(true);
    const log = {
      shipments: eventsBelow(partition, 'shipments', position),
      sales: eventsBelow(partition, 'sales', position),
    };
    expect(stored).toMatchObject(expectedStored(foldModel(log, position, DEDUPE_WINDOW), position));
    const letters = (['shipments', 'sales'] as const).flatMap((role) => badBelow(partition, role, position));
    expect(stored.deadLetters.map(({ topic, offset }) => `${topic}/${offset}`)).toEqual(letters);
    positions.push(position);
  }
  await store.close();
  return JSON.stringify(positions);
}

function eventsBelow(partition: WrittenShard, role: TopicRole, position: Position): ModelEvent[] {
  const events: ModelEvent[] = [];
  for (let offset = 0; offset < position[role]; offset++) {
    const place = placeAt(partition, role, offset);
    if (place.kind === 'event') events.push(place.event);
  }
  return events;
}

function badBelow(partition: WrittenShard, role: TopicRole, position: Position): string[] {
  const offsets = Array.from({ length: position[role] }, (_, offset) => offset);
  return offsets
    .filter((offset) => placeAt(partition, role, offset).kind === 'bad')
    .map((offset) => `${role}/${offset}`);
}
