// `npm run bench -- [ingest|reads|all] [--quick]`: starts what it needs, prints one table, writes bench/results/*.json.
//
// Figures are of one machine at one moment; compare within one run. Nothing here asserts: a goal missed is a figure, not a
// failure, and needs a profile that says why (ARCHITECTURE.md).

import { parseArgs } from 'node:util';
import { measureIngest } from './ingest.ts';
import { measureReads } from './reads.ts';
import { printTable, writeResults, type Figure } from './report.ts';
import { startBenchCluster } from './bench-cluster.ts';

const USAGE = `usage: npm run bench -- [ingest|reads|all] [--quick]

  ingest   2,000,000 events of 100,000 keys, already in Kafka: events/s until lag 0, peak memory
  reads    point reads over GraphQL and REST, 32 connections, random keys (needs wrk)
  all      both (default)

  --quick  200,000 events and short runs: to see that it works, not to quote`;

const FULL = { events: 2_000_000, stores: 100, items: 1_000, partitions: 16, readSeconds: 15, rounds: 3 };
const QUICK = { ...FULL, events: 200_000, items: 100, readSeconds: 3, rounds: 1 };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, help: { type: 'boolean', short: 'h', default: false } },
});
const what = positionals[0] ?? 'all';
if (values.help || !['ingest', 'reads', 'all'].includes(what)) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 2);
}

const size = values.quick ? QUICK : FULL;
await using cluster = await startBenchCluster(size);
const figures: Figure[] = [];
// The reads need a node that has caught up, so the ingest is run in any case and shown when asked for.
const ingest = await measureIngest(cluster, size);
if (what !== 'reads') figures.push(...ingest);
if (what !== 'ingest') figures.push(...(await measureReads(cluster, size)));
printTable(figures);
console.log(`written to ${await writeResults(what, { size, quick: values.quick, figures })}`);
