// Prints figures as a table and writes them with the machine, the versions and the conditions they hold for.

import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import { VERSION } from '../cluster/version.ts';

/** One measurement; the fields that do not apply are absent. */
export interface Figure {
  readonly what: string;
  readonly eventsPerSecond?: number;
  readonly requestsPerSecond?: number;
  readonly p50Ms?: number;
  readonly p99Ms?: number;
  readonly peakRssBytes?: number;
  /** Said in words: what was measured, what was skipped and why. */
  readonly note: string;
}

const RESULTS_FOLDER = new URL('results/', import.meta.url);

/** One line per figure on standard output. */
export function printTable(figures: readonly Figure[]): void {
  const rows = figures.map((figure) => [
    figure.what,
    rate(figure.eventsPerSecond, 'events/s') || rate(figure.requestsPerSecond, 'req/s'),
    figure.p50Ms === undefined ? '' : `${figure.p50Ms} / ${figure.p99Ms} ms`,
    figure.peakRssBytes === undefined ? '' : `${Math.round(figure.peakRssBytes / 2 ** 20)} MiB`,
    figure.note,
  ]);
  const table = [['what', 'rate', 'p50 / p99', 'peak memory', 'conditions'], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.length ?? 0)));
  for (const row of table) console.log(row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '));
}

/** Writes `bench/results/<date>-<name>.json` and answers its path below the project. */
export async function writeResults(name: string, results: object): Promise<string> {
  const file = `${new Date().toISOString().slice(0, 10)}-${name}.json`;
  const machine = { cpus: cpus().length, cpu: cpus()[0]?.model, memoryBytes: totalmem(), kernel: release() };
  const versions = { stockroom: VERSION, node: process.version };
  await mkdir(RESULTS_FOLDER, { recursive: true });
  await writeFile(new URL(file, RESULTS_FOLDER), `${JSON.stringify({ machine, versions, ...results }, null, 2)}\n`);
  return `bench/results/${file}`;
}

function rate(perSecond: number | undefined, unit: string): string {
  return perSecond === undefined ? '' : `${Math.round(perSecond).toLocaleString('en')} ${unit}`;
}
