// A bounded cache of two generations: what is used moves to the young one while that has room; when a new entry finds it
// full, the old one is dropped. So entries that all fit never push each other out, however they are used. Two plain Maps
// keep a hit at one look-up, where a linked list of recency would cost several writes on the path that every event takes.
// Not a general cache: entries count, not bytes, because rows are all of one size.

/** Holds up to `entriesMax` entries, of those used lately; never fewer than half of it once so many came. */
export class GenerationCache<Key, Value> {
  #young = new Map<Key, Value>();
  #old = new Map<Key, Value>();
  #generationMax: number;
  #evicted = false;

  constructor(entriesMax: number) {
    this.#generationMax = Math.max(1, Math.floor(entriesMax / 2));
  }

  /** True while every entry ever set is still here. */
  get complete(): boolean {
    return !this.#evicted;
  }

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(key: Key): Value | undefined {
    const young = this.#young.get(key);
    if (young !== undefined) return young;
    const old = this.#old.get(key);
    if (old !== undefined && this.#young.size < this.#generationMax) this.#move(key, old);
    return old;
  }

  set(key: Key, value: Value): void {
    if (this.#young.has(key)) this.#young.set(key, value);
    else if (this.#young.size >= this.#generationMax && this.#old.has(key)) this.#old.set(key, value);
    else this.#move(key, value);
  }

  /** Changes the bound; takes effect as entries come. */
  resize(entriesMax: number): void {
    this.#generationMax = Math.max(1, Math.floor(entriesMax / 2));
  }

  #move(key: Key, value: Value): void {
    if (this.#young.size >= this.#generationMax) {
      this.#evicted ||= this.#old.size > 0;
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#old.delete(key);
    this.#young.set(key, value);
  }
}
