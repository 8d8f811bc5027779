// What every key of a cluster must answer: plain sums of the events written, compared through the public API.
import type { GraphqlAnswer, HttpService } from './http-service.ts';

/** One shipment or sale. */
export interface StockEvent {
  readonly role: 'shipments' | 'sales';
  /** `storeId/itemId`. */
  readonly key: string;
  readonly count: number;
}

interface Sums {
  readonly received: bigint;
  readonly sold: bigint;
}

/** As GraphQL answers it. */
interface Stock {
  readonly received: number;
  readonly sold: number;
  readonly onHand: number;
}
type Totals = Stock & { items: number; oversoldItems: number; outOfStockItems: number };

/** What came of asking for every key: an answer that is not the oracle's, and a failure, are not the same. */
export interface Comparison {
  /** Answers that differ, in words. */
  readonly wrong: readonly string[];
  /** Errors in place of answers, in words. */
  readonly failed: readonly string[];
}

/** As many as `inventories` takes. */
const KEYS_PER_REQUEST = 500;
const STOCK = 'received sold onHand';
const TOTALS = `totals { items ${STOCK} oversoldItems outOfStockItems }`;

export class ClusterOracle {
  readonly #sums = new Map<string, Sums>();

  add({ role, key, count }: StockEvent): void {
    const { received, sold } = this.#sums.get(key) ?? { received: 0n, sold: 0n };
    const change = BigInt(count);
    const sums = role === 'shipments' ? { received: received + change, sold } : { received, sold: sold + change };
    this.#sums.set(key, sums);
  }

