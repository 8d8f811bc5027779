// What a gateway serves over HTTP:
//
//   POST, GET /graphql          GraphQL; GET with `Accept: text/html` is GraphiQL, from local files
//   GET  /inventory/stores/{storeId}/items/{itemId}/count
//   GET  /healthz               the event loop turns; asks nobody
//   GET  /readyz                503 until the first routing table and from the drain on
//   GET  /metrics               Prometheus text
//
// I9: requests under way, connections, bodies, headers and the time a slow client may take are bounded.

import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { repeated } from '../cluster/logger.ts';
import {
  countAnswer,
  errorAnswer,
  httpErrorAnswer,
  parseCountPath,
  type RestAnswer,
  toPublicError,
} from '../cluster/rest-count.ts';
import { InventoryError } from '../schema/errors.ts';
import { corsHeaders, isPreflight, preflightHeaders } from './cors.ts';
import { loadGraphiqlPage, type PageFile } from './graphiql-page.ts';
import { type GraphqlServer, graphqlErrorBody } from './graphql-server.ts';
import type { GatewayMetrics } from './metrics.ts';
import { BODY_BYTES_MAX, ClientGone, readBody } from './request-body.ts';
import { RequestContext } from './request-context.ts';
import { REQUEST_DEADLINE_MS, RequestScope } from './request-scope.ts';
import type { Router } from './router.ts';

/** Most requests under way; the next one is OVERLOADED. */
export const REQUESTS_MAX = 4_096;
/** Most connections; the next one is closed at once. */
const CONNECTIONS_MAX = 20_000;
const HEADER_BYTES_MAX = 16 * 1024;
const HEADERS_TIMEOUT_MS = 5_000;
/** Time for the whole of a request to arrive. */
const REQUEST_TIMEOUT_MS = 15_000;
/** How often connections are looked at for the two above. */
const TIMEOUT_CHECK_MS = 2_500;
/** Above the idle time of usual load balancers, so that they close a connection first. */
const KEEP_ALIVE_TIMEOUT_MS = 65_000;
/** What a client may call its request. */
const REQUEST_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

export interface HttpServerOptions {
  readonly graphql: GraphqlServer;
  readonly router: Router;
  readonly applicationId: string;
  readonly pageScanRowsMax: number;
  readonly corsOrigins: readonly string[];
  /** Whether requests are welcome, and details for the body of /readyz. */
  readiness(): { readonly ready: boolean; readonly details: Readonly<Record<string, unknown>> };
  readonly registry: Registry;
  readonly metrics: Pick<GatewayMetrics, 'requestSeconds'>;
  readonly logger: Logger;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** A request on its way, and what metrics and logs say of it. */
interface Call {
  readonly request: IncomingMessage;
  readonly path: string;
  /** With its question mark; empty without one. */
  readonly search: string;
  readonly scope: RequestScope;
  surface: 'graphql' | 'rest' | 'other';
  operationType: string;
  code: string;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

export class HttpServer {
  readonly server: Server;
  readonly #options: HttpServerOptions;
  readonly #page: ReadonlyMap<string, PageFile> = loadGraphiqlPage();
  readonly #origins: ReadonlySet<string>;
  readonly #requestIdPrefix = randomBytes(6).toString('base64url');
  #requests = 0;
  #underWay = 0;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#origins = new Set(options.corsOrigins);
    const limits = {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      connectionsCheckingInterval: TIMEOUT_CHECK_MS,
      keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    };
    this.server = createServer(limits, (request, response) => void this.#serve(request, response));
    this.server.maxConnections = CONNECTIONS_MAX;
  }

  /** Requests that are being answered now. */
  get underWay(): number {
    return this.#underWay;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedAt = this.#options.now();
    const call = this.#callOf(request, startedAt);
    this.#underWay++;
    try {
      const answer = await this.#answer(call);
      this.#send(call, response, answer);
    } catch (error) {
      // A client that went away while it sent its body. Nobody is left to be told.
      if (!(error instanceof ClientGone)) throw error;
      call.code = 'CLIENT_GONE';
      response.destroy();
    } finally {
      this.#underWay--;
      this.#observe(call, startedAt);
    }
  }

  #callOf(request: IncomingMessage, startedAt: number): Call {
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    const scope = new RequestScope(this.#requestIdOf(request), Math.round(startedAt) + REQUEST_DEADLINE_MS);
    return {
      request,
      path: mark < 0 ? url : url.slice(0, mark),
      search: mark < 0 ? '' : url.slice(mark),
      scope,
      surface: 'other',
      operationType: 'none',
      code: 'OK',
    };
  }

  #requestIdOf(request: IncomingMessage): string {
    const given = request.headers['x-request-id'];
    if (typeof given === 'string' && REQUEST_ID_PATTERN.test(given)) return given;
    return `${this.#requestIdPrefix}-${(this.#requests++).toString(36)}`;
  }

  async #answer(call: Call): Promise<Answer> {
    try {
      return await this.#route(call);
    } catch (error) {
      if (error instanceof ClientGone) throw error;
      const known = toPublicError(error);
      call.code = known.code;
      if (known.code === 'INTERNAL') this.#logInternal(call, error);
      return call.surface === 'graphql' ? graphqlErrorAnswer(known) : errorAnswer(known);
    }
  }

