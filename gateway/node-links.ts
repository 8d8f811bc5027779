// The nodes that this gateway talks to: one connection pool and one batcher for each. A node that leaves the routing
// table is let go, so the number of pools is bounded by the nodes registered (I9).

import type { Route, RoutingTable } from '../cluster/routing-table.ts';
import type { ShardApi } from '../schema/shard-api.ts';
import { type Lookup, type LookupAnswer, ReadBatcher } from './read-batcher.ts';

/** A node's shard-api; `close`, where there is one, ends its connections. */
export interface NodeLink extends ShardApi {
  close?(): Promise<void>;
}

export interface NodeLinksOptions {
  /** Opens a link to the node at a base URL. */
  readonly open: (url: string) => NodeLink;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  /** Told the code of each request's end, OK included. */
  readonly onRequestEnd: (outcome: string) => void;
  /** How long a link to a node that left may finish what is under way. */
  readonly lingerMs: number;
}

/** Batchers of a node: for the present incarnation and for what it acquired under the one before. */
const BATCHERS_MAX = 2;

interface OpenLink {
  readonly link: NodeLink;
  /** By incarnation, the oldest first. */
  readonly batchers: Map<string, ReadBatcher>;
}

export class NodeLinks {
  readonly #options: NodeLinksOptions;
  readonly #open = new Map<string, OpenLink>();
  readonly #leaving = new Map<NodeLink, NodeJS.Timeout>();

  constructor(options: NodeLinksOptions) {
    this.#options = options;
  }

  /** Asks a node with the next request to it. Rejects as ReadBatcher.ask does. */
  ask(route: Route, lookup: Lookup, deadlineAt: number): Promise<LookupAnswer> {
    return this.#batcherFor(route).ask(lookup, deadlineAt);
  }

  /** Lets go of the nodes that `table` no longer names. */
  keepOnly(table: RoutingTable): void {
    const urls = new Set([...table.nodes.values(), ...table.owners.values()].map(({ url }) => url));
    for (const [url, { link }] of this.#open) {
      if (urls.has(url)) continue;
      this.#open.delete(url);
      const timer = setTimeout(() => {
        this.#leaving.delete(link);
        void link.close?.();
      }, this.#options.lingerMs);
      this.#leaving.set(link, timer.unref());
    }
  }

  /** Ends all connections. */
  async close(): Promise<void> {
    const links = [...this.#open.values()].map(({ link }) => link).concat(...this.#leaving.keys());
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    this.#open.clear();
    this.#leaving.clear();
    await Promise.all(links.map(async (link) => link.close?.()));
  }

  #batcherFor({ url, incarnation }: Route): ReadBatcher {
    const { link, batchers } = this.#linkTo(url);
    const present = batchers.get(incarnation);
    if (present !== undefined) return present;
    const { now, onRequestEnd } = this.#options;
    const batcher = new ReadBatcher({ api: link, incarnation, now, onRequestEnd });
    batchers.set(incarnation, batcher);
    const [oldest] = batchers.keys();
    // What it has under way it finishes all the same.
    if (batchers.size > BATCHERS_MAX && oldest !== undefined) batchers.delete(oldest);
    return batcher;
  }

  #linkTo(url: string): OpenLink {
    const present = this.#open.get(url);
    if (present !== undefined) return present;
    const opened = { link: this.#options.open(url), batchers: new Map<string, ReadBatcher>() };
    this.#open.set(url, opened);
    return opened;
  }
}
