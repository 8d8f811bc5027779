// The few calls of Consul's HTTP API that the directory makes, each with a time limit. The only importer of `consul`.
//
// What the package leaves to its callers: its typings lack `index`, `wait`, `timeout` and `ctx`; a request without a time
// limit waits for ever on an agent that hangs; its errors carry the whole response. So nothing of it leaves this file:
// errors become DirectoryUnavailable (worth a retry) or BAD_CONFIG (the token lacks a permission), and neither quotes a
// header, where the token is.

import { EventEmitter } from 'node:events';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import Consul from 'consul';
import { InventoryError } from '../schema/errors.ts';
import { DirectoryUnavailable } from './directory.ts';
import type { ConsulSettings } from './shared-settings.ts';

/** Any call but a blocking query is answered within this, or the directory counts as unreachable. */
export const REQUEST_TIMEOUT_MS = 3_000;
/** How long a blocking query waits for a change. Consul adds up to a sixteenth. */
export const WATCH_WAIT_MS = 5_000;
/** A blocking query that takes longer than its wait and this has a hung agent at its other end. */
const WATCH_MARGIN_MS = 3_000;
const DEFAULT_PORT = { http: 8_500, https: 8_501 } as const;

/** A key as Consul stores it. `Session` is set while a live session holds its lock. */
export interface ConsulKey {
  readonly Key: string;
  readonly Value: string | null;
  readonly LockIndex: number;
  readonly ModifyIndex: number;
  readonly Session?: string;
}

/** All keys under a prefix at one moment. */
export interface ConsulTree {
  readonly keys: readonly ConsulKey[];
  /** Where the next blocking query goes on from; 0 = at once. */
  readonly index: number;
}

export interface ServiceRegistration {
  readonly id: string;
  readonly name: string;
  readonly applicationId: string;
  /** Base URL of the node. */
  readonly url: string;
  readonly healthUrl: string;
}

/** The session does not exist, any more: it has ended, or Consul has forgotten everything. */
export class SessionGone extends DirectoryUnavailable {}

export class ConsulClient {
  readonly #consul: Consul;
  readonly #address: string;
  readonly #closed = new EventEmitter().setMaxListeners(0);
  #connected = false;

