// Which nodes should hold which partition: a pure function of the live nodes, so every process that sees the same nodes
// computes the same placement and nobody has to be asked.
//
// Rendezvous hashing gives each (partition, node) pair a score. Every partition wants the nodes of its highest scores;
// every node takes at most `loadBound` partitions and prefers its own highest scores. Because both sides rank a pair by
// the same score there is exactly one stable outcome (Gale and Shapley, 1962), whatever the order of input or of steps,
// and a node that comes or goes disturbs only pairs that prefer it or made way for it. Ranks are filled one after
// another, first every partition's owner, then every first standby, zones that the partition does not use yet first.
//
// Hazard: a bound of exactly partitions / nodes leaves no slack, so each move displaces others in a chain; LOAD_SLACK
// buys short chains for a slightly uneven load. test/schema/placement.test.ts pins balance, moves, zones, determinism.

import { murmur2 } from './partitioner.ts';

/** A live node, as placement sees it. */
export interface PlacementNode {
  readonly nodeId: string;
  /** Nodes of one zone fail together; null = unknown, all unknown ones count as one zone. */
  readonly zone: string | null;
}

export interface PlacementInput {
  /** In any order; node ids unique. */
  readonly nodes: readonly PlacementNode[];
  readonly partitions: number;
  /** Shards of one partition, the owner's included; ≥ 1. Fewer are placed where there are fewer nodes. */
  readonly replicas: number;
}

/** Index = partition; node ids by rank: the owner, then the standbys. Empty lists where there is no node. */
export type Placement = readonly (readonly string[])[];

/**
 * How far a load may exceed the even share, as a part of it. Measured over 600 random clusters of up to 64 partitions and
 * 12 nodes: a join moves 1.9 partitions more than its share on average, 7.4 at most; the fullest node has 1.11 times the
 * even share. More slack saves a move or two and costs balance (a quarter: 0.4 and 7.5, but 1.36 times).
 */
export const LOAD_SLACK = 1 / 8;

/** Most shards that one of `nodes` nodes gets of `shards`. */
export function loadBound(shards: number, nodes: number): number {
  const even = Math.ceil(shards / nodes);
  return even + Math.floor(even * LOAD_SLACK);
}

/** Where each partition's shards should be. Deterministic; the order of `nodes` does not matter. */
export function placeShards({ nodes, partitions, replicas }: PlacementInput): Placement {
  const sorted = nodes.toSorted((a, b) => compareIds(a.nodeId, b.nodeId));
  const field = new PlacementField(sorted, partitions);
  const ranks = Math.min(replicas, sorted.length);
  for (let rank = 0; rank < ranks; rank++) field.fillRank(loadBound(partitions * (rank + 1), sorted.length));
  return field.chosen.map((indexes) => indexes.flatMap((index) => sorted[index]?.nodeId ?? []));
}

/** `nodeIds` by falling score for `partition`: who comes next where none of the placed nodes can take it. */
export function rankNodes(partition: number, nodeIds: Iterable<string>): string[] {
  const mixed = mixPartition(partition);
  const scored = Array.from(nodeIds, (nodeId) => ({ nodeId, score: scorePair(hashNode(nodeId), mixed) }));
  return scored.sort((a, b) => b.score - a.score || compareIds(a.nodeId, b.nodeId)).map(({ nodeId }) => nodeId);
}

/** How many nodes a partition ranks at first; all of them are ranked only for the few that need more. */
const WISHES = 12;
/** Added to the score of a node whose zone the partition does not use yet; scores lie below it. */
const NEW_ZONE = 2 ** 32;
/** Weight of a node that holds the partition already. */
const HOLDS_IT = -1;

/** A node by its index, with how well it suits one partition. */
interface Candidate {
  readonly node: number;
  readonly weight: number;
}
/** Whom a partition asks, best first. */
interface Wishes {
  candidates: readonly Candidate[];
  /** How many of them have been asked. */
  asked: number;
}
/** A partition that a node has taken at the rank being filled. */
interface Taken {
  readonly partition: number;
  readonly weight: number;
}
/** One rank while it is being filled. */
interface Rank {
  /** Most shards per node, those of earlier ranks included. */
  readonly bound: number;
  /** Index = partition. */
  readonly wishes: readonly Wishes[];
  /** Index = node. */
  readonly taken: readonly Taken[][];
}

/** Nodes and partitions while ranks are being filled. */
class PlacementField {
  /** Index = partition; node indexes by rank. */
  readonly chosen: number[][];
  readonly #hashes: Int32Array;
  /** Index = node; a number per zone. */
  readonly #zones: Int32Array;
  /** Index = node; shards of the ranks filled so far. */
  readonly #loads: Int32Array;
  /** Index = node; weights for one partition, valid until the next one is weighed. */
  readonly #weights: Float64Array;

  constructor(nodes: readonly PlacementNode[], partitions: number) {
    this.chosen = Array.from({ length: partitions }, () => []);
    this.#hashes = Int32Array.from(nodes, ({ nodeId }) => hashNode(nodeId));
    const zones = [...new Set(nodes.map(({ zone }) => zone))];
    this.#zones = Int32Array.from(nodes, ({ zone }) => zones.indexOf(zone));
    this.#loads = new Int32Array(nodes.length);
    this.#weights = new Float64Array(nodes.length);
  }

