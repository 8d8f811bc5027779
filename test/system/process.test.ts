// The programs themselves, from their arguments to their exit code. None of these tests needs Kafka or Consul: a gateway
// serves without them, and a node waits for them.
import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { type StartedProcess, startProcess } from '../support/child-process.ts';
import { PROJECT_FOLDER } from '../support/compose-file.ts';
import { eventually } from '../support/eventually.ts';
import { freePort, isFreePort } from '../support/free-port.ts';
import { HttpService } from '../support/http-service.ts';
import { type TempDir, tempDir } from '../support/temp-dir.ts';

type Program = 'node' | 'gateway';
const PROGRAMS: readonly Program[] = ['node', 'gateway'];
const CLEAN_EXIT = { code: 0, signal: null };
const REFUSED = { code: 1, signal: null };
const START_TIMEOUT_MS = 30_000;

function run(program: Program, env: Readonly<Record<string, string>>, args: readonly string[] = []): StartedProcess {
  const all = ['--import', 'tsx', `${program}/main.ts`, ...args];
  return startProcess({ name: program, command: process.execPath, args: all, cwd: PROJECT_FOLDER, env });
}

/** A process that listens although neither Kafka nor Consul is there. */
async function serving(program: Program, folder: TempDir): Promise<{ started: StartedProcess; http: HttpService }> {
  const [port, closed] = [await freePort(), await freePort()];
  const started = run(program, {
    HTTP_PORT: String(port),
    KAFKA_BROKERS: `127.0.0.1:${closed}`,
    CONSUL_HTTP_ADDR: `127.0.0.1:${closed}`,
    NODE_ID: 'node-1',
    DATA_DIR: folder.path,
  });
  const http = new HttpService(port);
  await eventually(`the ${program} listens`, async () => (await http.get('/healthz')).status === 200, {
    timeoutMs: START_TIMEOUT_MS,
  }).catch(async (error: unknown) => {
    await started[Symbol.asyncDispose]();
    throw started.failure(String(error));
  });
  return { started, http };
}

