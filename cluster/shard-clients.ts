// One ShardClient for each node a process talks to, by base URL. Bounded: the client that was used longest ago is closed
// when there would be more than CLIENTS_MAX.

import { ShardClient } from './shard-client.ts';

/** Most nodes with open connections. */
const CLIENTS_MAX = 1_024;

export class ShardClients {
  readonly #clusterToken: string | undefined;
  readonly #clients = new Map<string, ShardClient>();

  constructor(clusterToken: string | undefined) {
    this.#clusterToken = clusterToken;
  }

  /** The client of the node at `url`, kept open for the next call. */
  at(url: string): ShardClient {
    const client = this.#clients.get(url) ?? openShardClient(url, this.#clusterToken);
    this.#clients.delete(url);
    this.#clients.set(url, client);
    if (this.#clients.size > CLIENTS_MAX) this.#closeOldest();
    return client;
  }

  async close(): Promise<void> {
    const clients = [...this.#clients.values()];
    this.#clients.clear();
    await Promise.all(clients.map((client) => client.close()));
  }

  #closeOldest(): void {
    const [oldest] = this.#clients;
    if (oldest === undefined) return;
    this.#clients.delete(oldest[0]);
    void oldest[1].close();
  }
}

/** A client of its own for the node at `url`, closed by the caller. */
export function openShardClient(url: string, clusterToken: string | undefined): ShardClient {
  return new ShardClient({ url, ...(clusterToken === undefined ? {} : { clusterToken }) });
}
