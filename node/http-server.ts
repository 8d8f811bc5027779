// What a node serves over HTTP:
//
//   POST /internal/reads        the shard-api, guarded by CLUSTER_TOKEN
//   GET  /inventory/stores/{storeId}/items/{itemId}/count
//   GET  /healthz               the event loop turns; asks nobody
//   GET  /readyz                503 until the first placed shards serve and from SIGTERM on
//   GET  /metrics               Prometheus text
//
// I9: bodies, requests in flight and the time a slow client may take are bounded.

import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Registry } from 'prom-client';
import {
  countAnswer,
  errorAnswer,
  httpErrorAnswer,
  parseCountPath,
  type RestAnswer,
  type Served,
} from '../cluster/rest-count.ts';
import { InventoryError } from '../schema/errors.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import type { InventoryRow } from '../schema/inventory-row.ts';
import {
  decodeReadsRequest,
  encodeAnswers,
  READS_PATH,
  type ReadsRequest,
  type ShardApi,
} from '../schema/shard-api.ts';
import type { NodeMetrics } from './metrics.ts';

/** Most bytes of a request's body. */
const BODY_BYTES_MAX = 4 * 1024 * 1024;
/** Most requests under way; the next one is OVERLOADED. */
const REQUESTS_MAX = 2_000;
/** Time for the whole of a request to arrive. */
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
/** Above the time for which our clients keep an idle connection, so that they close it first. */
const KEEP_ALIVE_TIMEOUT_MS = 10_000;
const HEADER_BYTES_MAX = 16 * 1024;

export interface NodeHttpOptions {
  readonly reads: ShardApi;
  /** Answers the REST read from here or from the owner. */
  readCount(key: InventoryKey): Promise<{ readonly row: InventoryRow | null; readonly served: Served }>;
  /** Details for the body of /readyz. */
  readiness(): { readonly ready: boolean; readonly details: Readonly<Record<string, unknown>> };
  readonly clusterToken: string | undefined;
  /** Names this process; see `answerHealth`. */
  readonly processId: string;
  readonly registry: Registry;
  readonly metrics: Pick<NodeMetrics, 'requestSeconds'>;
  /** What nobody foresaw; the client is told INTERNAL. */
  onInternalError(error: unknown): void;
}

/** The node's HTTP server, not listening yet. */
export function createNodeHttpServer(options: NodeHttpOptions): Server {
  const limits = {
    maxHeaderSize: HEADER_BYTES_MAX,
    requestTimeout: REQUEST_TIMEOUT_MS,
    headersTimeout: HEADERS_TIMEOUT_MS,
  };
  const isAuthorised = authorisation(options.clusterToken);
  let underWay = 0;
  return createServer({ ...limits, keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS }, (request, response) => {
    const startedAt = performance.now();
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    const surface = surfaceOf(path);
    underWay++;
    // `finally` cannot reject: `answer` turns every failure into an answer.
    void answer(options, { request, path, isAuthorised, isFull: underWay > REQUESTS_MAX })
      .then((reply) => {
        send(response, reply);
        const labels = { surface, operation_type: 'query', code: codeOf(reply) };
        if (surface !== 'probe')
          options.metrics.requestSeconds.observe(labels, (performance.now() - startedAt) / 1_000);
      })
      .finally(() => underWay--);
  });
}

interface Call {
  readonly request: IncomingMessage;
  readonly path: string;
  readonly isFull: boolean;
  isAuthorised(request: IncomingMessage): boolean;
}

async function answer(options: NodeHttpOptions, call: Call): Promise<RestAnswer> {
  try {
    return await route(options, call);
  } catch (error) {
    const reply = errorAnswer(error);
    if (reply.status === 500) options.onInternalError(error);
    return reply;
  }
}

