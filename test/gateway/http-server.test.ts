import { connect } from 'node:net';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { BODY_BYTES_MAX } from '../../gateway/request-body.ts';
import { eventually } from '../support/eventually.ts';
import { GatewayFixture } from '../support/gateway-fixture.ts';

const POINT_READ = '{ inventory(storeId: 10, itemId: "CA") { onHand } }';

function post(gateway: GatewayFixture, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return gateway.get('/graphql', {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  });
}

describe('the REST read', () => {
  test('answers the count of the golden case, who served it, and that it was forwarded', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 200, sold: 120 });
    const response = await gateway.get('/inventory/stores/10/items/CA/count');
    expect(response.status).toBe(200);
    expect(await response.text()).toBe('{"storeId":"10","itemId":"CA","count":80}');
    const owner = gateway.cluster.ownerOf(gateway.cluster.partitionOf('10', 'CA'));
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'cache-control': 'no-store',
      'stockroom-served-by': owner.nodeId,
      'stockroom-forwarded': '1',
    });
  });

  test('tells an unknown item from one that cannot be read', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 1, nodes: 1 });
    const unknown = await gateway.get('/inventory/stores/10/items/CA/count');
    expect(unknown.status).toBe(404);
    expect(await unknown.json()).toMatchObject({ code: 'NOT_FOUND', retryable: false });
    gateway.cluster.node('n0').mode = 'down';
    const unavailable = await gateway.get('/inventory/stores/10/items/CA/count');
    expect(unavailable.status).toBe(503);
    expect(unavailable.headers.get('retry-after')).toBe('1');
    expect(await unavailable.json()).toMatchObject({ code: 'OWNER_UNAVAILABLE', retryable: true });
  });

  test.each([
    ['/inventory/stores/10/items/C%41/count', 404, 'NOT_FOUND', 'item CA in store 10'],
    ['/inventory/stores/10/items/CA/count?x=1', 404, 'NOT_FOUND', 'item CA in store 10'],
    ['/inventory/stores/1%2F0/items/CA/count', 400, 'BAD_USER_INPUT', 'storeId'],
    ['/inventory/stores/10/items/..%2F/count', 400, 'BAD_USER_INPUT', 'itemId'],
    ['/inventory/stores/10/items//count', 400, 'BAD_USER_INPUT', 'itemId'],
    ['/inventory/stores/10/items/%ZZ/count', 400, 'BAD_USER_INPUT', 'percent-encoding'],
    ['/inventory/stores/10/items/%C3%A4/count', 400, 'BAD_USER_INPUT', 'itemId'],
    ['/inventory/stores/10/items/CA', 404, 'NOT_FOUND', 'nothing is served'],
    ['/inventory/stores/10/items/CA/count/', 404, 'NOT_FOUND', 'nothing is served'],
    ['/', 404, 'NOT_FOUND', 'nothing is served'],
  ])('answers %s with %d', async (path, status, code, text) => {
    await using gateway = await GatewayFixture.start();
    const response = await gateway.get(path);
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(await response.json()).toEqual({ code, message: expect.stringContaining(text), retryable: false });
  });

  test('of a count past 2^53 is COUNT_OUT_OF_RANGE', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 2n ** 53n });
    const response = await gateway.get('/inventory/stores/10/items/CA/count');
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ code: 'COUNT_OUT_OF_RANGE', retryable: false });
  });

  test('takes GET and HEAD only', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 1 });
    const path = '/inventory/stores/10/items/CA/count';
    const refused = await gateway.get(path, { method: 'DELETE' });
    expect(refused.status).toBe(405);
    expect(refused.headers.get('allow')).toBe('GET, HEAD');
    expect(await refused.json()).toMatchObject({ code: 'METHOD_NOT_ALLOWED' });
    const head = await gateway.get(path, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
  });
});

