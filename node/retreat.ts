// Shards that this node no longer needs, between the decision to close them and the closing. In that time the node tells
// the others not to count on the shard (it is published as `draining`), while it is still there, warm.
//
// Hazard: an owner that drains or falls behind releases to whom it believes ready. Were a shard closed as soon as that
// looks safe, an owner with a view from a moment before could release to it, and nobody warm would be left. With the
// delay such a partition comes back into the plan while the shard still serves.

/** Far longer than a view takes to arrive. A shard is closed after this to twice this. */
export const RETREAT_DELAY_MS = 1_000;

export interface RetreatOptions {
  /** Closes the shard. A rejection reaches `onFailure`. */
  close(partition: number): Promise<void>;
  onFailure(error: unknown): void;
  /** There is something to publish, or to plan: take another step. */
  wake(): void;
  readonly now: () => number;
  /** Resolves after `ms`, or when the node stops. */
  pause(ms: number): Promise<void>;
}

export class Retreat {
  readonly #options: RetreatOptions;
  /** Partition → when it was first found to be of no use, without interruption since. */
  readonly #since = new Map<number, number>();
  readonly #closing = new Set<number>();
  #isAlarmSet = false;

  constructor(options: RetreatOptions) {
    this.#options = options;
  }

  /** Whether the partition's shard is to be closed soon. */
  has(partition: number): boolean {
    return this.#since.has(partition);
  }

  /** Takes in which shards are of no use now, all others being wanted, and closes those that have been long enough. */
  update(unneeded: ReadonlySet<number>): void {
    let changed = false;
    for (const partition of this.#since.keys()) {
      if (!unneeded.has(partition)) changed = this.#since.delete(partition);
    }
    const now = this.#options.now();
    for (const partition of unneeded) {
      const since = this.#since.get(partition);
      if (since === undefined) {
        this.#since.set(partition, now);
        changed = true;
      } else if (now >= since + RETREAT_DELAY_MS) {
        this.#close(partition);
      }
    }
    if (changed) this.#options.wake();
    if (this.#since.size > 0) void this.#setAlarm();
  }

  /** Closes the shard beside the loop: what it has under way takes its time. */
  #close(partition: number): void {
    if (this.#closing.has(partition)) return;
    this.#closing.add(partition);
    void this.#options
      .close(partition)
      .catch((error: unknown) => this.#options.onFailure(error))
      .finally(() => {
        this.#closing.delete(partition);
        this.#options.wake();
      });
  }

  /** One at a time, whatever the number of shards. */
  async #setAlarm(): Promise<void> {
    if (this.#isAlarmSet) return;
    this.#isAlarmSet = true;
    await this.#options.pause(RETREAT_DELAY_MS);
    this.#isAlarmSet = false;
    this.#options.wake();
  }
}
