// What a fixture has to dispose of, in the order it came: Node 20 has no AsyncDisposableStack yet.

/** Disposes in reverse order, each one even if another's disposal fails; then throws the first failure. */
export class Disposables implements AsyncDisposable {
  readonly #disposables: AsyncDisposable[] = [];

  use<Each extends AsyncDisposable>(disposable: Each): Each {
    this.#disposables.push(disposable);
    return disposable;
  }

  /** Has `dispose` called in place of a disposable's own method. */
  defer(dispose: () => Promise<void>): void {
    this.#disposables.push({ [Symbol.asyncDispose]: dispose });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const failures: unknown[] = [];
    for (let each = this.#disposables.pop(); each !== undefined; each = this.#disposables.pop()) {
      try {
        await each[Symbol.asyncDispose]();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
