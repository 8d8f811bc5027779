// Which event ids the last `window` offsets of one topic of one partition carried..
// A record is a duplicate when a decodable record of the same key and event id lies within `window` offsets before it,
// applied or not: a pure function of the log, so that every replica decides alike (I3), whatever the batches were.
//
// Memory is 16 bytes per remembered id at a load of at most 3/4, because a busy node remembers millions of them: the id
// is kept as a 64-bit fingerprint (two ids of one window share one with a chance below 1 in 10^14) and offsets are
// relative to their generation. Two generations, each at most `window` offsets long, make forgetting free.
//
// Stored chunk, one per applied batch that carried ids: entries of 20 bytes: fingerprint (2 × i32), offset (f64), count (i32).

const ENTRY_BYTES = 20;
const SLOTS_MIN = 64;
const LOAD_MAX = 0.75;

/** An id as it was seen. The lanes of its fingerprint are signed: V8 keeps such integers without allocating. */
export interface Sighting {
  readonly high: number;
  readonly low: number;
  readonly offset: number;
  readonly count: number;
}

/** `duplicate` seen before; `conflict` seen before with another count; `first` new within the window. */
export type DedupeVerdict = 'first' | 'duplicate' | 'conflict';

/** Remembers ids of one topic of one partition; offsets must come in order. */
export class DedupeWindow {
  readonly #window: number;
  #current: SightingTable | undefined;
  #previous: SightingTable | undefined;

  constructor(window: number) {
    this.#window = window;
  }

  /** Notes the id at this offset and says whether it is new. */
  note(sighting: Sighting): DedupeVerdict {
    const before = this.#find(sighting);
    this.#tableFor(sighting.offset).set(sighting);
    if (before === undefined) return 'first';
    return before === sighting.count ? 'duplicate' : 'conflict';
  }

  /** Count of the latest sighting within the window, if any. */
  #find(sighting: Sighting): number | undefined {
    const oldest = sighting.offset - this.#window;
    return this.#current?.find(sighting, oldest) ?? this.#previous?.find(sighting, oldest);
  }

  #tableFor(offset: number): SightingTable {
    if (this.#current === undefined || offset - this.#current.base >= this.#window) {
      this.#previous = this.#current;
      this.#current = new SightingTable(offset);
    }
    return this.#current;
  }
}

/** Open addressing with linear probing; entries are never removed, the whole table is. */
class SightingTable {
  readonly base: number;
  #mask = SLOTS_MIN - 1;
  #used = 0;
  #highs = new Int32Array(SLOTS_MIN);
  #lows = new Int32Array(SLOTS_MIN);
  /** Offset − base + 1; 0 = free. */
  #places = new Uint32Array(SLOTS_MIN);
  #counts = new Int32Array(SLOTS_MIN);

  constructor(base: number) {
    this.base = base;
  }

  find(id: { readonly high: number; readonly low: number }, oldestOffset: number): number | undefined {
    const slot = this.#slotOf(id.high, id.low);
    const place = this.#places[slot] ?? 0;
    if (place === 0 || this.base + place - 1 < oldestOffset) return undefined;
    return this.#counts[slot];
  }

  set(sighting: Sighting): void {
    if (this.#used >= (this.#mask + 1) * LOAD_MAX) this.#grow();
    this.#write(sighting.high, sighting.low, sighting.offset - this.base + 1, sighting.count);
  }

  #write(high: number, low: number, place: number, count: number): void {
    const slot = this.#slotOf(high, low);
    if (this.#places[slot] === 0) this.#used++;
    this.#highs[slot] = high;
    this.#lows[slot] = low;
    this.#places[slot] = place;
    this.#counts[slot] = count;
  }

  #slotOf(high: number, low: number): number {
    let slot = low & this.#mask;
    while (this.#places[slot] !== 0 && (this.#highs[slot] !== high || this.#lows[slot] !== low))
      slot = (slot + 1) & this.#mask;
    return slot;
  }

  #grow(): void {
    const [highs, lows, places, counts] = [this.#highs, this.#lows, this.#places, this.#counts];
    const slots = places.length * 2;
    this.#mask = slots - 1;
    this.#used = 0;
    this.#highs = new Int32Array(slots);
    this.#lows = new Int32Array(slots);
    this.#places = new Uint32Array(slots);
    this.#counts = new Int32Array(slots);
    for (let i = 0; i < places.length; i++) {
      if (places[i] !== 0) this.#write(highs[i] ?? 0, lows[i] ?? 0, places[i] ?? 0, counts[i] ?? 0);
    }
  }
}

/** 64-bit fingerprint of (key, event id): two multiply-and-xor lanes, finished by murmur3's mixer. */
export function fingerprint(key: string, eventId: string): { high: number; low: number } {
  let high = 0x9e3779b9;
  let low = 0x85ebca6b;
  const length = key.length + 1 + eventId.length;
  for (let i = 0; i < length; i++) {
    const code = charAt(key, eventId, i);
    high = (Math.imul(high ^ code, 0x01000193) + (high >>> 15)) | 0;
    low = Math.imul(low ^ code, 0x5bd1e995) ^ (low >>> 13);
  }
  return { high: mix(high ^ low), low: mix(low + Math.imul(high, 0x27d4eb2f)) };
}

/** Code of character `i` of the key, a space and the event id, without joining them. */
function charAt(key: string, eventId: string, i: number): number {
  if (i === key.length) return 0x20;
  return i < key.length ? key.charCodeAt(i) : eventId.charCodeAt(i - key.length - 1);
}

function mix(lane: number): number {
  let h = Math.imul(lane ^ (lane >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Stored form of a batch's sightings. */
export function encodeSightings(sightings: readonly Sighting[]): Buffer {
  const bytes = Buffer.allocUnsafe(sightings.length * ENTRY_BYTES);
  sightings.forEach((sighting, i) => {
    const at = i * ENTRY_BYTES;
    bytes.writeInt32LE(sighting.high, at);
    bytes.writeInt32LE(sighting.low, at + 4);
    bytes.writeDoubleLE(sighting.offset, at + 8);
    bytes.writeInt32LE(sighting.count, at + 16);
  });
  return bytes;
}

/** Inverse of `encodeSightings`. Throws a RangeError on a torn chunk. */
export function decodeSightings(bytes: Buffer): Sighting[] {
  if (bytes.length % ENTRY_BYTES !== 0)
    throw new RangeError(`expected dedupe entries of ${ENTRY_BYTES} bytes, got ${bytes.length}`);
  return Array.from({ length: bytes.length / ENTRY_BYTES }, (_, i) => {
    const at = i * ENTRY_BYTES;
    const high = bytes.readInt32LE(at);
    const low = bytes.readInt32LE(at + 4);
    return { high, low, offset: bytes.readDoubleLE(at + 8), count: bytes.readInt32LE(at + 16) };
  });
}