  #route(call: Call): Answer | Promise<Answer> {
    const { request, path } = call;
    if (path === '/graphql') return this.#graphql(call);
    if (isPreflight(request)) return { status: 204, headers: preflightHeaders(), body: '' };
    if (request.method !== 'GET' && request.method !== 'HEAD') return plain(call, methodNotAllowed('GET, HEAD'));
    switch (path) {
      case '/healthz':
        return json(200, { status: 'ok' });
      case '/readyz': {
        const { ready, details } = this.#options.readiness();
        return json(ready ? 200 : 503, { ready, ...details });
      }
      case '/metrics':
        return this.#metrics();
      default: {
        const file = this.#page.get(path);
        return file === undefined ? this.#count(call) : pageAnswer(request, file);
      }
    }
  }

  async #graphql(call: Call): Promise<Answer> {
    const { request, search } = call;
    const { method = 'GET', headers } = request;
    const page = this.#page.get('/graphql');
    if (page !== undefined && (method === 'GET' || method === 'HEAD') && wantsPage(request))
      return pageAnswer(request, page);
    call.surface = 'graphql';
    if (isPreflight(request)) return { status: 204, headers: preflightHeaders(), body: '' };
    if (method !== 'GET' && method !== 'POST') return plain(call, methodNotAllowed('GET, POST'));
    this.#refuseWhenFull();
    const body = method === 'POST' ? await readBody(request) : '';
    if (body === undefined) return tooLarge(call);
    const context = this.#contextOf(call);
    const answer = await this.#options.graphql.answer({ method, headers, search, body }, context);
    call.operationType = context.operationType;
    call.code = context.outcome;
    return { status: answer.status, headers: Object.fromEntries(answer.headers), body: answer.body };
  }

  async #count(call: Call): Promise<Answer> {
    const key = parseCountPath(call.path);
    if (key === undefined) return plain(call, httpErrorAnswer(404, 'NOT_FOUND', 'nothing is served under this path'));
    call.surface = 'rest';
    call.operationType = 'query';
    this.#refuseWhenFull();
    const { value: row, nodeId } = await this.#options.router.row(key, call.scope);
    return plain(call, countAnswer(key, row, { nodeId, forwarded: true }));
  }

  async #metrics(): Promise<Answer> {
    const { registry } = this.#options;
    return { status: 200, headers: { 'content-type': registry.contentType }, body: await registry.metrics() };
  }

  #contextOf({ scope }: Call): RequestContext {
    const { router, applicationId, pageScanRowsMax } = this.#options;
    return new RequestContext({ router, scope, applicationId, pageScanRowsMax });
  }

  #refuseWhenFull(): void {
    if (this.#underWay <= REQUESTS_MAX) return;
    throw new InventoryError('OVERLOADED', `${REQUESTS_MAX} requests are under way on this gateway`);
  }

  #send({ request, scope }: Call, response: ServerResponse, { status, headers, body }: Answer): void {
    if (response.destroyed) return;
    // What a client still sends of a body that nobody reads would be taken for its next request.
    const leftover = request.complete && this.server.listening ? {} : { connection: 'close' };
    const cors = corsHeaders(request, this.#origins);
    const length = status === 204 || status === 304 ? {} : { 'content-length': Buffer.byteLength(body) };
    response.writeHead(status, { ...headers, ...cors, 'x-request-id': scope.requestId, ...length, ...leftover });
    response.end(body);
  }

  #observe({ surface, operationType, code, scope }: Call, startedAt: number): void {
    if (surface === 'other') return;
    const { logger, metrics, now } = this.#options;
    const seconds = (now() - startedAt) / 1_000;
    metrics.requestSeconds.observe({ surface, operation_type: operationType, code }, seconds);
    if (logger.isLevelEnabled('debug'))
      logger.debug({ requestId: scope.requestId, surface, operationType, code, seconds });
  }

  #logInternal({ surface, scope }: Call, error: unknown): void {
    const fields = { err: error, code: 'INTERNAL', requestId: scope.requestId, surface };
    repeated(this.#options.logger, `${surface} INTERNAL`, fields, 'a request failed', 'error');
  }
}

function wantsPage({ headers }: IncomingMessage): boolean {
  return headers.accept?.includes('text/html') === true;
}

function pageAnswer({ headers }: IncomingMessage, file: PageFile): Answer {
  if (headers['if-none-match'] === file.headers['etag']) return { status: 304, headers: file.headers, body: '' };
  return { status: 200, headers: file.headers, body: file.body };
}

function tooLarge(call: Call): Answer {
  call.code = 'BODY_TOO_LARGE';
  const body = graphqlErrorBody('BODY_TOO_LARGE', `the body has more than ${BODY_BYTES_MAX} bytes`);
  return { status: 413, headers: JSON_HEADERS, body };
}

function graphqlErrorAnswer(error: InventoryError): Answer {
  const { status, headers } = errorAnswer(error);
  return { status, headers, body: graphqlErrorBody(error.code, error.message, error.retryable) };
}

/** An answer whose code, if it is an error, stands in its body. */
function plain(call: Call, answer: RestAnswer): Answer {
  if (answer.status !== 200) call.code = String((JSON.parse(answer.body) as { code: unknown }).code);
  return answer;
}

function methodNotAllowed(allowed: string): RestAnswer {
  return httpErrorAnswer(405, 'METHOD_NOT_ALLOWED', `only ${allowed} are allowed here`, { allow: allowed });
}

const JSON_HEADERS = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' };

function json(status: number, body: unknown): Answer {
  return { status, headers: JSON_HEADERS, body: JSON.stringify(body) };
}