  /** Every key that an event named. */
  get keys(): string[] {
    return [...this.#sums.keys()];
  }

  /** What the key must answer, null where no event names it. */
  stockOf(key: string): Stock | null {
    const sums = this.#sums.get(key);
    return sums === undefined ? null : stock([sums]);
  }

  /** As it stands now: events added later do not change it. */
  copy(): ClusterOracle {
    const copy = new ClusterOracle();
    for (const [key, sums] of this.#sums) copy.#sums.set(key, sums);
    return copy;
  }

  /** Asks for every key, every store and the chain once. */
  async compare(via: HttpService): Promise<Comparison> {
    return merged([await this.compareKeys(via), await this.compareStores(via), await this.#compareChain(via)]);
  }

  /** Asks for every key once, and in each store for an item that no event names. */
  async compareKeys(via: HttpService): Promise<Comparison> {
    const keys = this.keys.concat(this.#storeIds().map((storeId) => `${storeId}/no-such-item`));
    const comparisons: Comparison[] = [];
    for (let first = 0; first < keys.length; first += KEYS_PER_REQUEST) {
      comparisons.push(await this.#compareChunk(via, keys.slice(first, first + KEYS_PER_REQUEST)));
    }
    return merged(comparisons);
  }

  /** Asks for the totals of every store once. */
  async compareStores(via: HttpService): Promise<Comparison> {
    const comparisons = this.#storeIds().map(async (storeId) => {
      const query = `query ($id: ID!) { store(id: $id) { ${TOTALS} } }`;
      const answer = await ask<{ store: { totals: Totals | null } | null }>(via, query, { id: storeId });
      const sums = [...this.#sums].filter(([key]) => idsOf(key).storeId === storeId).map(([, each]) => each);
      return compareOne(`store ${storeId}`, failureOf(answer), answer.data?.store?.totals, totals(sums));
    });
    return merged(await Promise.all(comparisons));
  }

  /** Asks for one key by REST. */
  async compareRest(via: HttpService, key = this.keys[0] ?? ''): Promise<Comparison> {
    const ids = idsOf(key);
    const want = { ...ids, count: this.stockOf(key)?.onHand };
    try {
      const { status, body } = await via.rest(ids.storeId, ids.itemId);
      const failure = status >= 500 ? `${status} ${JSON.stringify(body)}` : undefined;
      return compareOne(`${key} by REST`, failure, body as object, want);
    } catch (error) {
      return compareOne(`${key} by REST`, String(error), null, want);
    }
  }

  async #compareChain(via: HttpService): Promise<Comparison> {
    const answer = await ask<{ totals: Totals | null }>(via, `{ ${TOTALS} }`);
    return compareOne('the chain', failureOf(answer), answer.data?.totals, totals([...this.#sums.values()]));
  }

  async #compareChunk(via: HttpService, keys: readonly string[]): Promise<Comparison> {
    const query = `query ($keys: [InventoryKeyInput!]!) { inventories(keys: $keys) { id ${STOCK} } }`;
    type Found = { inventories: (({ id: string } & Stock) | null)[] };
    const answer = await ask<Found>(via, query, { keys: keys.map(idsOf) });
    const failures = failuresByPath(answer);
    const comparisons = keys.map((key, index) => {
      const want = this.stockOf(key);
      const failure = failures.get(`inventories.${index}`) ?? failures.get('inventories') ?? failures.get('');
      return compareOne(key, failure, answer.data?.inventories[index], want === null ? null : { id: key, ...want });
    });
    return merged(comparisons);
  }

  #storeIds(): string[] {
    return [...new Set(this.keys.map((key) => idsOf(key).storeId))];
  }
}

/** A request without an answer counts as a failure of all that it asks for. */
async function ask<Data>(
  via: HttpService,
  query: string,
  variables: Record<string, unknown> = {},
): Promise<GraphqlAnswer<Data>> {
  try {
    return await via.query<Data>(query, variables);
  } catch (error) {
    return { status: 0, errors: [{ message: String(error), extensions: { code: 'NO_ANSWER' } }] };
  }
}

/** The first failure of an answer, in words. */
function failureOf({ errors = [] }: GraphqlAnswer<unknown>): string | undefined {
  const [first] = errors;
  return first === undefined ? undefined : `${first.extensions?.code}: ${first.message}`;
}

/** Path, joined by dots, → code; a failure of the whole request has the empty path. */
function failuresByPath({ errors = [] }: GraphqlAnswer<unknown>): Map<string, string> {
  return new Map(
    errors.map(({ path = [], extensions, message }) => [path.join('.'), `${extensions?.code}: ${message}`] as const),
  );
}

function stock(sums: readonly Sums[]): Stock {
  const received = sums.reduce((sum, each) => sum + each.received, 0n);
  const sold = sums.reduce((sum, each) => sum + each.sold, 0n);
  return { received: Number(received), sold: Number(sold), onHand: Number(received - sold) };
}

function totals(sums: readonly Sums[]): Totals {
  const outOfStockItems = sums.filter(({ received, sold }) => received - sold <= 0n).length;
  const oversoldItems = sums.filter(({ received, sold }) => received - sold < 0n).length;
  return { items: sums.length, ...stock(sums), oversoldItems, outOfStockItems };
}

/** A failure is not compared: it is no answer. */
function compareOne(
  name: string,
  failure: string | undefined,
  found: object | null | undefined,
  want: object | null,
): Comparison {
  if (failure !== undefined) return { wrong: [], failed: [`${name}: ${failure}`] };
  const [got, expected] = [sortedText(found), sortedText(want)];
  return { wrong: got === expected ? [] : [`${name}: got ${got}, expected ${expected}`], failed: [] };
}

function sortedText(value: object | null | undefined): string {
  return value ? JSON.stringify(value, Object.keys(value).sort()) : String(value);
}

function merged(comparisons: readonly Comparison[]): Comparison {
  return {
    wrong: comparisons.flatMap(({ wrong }) => wrong),
    failed: comparisons.flatMap(({ failed }) => failed),
  };
}

function idsOf(key: string): { storeId: string; itemId: string } {
  const [storeId = '', itemId = ''] = key.split('/');
  return { storeId, itemId };
}
