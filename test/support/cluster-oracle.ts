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

  /** Asks for every key, every store and the chain once. Empty when all is right. */
  async compare(via: HttpService): Promise<string[]> {
    const keys = await this.compareKeys(via);
    const totals = await this.compareTotals(via);
    return [...keys.wrong, ...keys.failed, ...totals.wrong, ...totals.failed];
  }

  /** Asks for every key once, and for one of each store that no event names. */
  async compareKeys(via: HttpService): Promise<Comparison> {
    const expected = [...this.#storeIds()].map((storeId) => `${storeId}/no-such-item`).concat(this.keys);
    const comparison = { wrong: [] as string[], failed: [] as string[] };
    for (let first = 0; first < expected.length; first += KEYS_PER_REQUEST) {
      const keys = expected.slice(first, first + KEYS_PER_REQUEST);
      const query = `query ($keys: [InventoryKeyInput!]!) { inventories(keys: $keys) { id ${STOCK} } }`;
      const answer = await ask<{ inventories: (({ id: string } & Stock) | null)[] }>(via, query, {
        keys: keys.map(idsOf),
      });
      const failures = failuresByPath(answer);
      keys.forEach((key, index) => {
        const want = this.stockOf(key);
        const failure = failures.get(`inventories.${index}`) ?? failures.get('inventories') ?? failures.get('');
        if (failure !== undefined) return comparison.failed.push(`${key}: ${failure}`);
        const difference = differs(answer.data?.inventories[index], want === null ? null : { id: key, ...want });
        return difference === undefined ? 0 : comparison.wrong.push(`${key}: ${difference}`);
      });
    }
    return comparison;
  }

  /** Asks for the totals of every store and of the chain once. */
  async compareTotals(via: HttpService): Promise<Comparison> {
    const comparison = { wrong: [] as string[], failed: [] as string[] };
    const take = (name: string, answer: GraphqlAnswer<unknown>, found: Totals | null | undefined, want: Totals) => {
      const failure = answer.errors?.[0];
      if (failure !== undefined) return comparison.failed.push(`${name}: ${String(failure.extensions?.code)}`);
      const difference = differs(found, want);
      return difference === undefined ? 0 : comparison.wrong.push(`${name}: ${difference}`);
    };
    for (const storeId of this.#storeIds()) {
      const query = `query ($id: ID!) { store(id: $id) { ${TOTALS} } }`;
      const answer = await ask<{ store: { totals: Totals | null } | null }>(via, query, { id: storeId });
      const sums = [...this.#sums].filter(([key]) => idsOf(key).storeId === storeId).map(([, each]) => each);
      take(`store ${storeId}`, answer, answer.data?.store?.totals, totals(sums));
    }
    const answer = await ask<{ totals: Totals | null }>(via, `{ ${TOTALS} }`);
    take('the chain', answer, answer.data?.totals, totals([...this.#sums.values()]));
    return comparison;
  }

  #storeIds(): Set<string> {
    return new Set(this.keys.map((key) => idsOf(key).storeId));
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

/** Both as text, if they are not equal field by field. */
function differs(found: object | null | undefined, want: object | null): string | undefined {
  const text = (value: object | null | undefined): string =>
    JSON.stringify(value, value ? Object.keys(value).sort() : undefined) ?? 'undefined';
  return text(found) === text(want) ? undefined : `got ${text(found)}, expected ${text(want)}`;
}

function idsOf(key: string): { storeId: string; itemId: string } {
  const [storeId = '', itemId = ''] = key.split('/');
  return { storeId, itemId };
}
