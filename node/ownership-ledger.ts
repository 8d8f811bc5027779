// What this node owns by its own knowledge, which is newer than any view: a view may have been on its way while this node
// acquired or released. Epochs tell which of the two is newer. Every change is told exactly once, with its reason.
//
// Epochs rise with each acquisition of a partition within one incarnation, so: a view that shows this node as owner under
// an epoch that it has given up is old; one that shows somebody else under a higher epoch than ours is news.

import type { DirectoryView } from '../cluster/directory.ts';
import type { ReleaseReason } from './ownership-plan.ts';

/**
 * How a node came to own a partition: `first` (nobody did before), `hand-over` (from a live node), `take-over` (from one
 * that is gone), `re-acquired` (it was ours before).
 */
export type GainReason = 'first' | 'hand-over' | 'take-over' | 're-acquired';
/** Beside what this node decides itself: its session ended, the directory came back empty, or somebody else acquired. */
export type LossReason = ReleaseReason | 'session-lost' | 'new-incarnation' | 'fenced' | 'stopped';
export type MoveReason = GainReason | LossReason;

/** One change of ownership of this node. `epoch` is the one gained or given up. */
export interface Move {
  readonly partition: number;
  readonly epoch: number;
  readonly kind: 'gained' | 'lost';
  readonly reason: MoveReason;
}

export class OwnershipLedger {
  readonly #nodeId: string;
  readonly #onMove: (move: Move) => void;
  readonly #owned = new Map<number, number>();
  /** The epoch under which this node last gave the partition up. */
  readonly #givenUp = new Map<number, number>();
  /** Partition → who owned it last, as far as this node has seen. */
  readonly #lastOwners = new Map<number, string>();

  constructor(nodeId: string, onMove: (move: Move) => void) {
    this.#nodeId = nodeId;
    this.#onMove = onMove;
  }

  /** What this node owns; partition → epoch. */
  get owned(): ReadonlyMap<number, number> {
    return this.#owned;
  }

  /** Who owned the partition last, as far as this node has seen. */
  lastOwnerOf(partition: number): string | undefined {
    return this.#lastOwners.get(partition);
  }

  /** The partition was acquired under `epoch`; the same as before changes nothing. */
  gain(partition: number, epoch: number, nodes: DirectoryView['nodes']): void {
    if (this.#owned.get(partition) === epoch) return;
    const reason = this.#gainReason(partition, nodes);
    this.#owned.set(partition, epoch);
    this.#lastOwners.set(partition, this.#nodeId);
    this.#onMove({ partition, epoch, kind: 'gained', reason });
  }

  /** The partition is ours no more; nothing happens if it was not. */
  lose(partition: number, reason: LossReason): void {
    const epoch = this.#owned.get(partition);
    if (epoch === undefined) return;
    this.#owned.delete(partition);
    this.#givenUp.set(partition, epoch);
    this.#onMove({ partition, epoch, kind: 'lost', reason });
  }

  loseAll(reason: LossReason): void {
    for (const partition of this.#owned.keys()) this.lose(partition, reason);
  }

  /** Another incarnation: what was owned is not any more, and epochs start again. */
  startOver(): void {
    this.loseAll('new-incarnation');
    this.#givenUp.clear();
  }

  /** Takes in what `view` knows better, e.g. an acquisition whose answer never came. */
  reconcile(view: DirectoryView): void {
    for (const [partition, { nodeId, epoch }] of view.owners) {
      const mine = this.#owned.get(partition) ?? 0;
      if (nodeId === this.#nodeId) {
        if (epoch > mine && epoch > (this.#givenUp.get(partition) ?? 0)) this.gain(partition, epoch, view.nodes);
      } else {
        if (epoch > mine) this.lose(partition, 'fenced');
        this.#lastOwners.set(partition, nodeId);
      }
    }
  }

  #gainReason(partition: number, nodes: DirectoryView['nodes']): GainReason {
    const last = this.#lastOwners.get(partition);
    if (last === undefined) return 'first';
    if (last === this.#nodeId) return 're-acquired';
    return nodes.has(last) ? 'hand-over' : 'take-over';
  }
}