/** A request that has begun and whose body does not end until `finish`. */
function beginRequest(http: HttpService, path: string): { finish(): Promise<{ status: number; body: string }> } {
  const body = JSON.stringify({ query: '{ __typename }' });
  const request = httpRequest(`${http.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-length': body.length },
  });
  const answer = new Promise<{ status: number; body: string }>((resolve, reject) => {
    request.once('error', reject);
    request.once('response', (response) => {
      text(response).then((received) => resolve({ status: response.statusCode ?? 0, body: received }), reject);
    });
  });
  // A process that is gone before the end is a test's own doing.
  answer.catch(() => undefined);
  request.write(body.slice(0, 5));
  return {
    finish: () => {
      request.end(body.slice(5));
      return answer;
    },
  };
}

/** Waits until the process has begun to drain: it takes no connection any more. */
async function draining(started: StartedProcess, http: HttpService): Promise<void> {
  await started.waitForLine(/draining after SIG/);
  await eventually('the port is closed', async () => isFreePort(http.port));
}

describe.each(PROGRAMS)('the %s program', (program) => {
  it('lists every fault of its environment in one message and exits 1', async () => {
    await using refused = run(program, {
      HTTP_PORT: '70000',
      LOG_LEVEL: 'loud',
      APPLICATION_ID: 'no/slash',
      CONSUL_HTTP_ADDR: 'ftp://nowhere',
      SALES_TOPIC: 'same',
      SHIPMENTS_TOPIC: 'same',
      DRAIN_TIMEOUT_MS: '0',
      KAFKA_SASL_USERNAME: 'somebody',
      KAFKA_SASL_MECHANISM: 'md5',
      CLUSTER_TOKEN: 'short',
    });
    expect(await refused.exited).toEqual(REFUSED);
    const [heading, ...faults] = refused.output().split('\n');
    const names = faults.map((line) => /^ {2}(\w+): expected .+, got /.exec(line)?.[1]);
    expect(heading).toBe(`bad configuration, ${faults.length} faults:`);
    expect(new Set(names)).toEqual(
      new Set([
        'KAFKA_BROKERS',
        'KAFKA_SASL_MECHANISM',
        'KAFKA_SASL_PASSWORD',
        'CONSUL_HTTP_ADDR',
        'APPLICATION_ID',
        'SALES_TOPIC',
        'CLUSTER_TOKEN',
        'LOG_LEVEL',
        'DRAIN_TIMEOUT_MS',
        'HTTP_PORT',
      ]),
    );
    expect(refused.output()).not.toContain('short');
  });

  it('needs CLUSTER_TOKEN as soon as an address is not loopback', async () => {
    const env = { KAFKA_BROKERS: 'kafka.example:9092', DATA_DIR: '/nowhere/that/can/be/made' };
    await using refused = run(program, env);
    expect(await refused.exited).toEqual(REFUSED);
    expect(refused.output()).toMatch(
      /^bad configuration:\n {2}CLUSTER_TOKEN: expected .*KAFKA_BROKERS is not loopback/,
    );
  });

  it('explains itself with --help, and takes no other argument', async () => {
    await using help = run(program, {}, ['--help']);
    expect(await help.exited).toEqual(CLEAN_EXIT);
    for (const word of [
      `npm run ${program}`,
      'KAFKA_BROKERS (required)',
      'CLUSTER_TOKEN',
      'HTTP_PORT',
      'Exit codes:',
    ]) {
      expect(help.output()).toContain(word);
    }
    await using refused = run(program, { KAFKA_BROKERS: '127.0.0.1:9' }, ['--port=1']);
    expect(await refused.exited).toEqual(REFUSED);
    expect(refused.output()).toContain('--port: no such option, see --help');
  });

  it('says HTTP_PORT where its port is taken', async () => {
    await using folder = await tempDir('process');
    const { started, http } = await serving(program, folder);
    await using _ = started;
    const env = { HTTP_PORT: String(http.port), KAFKA_BROKERS: '127.0.0.1:9', DATA_DIR: `${folder.path}/other` };
    await using second = run(program, env);
    expect(await second.exited).toEqual(REFUSED);
    expect(second.output()).toBe(
      `bad configuration:\n  HTTP_PORT: expected a free port of 127.0.0.1, got ${http.port}, which is taken`,
    );
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('exits 0 after %s, also before it is ready', async (signal) => {
    await using folder = await tempDir('process');
    const { started, http } = await serving(program, folder);
    await using _ = started;
    expect(await http.get('/readyz')).toMatchObject({ status: 503, body: { ready: false } });
    started.kill(signal);
    expect(await started.exited).toEqual(CLEAN_EXIT);
    expect(started.output()).toContain(`draining after ${signal}`);
  });

  // The request holds the drain up: it would end by DRAIN_TIMEOUT_MS only.
  it('exits at once on a second signal, with the signal’s code', async () => {
    await using folder = await tempDir('process');
    const { started, http } = await serving(program, folder);
    await using _ = started;
    beginRequest(http, program === 'gateway' ? '/graphql' : '/internal/reads');
    await eventually('the request is under way', async () => (await http.get('/healthz')).status === 200);
    started.kill('SIGTERM');
    await draining(started, http);
    expect(started.running).toBe(true);
    started.kill('SIGTERM');
    expect(await started.exited).toEqual({ code: 128 + 15, signal: null });
  });
});

describe('the gateway program', () => {
  it('finishes a request under way when it drains', async () => {
    await using folder = await tempDir('process');
    const { started, http } = await serving('gateway', folder);
    await using _ = started;
    const underWay = beginRequest(http, '/graphql');
    await eventually('the request is under way', async () => {
      return /^stockroom_requests_under_way 2$/m.test((await http.get('/metrics')).body as string);
    });
    started.kill('SIGTERM');
    await draining(started, http);
    const { status, body } = await underWay.finish();
    expect([status, JSON.parse(body)]).toMatchObject([200, { data: { __typename: 'Query' } }]);
    expect(await started.exited).toEqual(CLEAN_EXIT);
  });
});
