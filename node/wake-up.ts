/** A flag that one loop waits for: set any number of times, seen once. */
export class WakeUp {
  #isSet = false;
  #resolve: (() => void) | undefined;

  wake(): void {
    this.#isSet = true;
    this.#resolve?.();
  }

  /** Resolves at once if `wake` was called since the last time, else with the next call. One waiter at a time. */
  async wait(): Promise<void> {
    if (!this.#isSet) await new Promise<void>((resolve) => (this.#resolve = resolve));
    this.#isSet = false;
  }
}
