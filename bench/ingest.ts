// Ingest: one node that starts with nothing and folds a log that is already there, until it serves every partition.

import { type BenchCluster, type BenchProcess, type BenchSize, ready } from './bench-cluster.ts';
import type { Figure } from './report.ts';

/** How often the count of applied events is looked at, to see when the first one was. */
const LOOK_MS = 20;

/** Events per second from the first applied event to lag 0 on all partitions, and the node's peak memory. */
export async function measureIngest(cluster: BenchCluster, size: BenchSize): Promise<Figure[]> {
  const startedAt = performance.now();
  const node = await cluster.start('node-1', 'node/main.ts');
  const firstAt = await firstEventAt(node);
  await ready(node);
  const doneAt = performance.now();
  const peakRssBytes = await node.peakRssBytes();
  const applied = await eventsApplied(node);
  if (applied !== size.events) throw new Error(`${applied} events were applied, ${size.events} are in the log`);
  const keys = size.stores * size.items;
  const conditions = `${applied} events, ${keys} keys, ${size.partitions} partitions, one node`;
  return [
    {
      what: 'ingest until lag 0',
      eventsPerSecond: (applied * 1_000) / (doneAt - firstAt),
      peakRssBytes,
      note: conditions,
    },
    {
      what: 'process start until lag 0',
      eventsPerSecond: (applied * 1_000) / (doneAt - startedAt),
      note: `${Math.round(doneAt - startedAt)} ms`,
    },
  ];
}

async function firstEventAt(node: BenchProcess): Promise<number> {
  while ((await eventsApplied(node)) === 0) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  return performance.now();
}

/** 0 while the node does not listen yet. Throws once it has exited. */
async function eventsApplied({ url, process }: BenchProcess): Promise<number> {
  if (!process.running) throw process.failure('exited');
  const response = await fetch(`${url}/metrics`).catch(() => undefined);
  const text = (await response?.text()) ?? '';
  return Number(/^stockroom_events_applied_total (\d+)/m.exec(text)?.[1] ?? 0);
}
