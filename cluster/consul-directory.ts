// The directory over Consul. Membership is in consul-session.ts, the watch in consul-watch.ts, the keys
// in consul-keys.ts, the requests in consul-client.ts.
//
// Everything but `watch` and `close` rejects with DirectoryUnavailable within the client's REQUEST_TIMEOUT_MS per request
// when the agent is down or hangs.

import type { Topology } from '../schema/topology.ts';
import { ConsulClient } from './consul-client.ts';
import { ConsulKeys, decodeTopology } from './consul-keys.ts';
import { joinConsul, PREDECESSOR_WAIT_MS } from './consul-session.ts';
import { watchConsul } from './consul-watch.ts';
import {
  type Directory,
  DirectoryUnavailable,
  type DirectoryView,
  type JoinOptions,
  type Membership,
} from './directory.ts';
import type { ConsulSettings } from './shared-settings.ts';

export interface ConsulDirectoryOptions {
  readonly settings: ConsulSettings;
  /** First part of every key and service id. */
  readonly applicationId: string;
  /** Told of every request that failed and is tried again. */
  readonly onRetry: (error: unknown) => void;
  /** How long `join` waits for the session of a dead process of the same node id to end. */
  readonly predecessorWaitMs?: number;
}

export class ConsulDirectory implements Directory {
  readonly #options: ConsulDirectoryOptions;
  readonly #client: ConsulClient;
  readonly #keys: ConsulKeys;
  readonly #closed = new AbortController();
  readonly #ownSessions = new Set<string>();

  constructor(options: ConsulDirectoryOptions) {
    this.#options = options;
    this.#client = new ConsulClient(options.settings);
    this.#keys = new ConsulKeys(options.applicationId);
  }

  get connected(): boolean {
    return this.#client.connected;
  }

  async readTopology(): Promise<Topology | undefined> {
    const key = await this.#client.readKey(this.#keys.topology);
    return key === undefined ? undefined : decodeTopology(key);
  }

  async createTopology(topology: Topology): Promise<Topology> {
    if (await this.#client.createKey(this.#keys.topology, JSON.stringify(topology))) return topology;
    const stored = await this.readTopology();
    if (stored === undefined) throw new DirectoryUnavailable('the topology was deleted while it was read');
    return stored;
  }

  watch(onView: (view: DirectoryView) => void, signal: AbortSignal): void {
    const { onRetry } = this.#options;
    const ended = AbortSignal.any([signal, this.#closed.signal]);
    void watchConsul({ client: this.#client, keys: this.#keys, onView, onRetry, signal: ended });
  }

  join(options: JoinOptions): Promise<Membership> {
    const { applicationId, predecessorWaitMs = PREDECESSOR_WAIT_MS } = this.#options;
    const context = { client: this.#client, keys: this.#keys, ownSessions: this.#ownSessions };
    return joinConsul({ ...context, applicationId, predecessorWaitMs, closed: this.#closed.signal }, options);
  }

  /** Ends what is under way. A session that was not left ends by itself. */
  close(): Promise<void> {
    this.#closed.abort();
    this.#client.close();
    return Promise.resolve();
  }
}
