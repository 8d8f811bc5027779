// Answers the reads of the shard-api from the shards of this node. I4: a key of another partition and a shard that does
// not serve are refusals, never "unknown". A read fails alone; what was not foreseen is INTERNAL and logged by the caller.

import { InventoryError, toInventoryError } from '../schema/errors.ts';
import type { InventoryKey } from '../schema/inventory-key.ts';
import { partitionOfKey } from '../schema/partitioner.ts';
import type {
  ReadOf,
  ReadsRequest,
  ShardAnswer,
  ShardApi,
  ShardRead,
  ShardReadValues,
  ShardStatus,
} from '../schema/shard-api.ts';
import type { At, Shard } from './shard.ts';
import { itemPage, itemTotals, storePage } from './shard-scan.ts';

/** The node's shards, as far as reading needs them. */
export interface ReadableShards {
  /** The present incarnation and, for callers who have not heard of it yet, those before. */
  incarnations(): readonly string[];
  readonly partitions: number;
  /** The shard of a partition, undefined where this node holds none. */
  shard(partition: number): Shard | undefined;
  /** How far a shard is, for operators. */
  status(shard: Shard): ShardStatus;
  /** Told about answers that should never happen. */
  onInternalError(error: unknown, partition: number): void;
}

type Value = ShardReadValues[ShardRead['kind']];

export class ShardReads implements ShardApi {
  readonly #shards: ReadableShards;

  constructor(shards: ReadableShards) {
    this.#shards = shards;
  }

  /** Answers in order. Rejects with TOPOLOGY_MISMATCH where the caller means another deployment. */
  async read(request: ReadsRequest): Promise<readonly ShardAnswer[]> {
    const incarnations = this.#shards.incarnations();
    if (!incarnations.includes(request.incarnation)) {
      throw new InventoryError(
        'TOPOLOGY_MISMATCH',
        `expected incarnation ${incarnations.join(' or ')}, got ${request.incarnation}`,
      );
    }
    const answers = request.reads.map((read) => this.#answer(read));
    // Most requests are answered from memory: a promise per read would be most of their cost.
    if (!answers.some((answer) => answer instanceof Promise)) return answers as ShardAnswer[];
    return Promise.all(answers.map((answer) => Promise.resolve(answer)));
  }

  #answer(read: ShardRead): ShardAnswer | Promise<ShardAnswer> {
    try {
      const answer = this.#read(read);
      if (!(answer instanceof Promise)) return { ok: true, ...answer };
      return answer
        .then((at) => ({ ok: true as const, ...at }))
        .catch((error: unknown) => this.#refusal(error, read.partition));
    } catch (error) {
      return this.#refusal(error, read.partition);
    }
  }

  #refusal(error: unknown, partition: number): ShardAnswer {
    const known = toInventoryError(error);
    if (known.code === 'INTERNAL') this.#shards.onInternalError(error, partition);
    return { ok: false, code: known.code, message: known.message };
  }

  #read(read: ShardRead): At<Value> | Promise<At<Value>> {
    const shard = this.#shards.shard(read.partition);
    if (shard === undefined)
      throw new InventoryError('NOT_SERVING', `this node holds no shard of partition ${read.partition}`);
    if (read.kind === 'status') return { position: shard.position, value: this.#shards.status(shard) };
    checkServing(shard);
    switch (read.kind) {
      case 'rows':
        return this.#rows(shard, read);
      case 'totals':
        return { position: shard.position, value: shard.head.totals };
      case 'storeTotals':
        return shard.storeTotals(read.storeId);
      case 'itemTotals':
        return shard.atSnapshot((reader) => itemTotals(reader, shard.keys, read));
      case 'storePage':
        return shard.atSnapshot((reader) => storePage(reader, shard.keys, read));
      case 'itemPage':
        return shard.atSnapshot((reader) => itemPage(reader, shard.keys, read));
    }
  }

  #rows(shard: Shard, read: ReadOf<'rows'>): At<Value> | Promise<At<Value>> {
    for (const key of read.keys) this.#checkPartition(key, read.partition);
    return shard.rows(read.keys);
  }

  #checkPartition(key: InventoryKey, partition: number): void {
    const expected = partitionOfKey(key, this.#shards.partitions);
    if (expected === partition) return;
    throw new InventoryError(
      'WRONG_PARTITION',
      `${key} belongs to partition ${expected} of ${this.#shards.partitions}, not to ${partition}`,
    );
  }
}

/** Throws unless the shard may answer. */
function checkServing(shard: Shard): void {
  const { state, partition } = shard;
  switch (state.name) {
    case 'serving':
    case 'draining':
      return;
    case 'opening':
    case 'restoring':
    case 'catching-up':
      throw new InventoryError('RESTORING', `partition ${partition} is ${state.name} on this node`);
    case 'closed':
      throw new InventoryError('NOT_SERVING', `this node holds no shard of partition ${partition}`);
    case 'refused':
      throw new InventoryError('NOT_SERVING', `partition ${partition} is refused on this node: ${state.reason}`);
  }
}
