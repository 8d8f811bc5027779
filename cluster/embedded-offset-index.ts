// From an offset to a place in a file at or before it. Sparse and bounded: when it is full, every second entry goes and
// the distance between entries doubles, so its size never depends on the size of the file.

const ENTRIES_MAX = 8_192;
const INTERVAL_BYTES = 32 * 1024;

export class OffsetIndex {
  #offsets: number[] = [];
  #positions: number[] = [];
  #intervalBytes = INTERVAL_BYTES;

  /** A frame with `offset` begins at `position`. Called in file order; most calls are not kept. */
  note(offset: number, position: number): void {
    const last = this.#positions.at(-1);
    if (last !== undefined && position - last < this.#intervalBytes) return;
    this.#offsets.push(offset);
    this.#positions.push(position);
    if (this.#offsets.length > ENTRIES_MAX) this.#thinOut();
  }

  /** Where to begin looking for `offset`: the start of a frame that lies at or before it. */
  floor(offset: number): number {
    let low = 0;
    let high = this.#offsets.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#offsets[middle] as number) <= offset) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : (this.#positions[low - 1] as number);
  }

  #thinOut(): void {
    this.#offsets = this.#offsets.filter((_, i) => i % 2 === 0);
    this.#positions = this.#positions.filter((_, i) => i % 2 === 0);
    this.#intervalBytes *= 2;
  }
}
