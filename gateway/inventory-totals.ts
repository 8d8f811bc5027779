// InventoryTotals as GraphQL shows them: sums over partitions, and which partitions they cover (I6).

import type { Sum } from '../schema/sum.ts';
import { subtractSums } from '../schema/sum.ts';
import { addTotals, NO_TOTALS, type Totals } from '../schema/totals.ts';
import type { Coverage, Gathered } from './fan-out.ts';

export class InventoryTotals {
  readonly coverage: Coverage;
  readonly #totals: Totals;

  constructor(totals: Totals, coverage: Coverage) {
    this.#totals = totals;
    this.coverage = coverage;
  }

  get items(): number {
    return this.#totals.items;
  }

  get onHand(): Sum {
    return subtractSums(this.#totals.received, this.#totals.sold);
  }

  get received(): Sum {
    return this.#totals.received;
  }

  get sold(): Sum {
    return this.#totals.sold;
  }

  get oversoldItems(): number {
    return this.#totals.oversoldItems;
  }

  get outOfStockItems(): number {
    return this.#totals.outOfStockItems;
  }
}

/**
 * The sum of what the partitions answered. Null if all of them say that no event names the thing; while one is missing
 * the sum of nothing is shown instead, because null would claim what nobody knows.
 */
export function sumTotals({ answers, coverage }: Gathered<Totals | null>): InventoryTotals | null {
  const named = [...answers.values()].filter((totals) => totals !== null);
  if (named.length === 0 && coverage.complete) return null;
  return new InventoryTotals(named.reduce(addTotals, NO_TOTALS), coverage);
}
