import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { ShardClient, type ShardClientOptions } from '../../cluster/shard-client.ts';
import type { InventoryKey } from '../../schema/inventory-key.ts';
import { emptyRow } from '../../schema/inventory-row.ts';
import {
  DEADLINE_HEADER,
  decodeReadsRequest,
  encodeAnswers,
  READS_PATH,
  type ReadsRequest,
  type ShardAnswer,
} from '../../schema/shard-api.ts';

const REQUEST: ReadsRequest = {
  incarnation: 'one',
  reads: [
    { kind: 'rows', partition: 3, keys: ['10/CA', '10/CB'] as InventoryKey[] },
    { kind: 'storeTotals', partition: 3, storeId: '10' },
  ],
};
const ANSWERS: readonly ShardAnswer[] = [
  { ok: true, position: { shipments: 4, sales: 5 }, value: [{ ...emptyRow(), received: 2n ** 60n }, null] },
  { ok: false, code: 'NOT_SERVING', message: 'not here' },
];

type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** A node's HTTP server with a handler of the test's own, and a client for it. */
class NodeFixture implements AsyncDisposable {
  readonly client: ShardClient;
  readonly url: string;
  readonly #server: Server;

  private constructor(server: Server, client: ShardClient, url: string) {
    this.#server = server;
    this.client = client;
    this.url = url;
  }