describe('GraphQL over HTTP', () => {
  test('answers a query by GET, with a header that no plain link can send', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 80 });
    const path = `/graphql?query=${encodeURIComponent(POINT_READ)}`;
    const answered = await gateway.get(path, { headers: { 'apollo-require-preflight': '1' } });
    expect(answered.status).toBe(200);
    expect(await answered.json()).toEqual({ data: { inventory: { onHand: 80 } } });
    const forged = await gateway.get(path);
    expect(forged.status).toBe(400);
    expect(await forged.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_REQUEST' } }] });
  });

  test.each([
    ['text/plain', `{"query":"{__typename}"}`, 415],
    ['application/x-www-form-urlencoded', 'query={__typename}', 415],
    ['application/json', '{', 400],
    ['application/json', '[]', 400],
    ['application/json', 'null', 400],
    ['application/json', '{}', 400],
    ['application/json', '{"query":1}', 400],
    ['application/json', '{"query":"{__typename}","variables":"{}"}', 400],
    ['application/json', '[{"query":"{__typename}"}]', 400],
  ])('refuses a body of %s: %s', async (type, body, status) => {
    await using gateway = await GatewayFixture.start();
    const response = await post(gateway, body, { 'content-type': type });
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({
      errors: [{ extensions: { code: 'BAD_REQUEST', retryable: false } }],
    });
  });

  test('takes a content type with a charset', async () => {
    await using gateway = await GatewayFixture.start();
    const response = await post(gateway, '{"query":"{__typename}"}', {
      'content-type': 'Application/JSON; charset=utf-8',
    });
    expect(await response.json()).toEqual({ data: { __typename: 'Query' } });
  });

  test('answers as graphql-response+json where that is asked for', async () => {
    await using gateway = await GatewayFixture.start();
    const response = await post(gateway, '{"query":"{__typename}"}', { accept: 'application/graphql-response+json' });
    expect(response.headers.get('content-type')).toContain('application/graphql-response+json');
  });

  test.each(['PUT', 'DELETE', 'PATCH', 'OPTIONS'])('refuses %s', async (method) => {
    await using gateway = await GatewayFixture.start();
    const response = await gateway.get('/graphql', { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, POST');
  });

  test('refuses a body over 2 MB with 413, and takes one just below', async () => {
    await using gateway = await GatewayFixture.start();
    const bodyOf = (bytes: number): string => {
      const frame = '{"query":"{__typename}","ignored":""}';
      return frame.replace('""}', `"${'x'.repeat(bytes - frame.length)}"}`);
    };
    expect((await post(gateway, bodyOf(BODY_BYTES_MAX))).status).toBe(200);
    for (const bytes of [BODY_BYTES_MAX + 1, 5 * BODY_BYTES_MAX]) {
      const refused = await post(gateway, bodyOf(bytes)).catch((error: unknown) => error);
      // A client that is still sending when we answer may see the closed connection first.
      if (bytes > BODY_BYTES_MAX + 1 && refused instanceof Error) continue;
      expect((refused as Response).status).toBe(413);
      expect(await (refused as Response).json()).toMatchObject({
        errors: [{ extensions: { code: 'BODY_TOO_LARGE' } }],
      });
    }
    expect((await post(gateway, bodyOf(100))).status).toBe(200);
  });

  test('says of a null variable that its argument must not be null', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.put('10', 'CA', { received: 1 });
    const { errors } = await gateway.query(
      `query ($first: Int = 5) { store(id: 10) { items(first: $first) { nodes { id } } } }`,
      { first: null },
    );
    expect(errors).toMatchObject([{ path: ['store', 'items'], extensions: { code: 'BAD_USER_INPUT' } }]);
  });

  test('masks what nobody foresaw, and logs it with the request', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 1, nodes: 1 });
    gateway.cluster.node('n0').onRequest = () => {
      throw new RangeError('a secret of the implementation');
    };
    const response = await post(gateway, JSON.stringify({ query: POINT_READ }), { 'x-request-id': 'call-7' });
    const text = await response.text();
    expect(text).not.toContain('secret');
    expect(JSON.parse(text)).toMatchObject({
      data: { inventory: null },
      errors: [{ path: ['inventory'], extensions: { code: 'INTERNAL', retryable: false } }],
    });
    expect(JSON.stringify(gateway.logLines)).toContain('a secret of the implementation');
    expect(gateway.logLines).toMatchObject([{ code: 'INTERNAL', requestId: 'call-7' }]);
  });
});

