// Point reads of random keys: GraphQL through a gateway, REST from the node directly. The load comes from wrk, whose cost
// per request is small enough not to be what is measured.

import { fileURLToPath } from 'node:url';
import { runCommand } from '../test/support/run-command.ts';
import { type BenchCluster, type BenchProcess, type BenchSize, ready } from './bench-cluster.ts';
import type { Figure } from './report.ts';

const CONNECTIONS = 32;
const WARM_UP_SECONDS = 3;
const SCRIPT = fileURLToPath(new URL('point-reads.lua', import.meta.url));

/** Requests per second, p50 and p99. Needs a caught-up node named node-1 in the cluster. */
export async function measureReads(cluster: BenchCluster, size: BenchSize): Promise<Figure[]> {
  if (!(await hasWrk())) return [{ what: 'point reads', note: 'skipped: wrk is not installed (Debian package wrk)' }];
  const gateway = await cluster.start('gateway-1', 'gateway/main.ts');
  await ready(gateway);
  const node = await nodeOf(gateway);
  const figures: Figure[] = [];
  for (const [mode, url, processName] of [
    ['graphql', gateway.url, 'one gateway, one node'],
    ['rest', node, 'one node, asked directly'],
  ] as const) {
    await run(mode, url, size, WARM_UP_SECONDS);
    const rounds: Figure[] = [];
    for (let round = 0; round < size.rounds; round++) rounds.push(await run(mode, url, size, size.readSeconds));
    rounds.sort((a, b) => (a.requestsPerSecond ?? 0) - (b.requestsPerSecond ?? 0));
    const median = rounds[Math.floor(rounds.length / 2)];
    if (median !== undefined)
      figures.push({
        ...median,
        note: `${CONNECTIONS} connections, random keys, ${processName}; median of ${size.rounds}`,
      });
  }
  return figures;
}

async function run(mode: 'graphql' | 'rest', url: string, size: BenchSize, seconds: number): Promise<Figure> {
  const { stdout } = await runCommand(
    'wrk',
    [
      '-t1',
      `-c${CONNECTIONS}`,
      `-d${seconds}s`,
      '--latency',
      '-s',
      SCRIPT,
      url,
      '--',
      mode,
      String(size.stores),
      String(size.items),
    ],
    { timeoutMs: (seconds + 10) * 1_000 },
  );
  const line = stdout.split('\n').find((text) => text.startsWith('{'));
  if (line === undefined) throw new Error(`wrk printed no result: ${stdout}`);
  const { requestsPerSecond, p50Ms, p99Ms, wrong } = JSON.parse(line) as Record<string, number>;
  if (wrong !== 0) throw new Error(`${wrong} answers of ${mode} were not what was asked for`);
  return {
    what: mode === 'graphql' ? 'GraphQL point read' : 'REST point read, local',
    ...{ requestsPerSecond, p50Ms, p99Ms },
    note: '',
  } as Figure;
}

/** Base URL of the only node. */
async function nodeOf({ url }: BenchProcess): Promise<string> {
  const body = JSON.stringify({ query: '{ cluster { nodes { url } } }' });
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  const { data } = (await response.json()) as { data: { cluster: { nodes: { url: string }[] } } };
  return data.cluster.nodes[0]?.url ?? '';
}

async function hasWrk(): Promise<boolean> {
  return runCommand('which', ['wrk'], { timeoutMs: 5_000 }).then(
    () => true,
    () => false,
  );
}
