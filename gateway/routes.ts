// The routing table of this gateway, kept current by one watch on the directory, and waiting for a newer one.
//
// I7: a directory that is gone or came back empty leaves the last table in force; a new incarnation replaces all of it.
// A directory that describes another deployment than ours (topics, partitioner, formats) is never routed by.

import type { Directory, DirectoryView } from '../cluster/directory.ts';
import { mergeRoutingTable, type RoutingTable } from '../cluster/routing-table.ts';
import { InventoryError } from '../schema/errors.ts';

export interface RoutesOptions {
  readonly directory: Directory;
  /** Why a view cannot be routed by, or undefined. */
  readonly misfit: (view: DirectoryView) => string | undefined;
  /** Told once when the directory's topology does not fit this gateway; it then never becomes ready. */
  readonly onMisfit: (error: InventoryError) => void;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** Waits for a table; answers true once it is satisfied. */
type Waiter = (table: RoutingTable) => boolean;

export class Routes {
  readonly #options: RoutesOptions;
  readonly #waiters = new Set<Waiter>();
  readonly #listeners = new Set<(table: RoutingTable) => void>();
  readonly #stop = new AbortController();
  #table: RoutingTable | undefined;
  #changedAt = 0;
  #misfitTold = false;

  constructor(options: RoutesOptions) {
    this.#options = options;
  }

  /** Starts following the directory. */
  start(): void {
    this.#options.directory.watch((view) => this.#take(view), this.#stop.signal);
  }

  /** Stops following; the last table stays. */
  stop(): void {
    this.#stop.abort();
  }

  get connected(): boolean {
    return this.#options.directory.connected;
  }

  /** The newest table; undefined until the first one. */
  current(): RoutingTable | undefined {
    return this.#table;
  }

  /** Milliseconds since the table last changed; undefined until the first one. */
  ageMs(): number | undefined {
    return this.#table === undefined ? undefined : Math.round(this.#options.now() - this.#changedAt);
  }

  /** Calls `listener` with every table from now on. */
  onChange(listener: (table: RoutingTable) => void): void {
    this.#listeners.add(listener);
  }

  /** Resolves with what `find` first finds in the present or a newer table, or with undefined after `timeoutMs`. */
  waitFor<Found>(find: (table: RoutingTable) => Found | undefined, timeoutMs: number): Promise<Found | undefined> {
    const found = this.#table === undefined ? undefined : find(this.#table);
    if (found !== undefined || timeoutMs <= 0) return Promise.resolve(found);
    return new Promise((resolve) => {
      const waiter: Waiter = (table) => {
        const later = find(table);
        if (later === undefined) return false;
        clearTimeout(timer);
        resolve(later);
        return true;
      };
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        resolve(undefined);
      }, timeoutMs);
      this.#waiters.add(waiter);
    });
  }

  #take(view: DirectoryView): void {
    const misfit = this.#options.misfit(view);
    if (misfit !== undefined) return this.#tellMisfit(misfit);
    const table = mergeRoutingTable(this.#table, view);
    if (table === undefined || table === this.#table) return;
    this.#table = table;
    this.#changedAt = this.#options.now();
    for (const listener of this.#listeners) listener(table);
    for (const waiter of this.#waiters) if (waiter(table)) this.#waiters.delete(waiter);
  }

  #tellMisfit(misfit: string): void {
    if (this.#misfitTold) return;
    this.#misfitTold = true;
    this.#options.onMisfit(
      new InventoryError('BAD_CONFIG', `the directory describes another deployment than this gateway's: ${misfit}`),
    );
  }
}