describe('request ids', () => {
  test('are taken from the client if well formed, and made otherwise', async () => {
    await using gateway = await GatewayFixture.start();
    const idFor = async (id?: string): Promise<string | null> => {
      const headers = id === undefined ? {} : { 'x-request-id': id };
      return (await gateway.get('/healthz', { headers })).headers.get('x-request-id');
    };
    expect(await idFor('till-7.42')).toBe('till-7.42');
    const made = await Promise.all([idFor(), idFor('a b'), idFor('x'.repeat(65))]);
    expect(new Set(made).size).toBe(3);
    for (const id of made) expect(id).toMatch(/^[A-Za-z0-9_-]{8}-[0-9a-z]+$/);
  });
});

describe('CORS', () => {
  const origin = 'https://shop.example';

  test('answers listed origins, and their preflights', async () => {
    await using gateway = await GatewayFixture.start({ corsOrigins: [origin] });
    const preflight = await gateway.get('/graphql', {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' },
    });
    expect(preflight.status).toBe(204);
    expect(Object.fromEntries(preflight.headers)).toMatchObject({
      'access-control-allow-origin': origin,
      'access-control-allow-methods': expect.stringContaining('POST'),
      'access-control-allow-headers': expect.stringContaining('content-type'),
      vary: 'origin',
    });
    for (const path of ['/graphql', '/inventory/stores/10/items/CA/count', '/nothing']) {
      const answer = await gateway.get(path, { headers: { origin } });
      expect(answer.headers.get('access-control-allow-origin')).toBe(origin);
      expect(answer.headers.get('access-control-expose-headers')).toContain('stockroom-served-by');
    }
  });

  test.each([
    [[origin], 'https://evil.example'],
    [[origin], `${origin}.evil.example`],
    [[origin], 'null'],
    [[], origin],
  ])('with the list %j tells %s nothing', async (corsOrigins, stranger) => {
    await using gateway = await GatewayFixture.start({ corsOrigins });
    const preflight = await gateway.get('/graphql', {
      method: 'OPTIONS',
      headers: { origin: stranger, 'access-control-request-method': 'POST' },
    });
    const answer = await gateway.get('/inventory/stores/10/items/CA/count', { headers: { origin: stranger } });
    for (const { headers } of [preflight, answer]) expect(headers.has('access-control-allow-origin')).toBe(false);
  });
});

describe('health', () => {
  test('asks nobody, readiness waits for the first routing table', async () => {
    await using gateway = await GatewayFixture.start({ ready: false });
    expect((await gateway.get('/healthz')).status).toBe(200);
    const before = await gateway.get('/readyz');
    expect(before.status).toBe(503);
    expect(await before.json()).toEqual({
      ready: false,
      reason: 'no routing table yet',
      directory: { connected: true },
      routingTable: null,
    });
    const read = await gateway.get('/inventory/stores/10/items/CA/count');
    expect(read.status).toBe(503);
    expect(read.headers.get('retry-after')).toBe('1');
    expect(await read.json()).toMatchObject({ code: 'NOT_READY', retryable: true });

    gateway.cluster.publish();
    const after = await gateway.get('/readyz');
    expect(after.status).toBe(200);
    expect(await after.json()).toEqual({
      ready: true,
      directory: { connected: true },
      routingTable: { ageMs: expect.any(Number), incarnation: 'incarnation-1', partitions: 12, owned: 12 },
    });
  });

  test('stays ready when the directory is lost later, and says so', async () => {
    await using gateway = await GatewayFixture.start();
    gateway.cluster.directory.connected = false;
    const response = await gateway.get('/readyz');
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ directory: { connected: false } });
    expect(await (await gateway.get('/metrics')).text()).toContain('stockroom_directory_connected 0');
  });
});

