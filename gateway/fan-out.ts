// One question to every partition, and what became of it: one request per node, one answer per partition, each failed
// partition re-routed by itself (the router does that).
//
// I6: a fan-out says which partitions answered. By default it fails with INCOMPLETE_RESULT rather than be short; "no
// event names it" is said only once every partition has said so, "it exists" as soon as one has.

import { type ErrorCode, InventoryError, toInventoryError } from '../schema/errors.ts';
import type { ReadKind, ReadOf, ShardRead, ShardReadValues } from '../schema/shard-api.ts';
import type { RequestScope } from './request-scope.ts';
import type { Router } from './router.ts';

/** What to do while a partition cannot be read; as in the schema. */
export type PartialPolicy = 'ERROR' | 'RETURN';

/** Which partitions an answer covers. */
export interface Coverage {
  readonly complete: boolean;
  readonly partitions: number;
  readonly answered: number;
  /** Ascending. */
  readonly missing: readonly number[];
}

/** The answers of all partitions that gave one. */
export interface Gathered<Value> {
  readonly answers: ReadonlyMap<number, Value>;
  readonly coverage: Coverage;
}

type PartitionAnswer<Value> =
  | { readonly partition: number; readonly ok: true; readonly value: Value }
  | { readonly partition: number; readonly ok: false; readonly error: InventoryError };

/** A fan-out under way: one promise per partition, none of which rejects. */
export type FanOut<Value> = readonly Promise<PartitionAnswer<Value>>[];

/** Failures that another try or another replica would not mend: they fail the whole answer under either policy. */
const FAILS_THE_WHOLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['SCAN_LIMIT_EXCEEDED', 'BAD_USER_INPUT']);

/** Asks every partition. Throws NOT_READY, and BAD_USER_INPUT where the request has asked for too much already. */
export function fanOut<Kind extends Exclude<ReadKind, 'rows'>>(
  router: Router,
  scope: RequestScope,
  readOf: (partition: number) => ReadOf<Kind>,
): FanOut<ShardReadValues[Kind]> {
  const { partitions } = router.table();
  const reads = Array.from({ length: partitions }, (_, partition) => readOf(partition));
  scope.spend(reads.reduce((rows, read) => rows + rowsOf(read), 0));
  return reads.map((read, partition) =>
    router.read<Kind>(read, scope).then(
      ({ value }) => ({ partition, ok: true, value }),
      (error: unknown) => ({ partition, ok: false, error: toInventoryError(error) }),
    ),
  );
}

/** Most rows that a read brings back; sums count as one. */
function rowsOf(read: ShardRead): number {
  return 'limit' in read ? read.limit : 1;
}

/** All answers of a fan-out. Rejects with INCOMPLETE_RESULT if `onPartial` is ERROR and one is missing. */
export async function gather<Value>(asked: FanOut<Value>, onPartial: PartialPolicy): Promise<Gathered<Value>> {
  const answers = new Map<number, Value>();
  const failures = new Map<number, InventoryError>();
  for (const answer of await Promise.all(asked)) {
    if (answer.ok) answers.set(answer.partition, answer.value);
    else failures.set(answer.partition, answer.error);
  }
  for (const error of failures.values()) if (FAILS_THE_WHOLE.has(error.code)) throw error;
  if (onPartial === 'ERROR' && failures.size > 0) throw incompleteResult(asked.length, failures);
  const missing = [...failures.keys()];
  const coverage = { complete: missing.length === 0, partitions: asked.length, answered: answers.size, missing };
  return { answers, coverage };
}

/** Whether some partition answers with more than null: true at the first that does, false once all have answered. */
export async function isNamed<Value>(asked: FanOut<Value | null>, names: (value: Value) => boolean): Promise<boolean> {
  const named = asked.map(async (asking) => {
    const answer = await asking;
    if (answer.ok && answer.value !== null && names(answer.value)) return true;
    throw new NotNamed();
  });
  try {
    return await Promise.any(named);
  } catch {
    await gather(asked, 'ERROR');
    return false;
  }
}

class NotNamed extends Error {}

function incompleteResult(partitions: number, failures: ReadonlyMap<number, InventoryError>): InventoryError {
  const missing = [...failures.keys()];
  const codes = [...new Set([...failures.values()].map(({ code }) => code))];
  const shown = missing.slice(0, 10).join(', ') + (missing.length > 10 ? ', …' : '');
  return new InventoryError(
    'INCOMPLETE_RESULT',
    `${missing.length} of ${partitions} partitions did not answer: ${shown} (${codes.join(', ')})`,
    { details: { missing }, cause: failures.get(missing[0] ?? 0) },
  );
}
