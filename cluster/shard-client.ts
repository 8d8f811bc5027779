// Implements the shard-api over HTTP: one POST per request to one node, through a pool of kept-alive connections.
//
// I9: requests in flight, connections, the bytes of a response and the time to wait each have a limit with a name.
// Hazard: undici's own time-outs are coarse (about a second), so the deadline is a timer of ours that aborts the exchange.

import { type Dispatcher, errors, Pool } from 'undici';
import { type ErrorCode, InventoryError, isErrorCode } from '../schema/errors.ts';
import {
  DEADLINE_HEADER,
  decodeAnswers,
  encodeReadsRequest,
  READS_PATH,
  type ReadsRequest,
  type ShardAnswer,
  type ShardApi,
} from '../schema/shard-api.ts';

/** Most requests to one node that are under way or wait for a connection; the next one is OVERLOADED. */
export const NODE_REQUESTS_MAX = 256;
/** Most connections to one node. */
export const NODE_CONNECTIONS_MAX = 32;
/** Most bytes of one response. */
export const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 1_000;
/** Below the keep-alive time of a node, so that we close an idle connection before it does. */
const KEEP_ALIVE_MS = 4_000;

export interface ShardClientOptions {
  /** Base URL of the node, without a slash at the end. */
  readonly url: string;
  /** Sent as Bearer token when set. */
  readonly clusterToken?: string;
  readonly requestsMax?: number;
  readonly responseBytesMax?: number;
}

/** One node, as its callers see it. */
export class ShardClient implements ShardApi {
  readonly #pool: Pool;
  readonly #url: string;
  readonly #path: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #requestsMax: number;
  readonly #responseBytesMax: number;
  #inFlight = 0;

  constructor(options: ShardClientOptions) {
    const url = new URL(options.url);
    this.#url = options.url;
    this.#path = (url.pathname === '/' ? '' : url.pathname) + READS_PATH;
    this.#headers = {
      'content-type': 'application/json',
      ...(options.clusterToken === undefined ? {} : { authorization: `Bearer ${options.clusterToken}` }),
    };
    this.#requestsMax = options.requestsMax ?? NODE_REQUESTS_MAX;
    this.#responseBytesMax = options.responseBytesMax ?? RESPONSE_BYTES_MAX;
    this.#pool = new Pool(url.origin, {
      connections: NODE_CONNECTIONS_MAX,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connect: { timeout: CONNECT_TIMEOUT_MS },
    });
  }

  async read(
    request: ReadsRequest,
    options: { readonly deadlineMs: number; readonly signal?: AbortSignal },
  ): Promise<readonly ShardAnswer[]> {
    if (this.#inFlight >= this.#requestsMax) {
      throw new InventoryError('OVERLOADED', `${this.#inFlight} requests to ${this.#url} are under way already`);
    }
    this.#inFlight++;
    try {
      const response = await this.#exchange(encodeReadsRequest(request), options);
      return this.#understand(request, response);
    } finally {
      this.#inFlight--;
    }
  }

  /** Ends all connections; requests under way reject with OWNER_UNAVAILABLE. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  #exchange(
    body: string,
    { deadlineMs, signal }: { readonly deadlineMs: number; readonly signal?: AbortSignal },
  ): Promise<Response> {
    const wholeMs = Math.max(1, Math.ceil(deadlineMs));
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const exchange = new Exchange(this.#responseBytesMax, (outcome) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
        if (outcome instanceof Error) reject(this.#explain(outcome, signal));
        else resolve(outcome);
      });
      const timer = setTimeout(() => exchange.abort(this.#late(wholeMs)), wholeMs);
      const onAbort = (): void => exchange.abort(asError(signal?.reason));
      signal?.addEventListener('abort', onAbort, { once: true });
      const headers = { ...this.#headers, [DEADLINE_HEADER]: String(wholeMs) };
      this.#pool.dispatch({ method: 'POST', path: this.#path, headers, body }, exchange);
    });
  }

  #late(deadlineMs: number): InventoryError {
    return new InventoryError('DEADLINE_EXCEEDED', `${this.#url} did not answer within ${deadlineMs} ms`);
  }

  /** What a broken exchange means to the caller. */
  #explain(error: Error, signal: AbortSignal | undefined): Error {
    if (error instanceof InventoryError || (signal?.aborted === true && error === signal.reason)) return error;
    const { code } = error as { code?: unknown };
    const why = typeof code === 'string' ? code : error.message;
    return new InventoryError('OWNER_UNAVAILABLE', `${this.#url} could not be reached: ${why}`, { cause: error });
  }

  #understand(request: ReadsRequest, { status, body }: Response): ShardAnswer[] {
    if (status !== 200) throw this.#refusal(status, body);
    try {
      return decodeAnswers(request.reads, body);
    } catch (cause) {
      throw new InventoryError('INTERNAL', `${this.#url} sent what is no answer to the reads`, { cause });
    }
  }

  /** A whole request that was refused: the node says why as JSON `{code, message}`. */
  #refusal(status: number, body: string): InventoryError {
    const { code, message } = parseRefusal(body);
    if (isPassedOn(code)) return new InventoryError(code, `${this.#url}: ${String(message)}`);
    const hint = status === 401 || status === 403 ? '; is CLUSTER_TOKEN the same there?' : '';
    const why = typeof message === 'string' ? `: ${message}` : '';
    return new InventoryError('INTERNAL', `${this.#url} answered ${READS_PATH} with status ${status}${why}${hint}`);
  }
}

/** Refusals of a whole request that callers know what to do about. Any other, bad requests of ours included, is a bug. */
function isPassedOn(code: unknown): code is ErrorCode {
  const passedOn = ['OVERLOADED', 'DEADLINE_EXCEEDED', 'TOPOLOGY_MISMATCH', 'NOT_SERVING', 'RESTORING'];
  return isErrorCode(code) && passedOn.includes(code);
}

interface Response {
  readonly status: number;
  readonly body: string;
}

/** Collects one response. Settles exactly once, with the response or the error. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #bytesMax: number;
  readonly #chunks: Buffer[] = [];
  #settle: ((outcome: Response | Error) => void) | undefined;
  #controller: Dispatcher.DispatchController | undefined;
  #status = 0;
  #bytes = 0;

  constructor(bytesMax: number, settle: (outcome: Response | Error) => void) {
    this.#bytesMax = bytesMax;
    this.#settle = settle;
  }

  /** Gives up now; a request that still waits for a connection is dropped when its turn comes. */
  abort(reason: Error): void {
    this.#end(reason);
    this.#controller?.abort(reason);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#settle === undefined) controller.abort(new errors.RequestAbortedError());
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number): void {
    this.#status = status;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    this.#chunks.push(chunk);
    if (this.#bytes <= this.#bytesMax) return;
    this.#chunks.length = 0;
    this.abort(new InventoryError('INTERNAL', `a node answered with more than ${this.#bytesMax} bytes`));
  }

  onResponseEnd(): void {
    const bytes = this.#chunks.length === 1 ? this.#chunks[0] : Buffer.concat(this.#chunks);
    this.#end({ status: this.#status, body: bytes?.toString('utf8') ?? '' });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#end(error);
  }

  #end(outcome: Response | Error): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(outcome);
  }
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new errors.RequestAbortedError();
}

function parseRefusal(body: string): { code?: unknown; message?: unknown } {
  try {
    const json: unknown = JSON.parse(body);
    return typeof json === 'object' && json !== null ? json : {};
  } catch {
    return {};
  }
}