  constructor({ address, ssl, caPem, token }: ConsulSettings) {
    const url = new URL(/^https?:\/\//.test(address) ? address : `${ssl ? 'https' : 'http'}://${address}`);
    const secure = url.protocol === 'https:';
    const port = url.port === '' ? DEFAULT_PORT[secure ? 'https' : 'http'] : Number(url.port);
    const tls = caPem === undefined ? {} : { ca: caPem };
    this.#address = `${url.hostname}:${port}`;
    this.#consul = new Consul({
      host: url.hostname,
      port,
      secure,
      agent: secure ? new HttpsAgent({ keepAlive: true, ...tls }) : new HttpAgent({ keepAlive: true }),
      ...(token === undefined ? {} : { defaults: { token } }),
    });
  }

  /** Whether the last call was answered. */
  get connected(): boolean {
    return this.#connected;
  }

  /** The key, or undefined where there is none. */
  async readKey(key: string): Promise<ConsulKey | undefined> {
    return (await this.#call('read a key', (options) => this.#consul.kv.get({ key, ...options }))) ?? undefined;
  }

  /** Writes the key if it does not exist; false if it does. */
  createKey(key: string, value: string): Promise<boolean> {
    return this.#call('create a key', (options) => this.#consul.kv.set({ key, value, cas: 0, ...options }));
  }

  /** Writes the key and locks it for the session; false if another session has it. Rejects with SessionGone. */
  lockKey(key: string, value: string, session: string): Promise<boolean> {
    return this.#call('lock a key', (options) => this.#consul.kv.set({ key, value, acquire: session, ...options }));
  }

  /** Unlocks the key; false if the session does not have it. */
  unlockKey(key: string, value: string, session: string): Promise<boolean> {
    return this.#call('unlock a key', (options) => this.#consul.kv.set({ key, value, release: session, ...options }));
  }

  /** Deletes the key, if given only as it was at `modifyIndex`. */
  async deleteKey(key: string, modifyIndex?: number): Promise<void> {
    const cas = modifyIndex === undefined ? {} : { cas: modifyIndex };
    await this.#call('delete a key', (options) => this.#consul.kv.del({ key, ...cas, ...options }));
  }

  /** The keys under `prefix` now. */
  async readTree(prefix: string): Promise<ConsulTree> {
    return this.#readTree(prefix, { timeout: REQUEST_TIMEOUT_MS });
  }

  /**
   * The keys under `prefix` once they are newer than `index`, or when WATCH_WAIT_MS have passed: no guarantee of change.
   * `consistent` makes the leader prove itself first. Rejects soon after `signal` aborts.
   */
  async watchTree(
    prefix: string,
    { index, consistent, signal }: { index: number; consistent: boolean; signal: AbortSignal },
  ): Promise<ConsulTree> {
    const timeout = WATCH_WAIT_MS * (1 + 1 / 16) + WATCH_MARGIN_MS;
    const wait = index === 0 ? {} : { index: String(index), wait: `${WATCH_WAIT_MS}ms` };
    return this.#readTree(prefix, { ...wait, ...(consistent ? { consistent } : {}), timeout }, signal);
  }

  /** Registers the service with a health check that passes until it has failed twice. Replaces one of the same id. */
  async registerService({ id, name, applicationId, url, healthUrl }: ServiceRegistration): Promise<void> {
    const { hostname, port, protocol } = new URL(url);
    const check = {
      name: 'stockroom health',
      http: healthUrl,
      interval: '1s',
      timeout: '500ms',
      status: 'passing',
      failuresbeforecritical: 2,
      deregistercriticalserviceafter: '2m',
    };
    const service = {
      id,
      name,
      address: hostname,
      port: port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port),
      tags: [applicationId],
      meta: { 'application-id': applicationId, url },
      check,
    };
    await this.#call('register the service', (options) =>
      this.#consul.agent.service.register({ ...service, ...options }),
    );
  }

  async deregisterService(id: string): Promise<void> {
    await this.#call('deregister the service', (options) => this.#consul.agent.service.deregister({ id, ...options }));
  }

  /** A session that ends when the service's check fails, or `ttlMs` to twice that after its last renewal. Locks are free at once. */
  async createSession({ name, serviceId, ttlMs }: { name: string; serviceId: string; ttlMs: number }): Promise<string> {
    const session = {
      name,
      ttl: `${ttlMs / 1_000}s`,
      // As text: a number 0 would be dropped on the way and mean Consul's default of 15 s.
      lockdelay: '0s',
      behavior: 'release' as const,
      checks: [`service:${serviceId}`],
    };
    return (await this.#call('create a session', (options) => this.#consul.session.create({ ...session, ...options })))
      .ID;
  }

  /** Rejects with SessionGone if there is nothing to renew. */
  async renewSession(id: string): Promise<void> {
    await this.#call('renew the session', (options) => this.#consul.session.renew({ id, ...options }));
  }

  async destroySession(id: string): Promise<void> {
    await this.#call('destroy the session', (options) => this.#consul.session.destroy({ id, ...options }));
  }

  /** Ends everything under way. */
  close(): void {
    this.#connected = false;
    this.#closed.emit('close');
    this.#consul.destroy();
  }

  async #readTree(prefix: string, options: object, signal?: AbortSignal): Promise<ConsulTree> {
    const context = new RequestContext();
    const cancel = (): boolean => context.emit('cancel');
    signal?.addEventListener('abort', cancel, { once: true });
    try {
      const request = { key: prefix, recurse: true, ...options, ctx: context };
      const found: unknown = await this.#settle('read the keys', this.#consul.kv.get(request), cancel);
      const [response, keys] = found as [{ headers: Record<string, string> }, ConsulKey[] | undefined];
      const index = Number(response.headers['x-consul-index']);
      if (!Number.isSafeInteger(index) || index < 1) {
        throw this.#unavailable('read the keys', `it answered without an index: ${JSON.stringify(index)}`);
      }
      return { keys: keys ?? [], index };
    } finally {
      signal?.removeEventListener('abort', cancel);
    }
  }

  #call<T>(what: string, send: (options: { timeout: number; ctx: EventEmitter }) => Promise<T>): Promise<T> {
    const ctx = new EventEmitter();
    return this.#settle(what, send({ timeout: REQUEST_TIMEOUT_MS, ctx }), () => ctx.emit('cancel'));
  }

  async #settle<T>(what: string, answer: Promise<T>, cancel: () => void): Promise<T> {
    this.#closed.once('close', cancel);
    try {
      const value = await answer;
      this.#connected = true;
      return value;
    } catch (error) {
      throw this.#explain(what, error as ConsulFailure);
    } finally {
      this.#closed.off('close', cancel);
    }
  }

  /** What to do about a failed request. Never keeps the package's error: it holds the request's headers. */
  #explain(what: string, failure: ConsulFailure): Error {
    const { statusCode, body } = failure.response ?? {};
    if (statusCode === undefined) {
      // A request that we cancelled says nothing about the agent.
      if (failure.isAbort !== true) this.#connected = false;
      return this.#unavailable(what, failure.isTimeout === true ? 'no answer in time' : (failure.code ?? 'no answer'));
    }
    const text = (typeof body === 'string' ? body : '').trim().slice(0, ERROR_CHARS_MAX);
    if (statusCode === 401 || statusCode === 403) {
      const message = `Consul at ${this.#address} refuses to ${what} (${statusCode} ${text}): CONSUL_HTTP_TOKEN lacks a permission`;
      return new InventoryError('BAD_CONFIG', message);
    }
    if (statusCode === 404 || /invalid session/i.test(text)) return new SessionGone('Consul knows the session no more');
    this.#connected = false;
    return this.#unavailable(what, `${statusCode} ${text}`);
  }

  #unavailable(what: string, reason: string): DirectoryUnavailable {
    return new DirectoryUnavailable(`Consul at ${this.#address} did not ${what}: ${reason}`);
  }
}

const ERROR_CHARS_MAX = 200;

/** Makes the package answer with [response, body] instead of the body alone, and lets a request be cancelled. */
class RequestContext extends EventEmitter {
  readonly includeResponse = true;
}

/** Errors of the package and of the sockets below it. */
interface ConsulFailure extends Error {
  readonly isTimeout?: boolean;
  readonly isAbort?: boolean;
  readonly code?: string;
  readonly response?: { readonly statusCode?: number; readonly body?: unknown };
}
