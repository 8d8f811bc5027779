// What belongs to one request: its deadline, its name in the logs, and how much it may still ask of the shards.
//
// I9: a query of a few nested lists could ask for billions of rows; each page, list and fan-out is paid for here before
// any shard is asked, so a request that wants too much fails early and alone.

import { InventoryError } from '../schema/errors.ts';

/** Time that a request has, from its arrival to its answer. */
export const REQUEST_DEADLINE_MS = 2_000;
/** Most rows and partition answers that one request may ask of the shards. A page counts its rows once per partition. */
export const SHARD_ROWS_PER_REQUEST_MAX = 200_000;

/** One request on its way through the gateway. */
export class RequestScope {
  readonly requestId: string;
  /** On the monotonic clock of the gateway. */
  readonly deadlineAt: number;
  #rowsLeft: number;

  constructor(requestId: string, deadlineAt: number, rowsMax: number = SHARD_ROWS_PER_REQUEST_MAX) {
    this.requestId = requestId;
    this.deadlineAt = deadlineAt;
    this.#rowsLeft = rowsMax;
  }

  /** Pays for `rows` rows or partition answers. Throws BAD_USER_INPUT once the request has asked for too many. */
  spend(rows: number): void {
    this.#rowsLeft -= rows;
    if (this.#rowsLeft >= 0) return;
    throw new InventoryError(
      'BAD_USER_INPUT',
      `the request asks for more than ${SHARD_ROWS_PER_REQUEST_MAX} rows of the shards; ask for shorter pages or split it`,
    );
  }
}
