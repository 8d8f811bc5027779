// InventoryItem as GraphQL shows it: a row with its key. Field names are the schema's.

import { type InventoryKey, splitInventoryKey } from '../schema/inventory-key.ts';
import { type InventoryRow, onHandOf } from '../schema/inventory-row.ts';
import type { Sum } from '../schema/sum.ts';

/** The stock of one item in one store. Sums out of JSON's range fail when they are written out (COUNT_OUT_OF_RANGE). */
export class InventoryItem {
  readonly id: InventoryKey;
  readonly storeId: string;
  readonly itemId: string;
  readonly #row: InventoryRow;

  constructor(key: InventoryKey, row: InventoryRow) {
    const { storeId, itemId } = splitInventoryKey(key);
    this.id = key;
    this.storeId = storeId;
    this.itemId = itemId;
    this.#row = row;
  }

  get onHand(): Sum {
    return onHandOf(this.#row);
  }

  get received(): Sum {
    return this.#row.received;
  }

  get sold(): Sum {
    return this.#row.sold;
  }

  get oversold(): boolean {
    return this.onHand < 0;
  }

  /** Milliseconds since 1970. */
  get lastShipmentAt(): number | null {
    return this.#row.lastShipmentAt;
  }

  get lastSaleAt(): number | null {
    return this.#row.lastSaleAt;
  }
}