  static async start(handler: Handler, options: Partial<ShardClientOptions> = {}): Promise<NodeFixture> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => handler(request, response, Buffer.concat(chunks).toString()));
    });
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return new NodeFixture(server, new ShardClient({ url, ...options }), url);
  }

  /** Takes the node off its port. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    if (this.#server.listening) await this.stop();
  }
}

const answer: Handler = (_, response, body) => {
  response.end(encodeAnswers(decodeReadsRequest(body).reads, ANSWERS));
};
const neverAnswer: Handler = () => {};

describe('a request', () => {
  test('carries the reads, the token and the time left, and brings back the answers', async () => {
    const seen: unknown[] = [];
    await using node = await NodeFixture.start(
      (request, response, body) => {
        const { method, url, headers } = request;
        seen.push({ method, url, authorization: headers.authorization, deadline: headers[DEADLINE_HEADER] });
        expect(decodeReadsRequest(body)).toEqual(REQUEST);
        answer(request, response, body);
      },
      { clusterToken: 'a-token-of-16-characters' },
    );
    expect(await node.client.read(REQUEST, { deadlineMs: 1_999.2 })).toEqual(ANSWERS);
    const authorization = 'Bearer a-token-of-16-characters';
    expect(seen).toEqual([{ method: 'POST', url: READS_PATH, authorization, deadline: '2000' }]);
  });

  test('without a token has no authorization', async () => {
    let authorization: string | undefined = 'none seen';
    await using node = await NodeFixture.start((request, response, body) => {
      ({ authorization } = request.headers);
      answer(request, response, body);
    });
    await node.client.read(REQUEST, { deadlineMs: 1_000 });
    expect(authorization).toBeUndefined();
  });

  test('goes to the path below the base URL', async () => {
    await using node = await NodeFixture.start((request, response, body) => {
      if (request.url === `/behind/a/proxy${READS_PATH}`) answer(request, response, body);
      else response.writeHead(404).end();
    });
    const client = new ShardClient({ url: `${node.url}/behind/a/proxy` });
    expect(await client.read(REQUEST, { deadlineMs: 1_000 })).toEqual(ANSWERS);
    await client.close();
  });

  test('uses a kept connection again', async () => {
    const ports = new Set<number | undefined>();
    await using node = await NodeFixture.start((request, response, body) => {
      ports.add(request.socket.remotePort);
      answer(request, response, body);
    });
    for (let i = 0; i < 20; i++) await node.client.read(REQUEST, { deadlineMs: 1_000 });
    // The next request may leave before the connection of the last one is free again.
    expect(ports.size).toBeLessThanOrEqual(2);
  });
});

describe('a node that cannot be reached', () => {
  test('is OWNER_UNAVAILABLE when it refuses the connection', async () => {
    await using node = await NodeFixture.start(answer);
    await node.stop();
    await expect(node.client.read(REQUEST, { deadlineMs: 1_000 })).rejects.toMatchObject({
      code: 'OWNER_UNAVAILABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  test.each<[string, Handler]>([
    ['before it answers', (request) => request.socket.destroy()],
    [
      'in the middle of its answer',
      (request, response) => {
        response.writeHead(200, { 'content-length': 1_000 });
        response.write('{"answers":', () => request.socket.destroy());
      },
    ],
  ])('is OWNER_UNAVAILABLE when it breaks off %s', async (_, handler) => {
    await using node = await NodeFixture.start(handler);
    await expect(node.client.read(REQUEST, { deadlineMs: 1_000 })).rejects.toMatchObject({ code: 'OWNER_UNAVAILABLE' });
  });

  test('is OWNER_UNAVAILABLE when the client is closed', async () => {
    await using node = await NodeFixture.start(() => void node.client.close());
    await expect(node.client.read(REQUEST, { deadlineMs: 5_000 })).rejects.toMatchObject({ code: 'OWNER_UNAVAILABLE' });
  });
});

describe('waiting', () => {
  test('ends at the deadline, also half way through an answer', async () => {
    await using silent = await NodeFixture.start(neverAnswer);
    await expect(silent.client.read(REQUEST, { deadlineMs: 10 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
    await using slow = await NodeFixture.start((_, response) => void response.writeHead(200).write('{'));
    await expect(slow.client.read(REQUEST, { deadlineMs: 20 })).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' });
  });

  test('ends when the caller gives up, with its reason', async () => {
    const abort = new AbortController();
    const reason = new Error('no longer needed');
    await using node = await NodeFixture.start(() => abort.abort(reason));
    await expect(node.client.read(REQUEST, { deadlineMs: 5_000, signal: abort.signal })).rejects.toBe(reason);
    await expect(node.client.read(REQUEST, { deadlineMs: 5_000, signal: abort.signal })).rejects.toBe(reason);
  });

  test('requests beyond the cap are OVERLOADED at once, and there is room again later', async () => {
    const waiting: (() => void)[] = [];
    await using node = await NodeFixture.start((...call) => void waiting.push(() => answer(...call)), {
      requestsMax: 2,
    });
    const both = [1, 2].map(() => node.client.read(REQUEST, { deadlineMs: 5_000 }));
    await expect(node.client.read(REQUEST, { deadlineMs: 5_000 })).rejects.toMatchObject({
      code: 'OVERLOADED',
      retryable: true,
    });
    while (waiting.length < 2) await new Promise((resolve) => setImmediate(resolve));
    for (const go of waiting.splice(0)) go();
    expect(await Promise.all(both)).toEqual([ANSWERS, ANSWERS]);
    const third = node.client.read(REQUEST, { deadlineMs: 5_000 });
    while (waiting.length < 1) await new Promise((resolve) => setImmediate(resolve));
    for (const go of waiting.splice(0)) go();
    expect(await third).toEqual(ANSWERS);
  });

  test('an answer beyond the byte limit is cut off', async () => {
    await using node = await NodeFixture.start((_, response) => response.end('x'.repeat(2_000)), {
      responseBytesMax: 1_000,
    });
    await expect(node.client.read(REQUEST, { deadlineMs: 1_000 })).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('1000 bytes'),
    });
  });
});

describe('a refused request', () => {
  const refuse =
    (status: number, body: string): Handler =>
    (_, response) =>
      response.writeHead(status).end(body);

  test.each(['OVERLOADED', 'TOPOLOGY_MISMATCH', 'DEADLINE_EXCEEDED', 'NOT_SERVING', 'RESTORING'])(
    'keeps its code %s',
    async (code) => {
      await using node = await NodeFixture.start(refuse(503, JSON.stringify({ code, message: 'why' })));
      await expect(node.client.read(REQUEST, { deadlineMs: 1_000 })).rejects.toMatchObject({
        code,
        message: `${node.url}: why`,
      });
    },
  );

  test.each([
    [400, '{"code":"BAD_USER_INPUT","message":"no reads request"}', 'no reads request'],
    [401, '{"code":"UNAUTHORIZED","message":"expected CLUSTER_TOKEN"}', 'CLUSTER_TOKEN'],
    [403, '', 'is CLUSTER_TOKEN the same there?'],
    [404, '<html>', 'status 404'],
    [200, '{', 'no answer to the reads'],
    [200, '{"answers":[]}', 'no answer to the reads'],
    [200, '{"answers":[{"at":[1,1],"value":[null,null]},{"at":[1,1],"value":7}]}', 'no answer to the reads'],
  ])('with status %d and body %s is INTERNAL: a bug or a wrong setting, not the user', async (status, body, text) => {
    await using node = await NodeFixture.start(refuse(status, body));
    await expect(node.client.read(REQUEST, { deadlineMs: 1_000 })).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining(text),
    });
  });
});
