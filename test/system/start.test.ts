// `npm start` as a newcomer runs it: the command of package.json, nothing but Node, a folder that does not exist yet.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePortRun, launchAllInOne, startAllInOne } from '../support/all-in-one.ts';
import { eventually } from '../support/eventually.ts';
import { isFreePort } from '../support/free-port.ts';
import type { HttpService } from '../support/http-service.ts';
import { tempDir } from '../support/temp-dir.ts';

const CLEAN_EXIT = { code: 0, signal: null };

/** The lines of the banner that are queries. */
function queriesOf(output: string): string[] {
  return output.split('\n').flatMap((line) => /^ {2}(\{ .* \})$/.exec(line)?.slice(1) ?? []);
}

interface Row {
  readonly id: string;
  readonly received: number;
  readonly sold: number;
}

/** Every item of every store of the demo. */
async function allRows(gateway: HttpService): Promise<Row[]> {
  const stores = ['10', '11', '12', '20', '21'];
  const fields = stores.map((id) => `s${id}: store(id: "${id}") { items(first: 100) { nodes { id received sold } } }`);
  const { data, errors } = await gateway.query<Record<string, { items: { nodes: Row[] } }>>(`{ ${fields.join(' ')} }`);
  expect(errors).toBeUndefined();
  return Object.values(data ?? {}).flatMap(({ items }) => items.nodes);
}

describe('npm start', () => {
  it('shows a banner whose address and three queries work when pasted', async () => {
    await using folder = await tempDir('start');
    await using running = await startAllInOne({ dataDir: join(folder.path, 'not', 'there', 'yet') });
    const banner = running.process.output();
    expect(banner).toContain(`${running.gateway.url}/graphql`);
    const queries = queriesOf(banner);
    expect(queries).toHaveLength(3);
    for (const query of queries) {
      const { errors, data } = await running.gateway.query(query);
      expect(errors).toBeUndefined();
      expect(Object.values(data ?? {})).toEqual([expect.any(Object)]);
    }
    const [address = ''] = /http:\S+\/count/.exec(banner) ?? [];
    const { status, body } = await running.gateway.get(new URL(address).pathname);
    expect([status, body]).toEqual([200, { storeId: '10', itemId: 'CA', count: expect.any(Number) as number }]);
    expect(await running.gateway.get('/readyz')).toMatchObject({ status: 200 });
  });

  // The demo fills the log; after Ctrl-C and a restart without it, every row is at least what it was, and a second
  // restart answers exactly the same.
  it('has its state back after Ctrl-C and a restart', async () => {
    await using folder = await tempDir('start');
    const before = await (async () => {
      await using demo = await startAllInOne({ dataDir: folder.path });
      await eventually('the demo sells', async () => (await allRows(demo.gateway)).some(({ sold }) => sold > 0), {
        timeoutMs: 30_000,
      });
      const rows = await allRows(demo.gateway);
      demo.process.kill('SIGINT');
      expect(await demo.process.exited).toEqual(CLEAN_EXIT);
      return rows;
    })();
    expect(before).toHaveLength(50);

    const after = await (async () => {
      await using quiet = await startAllInOne({ dataDir: folder.path, args: ['--no-demo'] });
      const rows = await allRows(quiet.gateway);
      expect(quiet.process.output()).not.toContain('demo');
      expect(await quiet.process.stop()).toEqual(CLEAN_EXIT);
      return rows;
    })();
    const rowsAfter = new Map(after.map((row) => [row.id, row]));
    for (const { id, received, sold } of before) {
      expect(rowsAfter.get(id)?.received).toBeGreaterThanOrEqual(received);
      expect(rowsAfter.get(id)?.sold).toBeGreaterThanOrEqual(sold);
    }

    await using again = await startAllInOne({ dataDir: folder.path, args: ['--no-demo'] });
    expect(await allRows(again.gateway)).toEqual(after);
  });

  it('ends with one message that names HTTP_PORT where its port, or a node’s, is taken', async () => {
    await using folder = await tempDir('start');
    const port = await freePortRun();
    for (const taken of [port, port + 2]) {
      await using _ = await occupy(taken);
      await using refused = launchAllInOne({ dataDir: folder.path, env: { HTTP_PORT: String(port) } });
      expect(await refused.exited).toEqual({ code: 1, signal: null });
      expect(refused.output()).toBe(
        `bad configuration:\n  HTTP_PORT: expected a free port of 127.0.0.1, got ${taken}, which is taken`,
      );
    }
    expect(await isFreePort(port)).toBe(true);
  });

  it('ends with one message that names the folder where another process uses it', async () => {
    await using folder = await tempDir('start');
    await using first = await startAllInOne({ dataDir: folder.path });
    const env = { HTTP_PORT: String(await freePortRun()) };
    await using second = launchAllInOne({ dataDir: folder.path, env });
    expect(await second.exited).toEqual({ code: 1, signal: null });
    expect(second.output()).toBe(`the directory ${folder.path}/log is in use by process ${first.process.pid}`);
  });

  it('lists every bad value at once', async () => {
    await using folder = await tempDir('start');
    const env = { HTTP_PORT: 'abc', ROW_CACHE_BYTES: '1', LOG_LEVEL: 'loud', CORS_ORIGINS: 'nowhere' };
    await using refused = launchAllInOne({ dataDir: folder.path, env });
    expect(await refused.exited).toEqual({ code: 1, signal: null });
    const [heading, ...faults] = refused.output().split('\n');
    expect(heading).toBe('bad configuration, 4 faults:');
    expect(new Set(faults.map((line) => line.trim().split(':')[0]))).toEqual(new Set(Object.keys(env)));
  });

  it('refuses options that it does not know, and explains itself', async () => {
    await using refused = launchAllInOne({ dataDir: 'data', args: ['--demo'] });
    expect(await refused.exited).toEqual({ code: 1, signal: null });
    expect(refused.output()).toContain('--demo: no such option, see --help');
    await using help = launchAllInOne({ dataDir: 'data', args: ['--help'] });
    expect(await help.exited).toEqual(CLEAN_EXIT);
    for (const word of ['--no-demo', 'HTTP_PORT', 'DATA_DIR', '4000', 'Exit codes:']) {
      expect(help.output()).toContain(word);
    }
  });
});

/** Listens on the port until disposed of. */
async function occupy(port: number): Promise<AsyncDisposable> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  expect((server.address() as AddressInfo).port).toBe(port);
  return {
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
      }),
  };
}