async function route(options: NodeHttpOptions, call: Call): Promise<RestAnswer> {
  const { request, path } = call;
  if (path === READS_PATH) return answerReads(options, call);
  if (request.method !== 'GET' && request.method !== 'HEAD') return methodNotAllowed('GET');
  switch (path) {
    case '/healthz':
      return answerHealth(options, call);
    case '/readyz': {
      const { ready, details } = options.readiness();
      return json(ready ? 200 : 503, { ready, ...details });
    }
    case '/metrics':
      return {
        status: 200,
        headers: { 'content-type': options.registry.contentType },
        body: await options.registry.metrics(),
      };
    default:
      return answerCount(options, call);
  }
}

/**
 * That the event loop turns. The directory asks for the process it means (`?process=`): one that has taken over the
 * address of a dead one must not keep that one's session alive by answering for it.
 */
function answerHealth({ processId }: NodeHttpOptions, { request }: Call): RestAnswer {
  const meant = new URLSearchParams(request.url?.split('?', 2)[1]).get('process');
  if (meant === null || meant === processId) return json(200, { status: 'ok' });
  return json(409, { status: 'another process', process: processId });
}

async function answerCount(options: NodeHttpOptions, call: Call): Promise<RestAnswer> {
  const key = parseCountPath(call.path);
  if (key === undefined) return httpErrorAnswer(404, 'NOT_FOUND', `nothing is served at ${call.path}`);
  refuseWhenFull(call);
  const { row, served } = await options.readCount(key);
  return countAnswer(key, row, served);
}

async function answerReads(options: NodeHttpOptions, call: Call): Promise<RestAnswer> {
  if (call.request.method !== 'POST') return methodNotAllowed('POST');
  if (!call.isAuthorised(call.request))
    return httpErrorAnswer(401, 'UNAUTHORIZED', 'expected CLUSTER_TOKEN as Bearer token');
  refuseWhenFull(call);
  const body = await readBody(call.request);
  if (body === undefined)
    return httpErrorAnswer(413, 'BODY_TOO_LARGE', `the body has more than ${BODY_BYTES_MAX} bytes`);
  try {
    const request = decodeRequest(body);
    return {
      status: 200,
      headers: JSON_HEADERS,
      body: encodeAnswers(request.reads, await options.reads.read(request, { deadlineMs: REQUEST_TIMEOUT_MS })),
    };
  } catch (error) {
    // Callers of this path are gateways and nodes: they get the internal codes as they are.
    if (!(error instanceof InventoryError)) throw error;
    return json(error.status, { code: error.code, message: error.message, retryable: error.retryable });
  }
}

function decodeRequest(body: string): ReadsRequest {
  try {
    return decodeReadsRequest(body);
  } catch (cause) {
    throw new InventoryError(
      'BAD_USER_INPUT',
      `no reads request: ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
}

function refuseWhenFull(call: Call): void {
  if (call.isFull) throw new InventoryError('OVERLOADED', `${REQUESTS_MAX} requests are under way on this node`);
}

/** The whole body as text, undefined where it is too large. Rejects where the client goes away. */
async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > BODY_BYTES_MAX) return undefined;
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Compares digests in constant time: neither content nor length of the token leaks. */
function authorisation(token: string | undefined): (request: IncomingMessage) => boolean {
  if (token === undefined) return () => true;
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  const expected = digest(`Bearer ${token}`);
  return (request) => timingSafeEqual(digest(request.headers.authorization ?? ''), expected);
}

function send(response: ServerResponse, reply: RestAnswer): void {
  if (response.destroyed) return;
  response.writeHead(reply.status, { ...reply.headers, 'content-length': Buffer.byteLength(reply.body) });
  response.end(reply.body);
}

const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' };

function json(status: number, body: unknown): RestAnswer {
  return { status, headers: JSON_HEADERS, body: JSON.stringify(body) };
}

function methodNotAllowed(allowed: string): RestAnswer {
  return httpErrorAnswer(405, 'METHOD_NOT_ALLOWED', `only ${allowed} is allowed here`, { allow: allowed });
}

function surfaceOf(path: string): 'internal' | 'rest' | 'probe' {
  if (path === READS_PATH) return 'internal';
  return path.startsWith('/inventory/') ? 'rest' : 'probe';
}

/** Status as the label: a closed list, whatever the body says. */
function codeOf(reply: RestAnswer): string {
  return String(reply.status);
}
