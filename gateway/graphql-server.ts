// GraphQL over HTTP: Apollo behind a plain node:http front, because a web framework would cost more than Apollo does.
// Parsing, validation and execution are Apollo's; this file decides what reaches it and how an answer is written.
//
// I9: bodies, tokens, nesting, depth, aliases and kept documents have limits; see query-limits.ts and document-store.ts.

import { ApolloServer, type ApolloServerPlugin, type GraphQLRequestListener, HeaderMap } from '@apollo/server';
import {
  ApolloServerPluginCacheControlDisabled,
  ApolloServerPluginInlineTraceDisabled,
  ApolloServerPluginLandingPageDisabled,
  ApolloServerPluginSchemaReportingDisabled,
  ApolloServerPluginUsageReportingDisabled,
} from '@apollo/server/plugin/disabled';
import type { IncomingHttpHeaders } from 'node:http';
import type { Logger } from 'pino';
import { repeated } from '../cluster/logger.ts';
import { DocumentStore } from './document-store.ts';
import { formatError, graphqlCode, publicErrorOf } from './graphql-errors.ts';
import { createGraphqlSchema } from './graphql-schema.ts';
import { NESTING_MAX, nestsTooDeep, queryLimitsRule, TOKENS_MAX } from './query-limits.ts';
import type { GraphqlContext, RequestContext } from './request-context.ts';

/** Headers that Apollo looks at; copying the others would only cost time. */
const APOLLO_HEADERS = ['content-type', 'accept', 'x-apollo-operation-name', 'apollo-require-preflight'] as const;

/** A GraphQL request as it came over HTTP, its body read but not parsed. */
export interface GraphqlHttpRequest {
  readonly method: string;
  readonly headers: IncomingHttpHeaders;
  /** With its question mark; empty without one. */
  readonly search: string;
  readonly body: string;
}
export interface GraphqlHttpAnswer {
  readonly status: number;
  readonly headers: Iterable<readonly [string, string]>;
  readonly body: string;
}

export class GraphqlServer {
  readonly #apollo: ApolloServer<GraphqlContext>;

  constructor({ logger }: { readonly logger: Logger }) {
    this.#apollo = new ApolloServer<GraphqlContext>({
      schema: createGraphqlSchema(),
      introspection: true,
      csrfPrevention: true,
      includeStacktraceInErrorResponses: false,
      stopOnTerminationSignals: false,
      documentStore: new DocumentStore(),
      parseOptions: { maxTokens: TOKENS_MAX },
      validationRules: [queryLimitsRule],
      formatError,
      logger,
      plugins: [
        // Nothing of these: they load pages from elsewhere, or send traces to it when they find a key.
        ApolloServerPluginLandingPageDisabled(),
        ApolloServerPluginUsageReportingDisabled(),
        ApolloServerPluginSchemaReportingDisabled(),
        ApolloServerPluginInlineTraceDisabled(),
        ApolloServerPluginCacheControlDisabled(),
        observer(logger),
      ],
    });
  }

  start(): Promise<void> {
    return this.#apollo.start();
  }

  stop(): Promise<void> {
    return this.#apollo.stop();
  }

  /** Answers any request to the endpoint; never rejects for what a client sent. */
  async answer(request: GraphqlHttpRequest, context: RequestContext): Promise<GraphqlHttpAnswer> {
    const body = request.method === 'POST' ? parseBody(request) : undefined;
    if (body instanceof Refusal) return refuse(body, context);
    const query = body === undefined ? new URLSearchParams(request.search).get('query') : queryOf(body);
    if (query !== null && nestsTooDeep(query)) {
      return refuse(
        new Refusal(400, 'GRAPHQL_PARSE_FAILED', `brackets nest deeper than ${NESTING_MAX} levels`),
        context,
      );
    }
    const {
      status,
      headers,
      body: answer,
    } = await this.#apollo.executeHTTPGraphQLRequest({
      httpGraphQLRequest: {
        method: request.method,
        headers: copyHeaders(request.headers),
        search: request.search,
        body,
      },
      context: () => Promise.resolve({ request: context }),
    });
    if (answer.kind === 'complete') return { status: status ?? 200, headers, body: answer.string };
    // Only incremental delivery answers in pieces, and the schema does not offer it.
    throw new TypeError('expected a complete answer');
  }
}

/** A request that never reaches Apollo. */
class Refusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;

  constructor(status: number, code: string, message: string) {
    this.status = status;
    this.code = code;
    this.message = message;
  }
}

function refuse({ status, code, message }: Refusal, context: RequestContext): GraphqlHttpAnswer {
  context.outcome = code;
  return {
    status,
    headers: [['content-type', 'application/json; charset=utf-8']],
    body: graphqlErrorBody(code, message),
  };
}

/** A GraphQL answer that is one error and nothing else. */
export function graphqlErrorBody(code: string, message: string, retryable = false): string {
  return JSON.stringify({ errors: [{ message, extensions: { code, retryable } }] });
}

function parseBody({ headers, body }: GraphqlHttpRequest): unknown {
  const type = headers['content-type'] ?? '';
  if (!/^application\/json *(;|$)/i.test(type)) {
    return new Refusal(
      415,
      'BAD_REQUEST',
      `expected a body of application/json, got ${JSON.stringify(type.slice(0, 80))}`,
    );
  }
  try {
    return JSON.parse(body) as unknown;
  } catch {
    return new Refusal(400, 'BAD_REQUEST', 'the body is no JSON');
  }
}

function queryOf(body: unknown): string | null {
  const query = typeof body === 'object' && body !== null ? (body as { query?: unknown }).query : undefined;
  return typeof query === 'string' ? query : null;
}

function copyHeaders(headers: IncomingHttpHeaders): HeaderMap {
  const copied = new HeaderMap();
  for (const name of APOLLO_HEADERS) {
    const value = headers[name];
    if (typeof value === 'string') copied.set(name, value);
  }
  return copied;
}

/** Notes what metrics need, and logs what no client may see. One listener for all requests. */
function observer(logger: Logger): ApolloServerPlugin<GraphqlContext> {
  const listener: GraphQLRequestListener<GraphqlContext> = {
    didResolveOperation({ operation, contextValue }) {
      contextValue.request.operationType = operation?.operation ?? 'unknown';
      return Promise.resolve();
    },
    didEncounterErrors({ errors, contextValue }) {
      const [first] = errors;
      if (first !== undefined) contextValue.request.outcome = graphqlCode(first, first) ?? publicErrorOf(first).code;
      for (const error of errors) {
        if (graphqlCode(error, error) === undefined) logIfInternal(logger, publicErrorOf(error), contextValue.request);
      }
      return Promise.resolve();
    },
  };
  return { requestDidStart: () => Promise.resolve(listener) };
}

function logIfInternal(logger: Logger, error: ReturnType<typeof publicErrorOf>, { scope }: RequestContext): void {
  if (error.code !== 'INTERNAL') return;
  const { requestId } = scope;
  repeated(logger, 'graphql INTERNAL', { err: error, code: error.code, requestId }, 'a field failed', 'error');
}
