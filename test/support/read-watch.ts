// Reads every key, store total and one REST count over and over while something happens to the cluster, and writes down
// every answer that is wrong and every read that failed. Events that come meanwhile belong on stores that it does not know.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ClusterOracle, Comparison } from './cluster-oracle.ts';
import { eventually } from './eventually.ts';
import type { HttpService } from './http-service.ts';

const ROUNDS_TIMEOUT_MS = 60_000;
/** Of each kind; more would say no more. */
const KEPT_MAX = 10;

export class ReadWatch implements AsyncDisposable {
  readonly wrong: string[] = [];
  readonly failed: string[] = [];
  readonly #oracle: ClusterOracle;
  readonly #via: readonly HttpService[];
  readonly #done: Promise<void>;
  #rounds = 0;
  #ended = false;

  /** Starts at once; `oracle` must not change, and must know some key. */
  constructor(oracle: ClusterOracle, via: readonly HttpService[]) {
    if (oracle.keys.length === 0) throw new Error('there is nothing to read yet');
    this.#oracle = oracle;
    this.#via = via;
    this.#done = this.#run();
  }

  /** Waits until everything has been read `count` times more, from its beginning to its end. */
  async moreRounds(count = 3): Promise<void> {
    const wanted = this.#rounds + count + 1;
    const enough = `${count} more rounds of reads`;
    await eventually(enough, () => this.#rounds >= wanted, { timeoutMs: ROUNDS_TIMEOUT_MS });
  }

  /** Ends after a last full round; what was found. */
  async end(): Promise<Comparison> {
    await this.moreRounds(1);
    await this[Symbol.asyncDispose]();
    return { wrong: this.wrong, failed: this.failed };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      for (const via of this.#via) {
        this.#note(await this.#oracle.compareKeys(via));
        this.#note(await this.#oracle.compareStores(via));
        this.#note(await this.#oracle.compareRest(via));
      }
      this.#rounds += 1;
      await nextTurn();
    }
  }

  #note({ wrong, failed }: Comparison): void {
    const at = new Date().toISOString();
    this.wrong.push(...wrong.slice(0, KEPT_MAX - this.wrong.length).map((text) => `${at} ${text}`));
    this.failed.push(...failed.slice(0, KEPT_MAX - this.failed.length).map((text) => `${at} ${text}`));
  }
}