describe('metrics', () => {
  test('count requests by surface, type and code, and requests to nodes by outcome', async () => {
    await using gateway = await GatewayFixture.start({ partitions: 1, nodes: 1 });
    gateway.cluster.put('10', 'CA', { received: 1 });
    await gateway.query(POINT_READ);
    await gateway.get('/inventory/stores/10/items/CA/count');
    await gateway.get('/inventory/stores/10/items/CB/count');
    await gateway.query('{ nothing }');
    gateway.cluster.node('n0').refusals.set(0, 'NOT_SERVING');
    await gateway.query(POINT_READ);
    await gateway.get('/healthz');
    const text = await (await gateway.get('/metrics')).text();
    const counts = text.split('\n').filter((line) => /_count\{|_total\{/.test(line));
    expect(counts.sort()).toEqual(
      [
        'stockroom_node_requests_total{outcome="OK"} 5',
        'stockroom_request_duration_seconds_count{surface="graphql",operation_type="query",code="OK"} 1',
        'stockroom_request_duration_seconds_count{surface="graphql",operation_type="query",code="OWNER_UNAVAILABLE"} 1',
        'stockroom_request_duration_seconds_count{surface="graphql",operation_type="unknown",code="GRAPHQL_VALIDATION_FAILED"} 1',
        'stockroom_request_duration_seconds_count{surface="rest",operation_type="query",code="NOT_FOUND"} 1',
        'stockroom_request_duration_seconds_count{surface="rest",operation_type="query",code="OK"} 1',
        'stockroom_reroutes_total{reason="NOT_SERVING"} 1',
      ].sort(),
    );
  });
});

describe('clients that misbehave', () => {
  test('one that goes away in the middle of its body leaves nothing behind', async () => {
    await using gateway = await GatewayFixture.start();
    const { port } = new URL(gateway.url);
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      'POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"que',
    );
    const underWay = async (): Promise<string | undefined> =>
      /^stockroom_requests_under_way .*$/m.exec(await (await gateway.get('/metrics')).text())?.[0];
    await eventually('the request is under way', async () => (await underWay())?.endsWith(' 2'));
    socket.destroy();
    await eventually('the request is given up', async () => (await underWay())?.endsWith(' 1'));
    expect(gateway.logLines).toEqual([]);
  });

  test('one with oversized headers is refused', async () => {
    await using gateway = await GatewayFixture.start();
    const response = await gateway.get('/healthz', { headers: { 'x-large': 'x'.repeat(20_000) } });
    expect(response.status).toBe(431);
  });
});

describe('drain', () => {
  test('answers what is under way, then takes no more', async () => {
    const gateway = await GatewayFixture.start({ partitions: 1, nodes: 1 });
    gateway.cluster.put('10', 'CA', { received: 80 });
    let closing: Promise<void> | undefined;
    gateway.cluster.node('n0').onRequest = () => {
      closing = gateway.gateway.close();
    };
    const answer = await gateway.query(POINT_READ);
    expect(answer.data).toEqual({ inventory: { onHand: 80 } });
    await closing;
    await expect(gateway.get('/healthz')).rejects.toThrow('fetch failed');
  });

  test('shows on /readyz of a connection that is still open', async () => {
    const gateway = await GatewayFixture.start();
    const { port } = new URL(gateway.url);
    const socket = connect(Number(port), '127.0.0.1');
    await once(socket, 'connect');
    // Half a request keeps the connection from being idle while the drain begins.
    socket.write('GET /readyz HTTP/1.1\r\nhost: x\r\n');
    await gateway.get('/healthz');
    const closing = gateway.gateway.close();
    socket.write('\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toContain('HTTP/1.1 503');
    expect(answer.toString()).toContain('"reason":"draining"');
    expect(answer.toString().toLowerCase()).toContain('connection: close');
    await closing;
  });
});