  /** Gives every partition one more node, keeping each node's shards within `bound` where that is possible. */
  fillRank(bound: number): void {
    const wishes = this.chosen.map((_, partition) => ({ candidates: this.#candidates(partition, WISHES), asked: 0 }));
    const rank: Rank = { bound, wishes, taken: Array.from(this.#zones, () => []) };
    const refused: number[] = [];
    for (let first = 0; first < this.chosen.length; first++) {
      let partition: number | undefined = first;
      while (partition !== undefined) partition = this.#place(partition, rank, refused);
    }
    for (const [node, taken] of rank.taken.entries()) {
      for (const { partition } of taken) this.#choose(partition, node);
    }
    for (const partition of refused.sort((a, b) => a - b)) this.#choose(partition, this.#emptiestNode(partition));
  }

  /** Offers the partition to the next node it wishes for; the partition that has to look on because of that, if one has. */
  #place(partition: number, rank: Rank, refused: number[]): number | undefined {
    const wish = rank.wishes[partition];
    if (wish === undefined) return undefined;
    if (wish.asked === wish.candidates.length) wish.candidates = this.#candidates(partition, this.#hashes.length);
    const candidate = wish.candidates[wish.asked];
    if (candidate === undefined) {
      refused.push(partition);
      return undefined;
    }
    wish.asked += 1;
    const taken = rank.taken[candidate.node] ?? [];
    taken.push({ partition, weight: candidate.weight });
    return taken.length + (this.#loads[candidate.node] ?? 0) <= rank.bound ? undefined : dropLightest(taken);
  }

  #choose(partition: number, node: number): void {
    this.chosen[partition]?.push(node);
    this.#loads[node] = (this.#loads[node] ?? 0) + 1;
  }

  /** The node with the fewest shards among those without the partition: all of them are full, so one bound has to give. */
  #emptiestNode(partition: number): number {
    const free = this.#candidates(partition, this.#hashes.length).map(({ node }) => node);
    return free.reduce((best, node) => ((this.#loads[node] ?? 0) < (this.#loads[best] ?? 0) ? node : best));
  }

  /** Up to `count` nodes that do not hold the partition, the heaviest first. */
  #candidates(partition: number, count: number): Candidate[] {
    this.#weigh(partition);
    const weights = this.#weights;
    if (count < weights.length) return selectHeaviest(weights, count);
    const all = Array.from(weights, (weight, node) => ({ node, weight })).filter(({ weight }) => weight !== HOLDS_IT);
    return all.sort((a, b) => b.weight - a.weight || a.node - b.node);
  }

  /** Fills #weights for one partition. The loop over all pairs: kept free of calls and allocation. */
  #weigh(partition: number): void {
    const hashes = this.#hashes;
    const weights = this.#weights;
    const mixed = mixPartition(partition);
    for (let node = 0; node < hashes.length; node++) weights[node] = scorePair(hashes[node] ?? 0, mixed);
    const holders = this.chosen[partition] ?? [];
    if (holders.length === 0) return;
    const zones = this.#zones;
    const used = holders.map((holder) => zones[holder] ?? 0);
    for (let node = 0; node < hashes.length; node++) {
      if (!used.includes(zones[node] ?? 0)) weights[node] = (weights[node] ?? 0) + NEW_ZONE;
    }
    for (const holder of holders) weights[holder] = HOLDS_IT;
  }
}

/** The `count` heaviest, the heaviest first; those that weigh HOLDS_IT are left out. Of equal ones the first index goes first. */
function selectHeaviest(weights: Float64Array, count: number): Candidate[] {
  const best: Candidate[] = [];
  let least = HOLDS_IT;
  for (let node = 0; node < weights.length; node++) {
    const weight = weights[node] ?? HOLDS_IT;
    if (weight <= least) continue;
    let place = best.length;
    while (place > 0 && weight > (best[place - 1]?.weight ?? 0)) place -= 1;
    best.splice(place, 0, { node, weight });
    if (best.length > count) best.pop();
    if (best.length === count) least = best[count - 1]?.weight ?? HOLDS_IT;
  }
  return best;
}

/** Removes the pair that suits its node least; its partition. Of two equal ones the higher partition goes. */
function dropLightest(taken: Taken[]): number | undefined {
  let lightest = 0;
  for (const [i, { partition, weight }] of taken.entries()) {
    const other = taken[lightest];
    if (other === undefined) break;
    if (weight < other.weight || (weight === other.weight && partition > other.partition)) lightest = i;
  }
  return taken.splice(lightest, 1)[0]?.partition;
}

function compareIds(a: string, b: string): number {
  return a < b ? -1 : 1;
}

function hashNode(nodeId: string): number {
  return mixBits(murmur2(Buffer.from(nodeId, 'utf8')));
}

function mixPartition(partition: number): number {
  return mixBits((partition + GOLDEN_RATIO) | 0);
}

/** Score of a pair: a whole number in [0, 2^32), evenly spread and unrelated between pairs. */
function scorePair(nodeHash: number, mixedPartition: number): number {
  return mixBits((Math.imul(nodeHash ^ mixedPartition, GOLDEN_RATIO) + nodeHash) | 0) >>> 0;
}

const GOLDEN_RATIO = 0x9e3779b1 | 0;

/** MurmurHash3's 32-bit finaliser. */
function mixBits(bits: number): number {
  let h = bits ^ (bits >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
