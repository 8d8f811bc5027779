import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  DedupeWindow,
  decodeSightings,
  encodeSightings,
  fingerprint,
  type Sighting,
} from '../../node/dedupe-window.ts';

const WINDOW = 100_000;

describe('DedupeWindow', () => {
  test.each([
    ['exactly the window before', WINDOW, 'duplicate'],
    ['one offset further back', WINDOW + 1, 'first'],
    ['just before', 1, 'duplicate'],
  ])('an id seen %s', (_, distance, verdict) => {
    for (const start of [0, 1, 7, WINDOW - 1, 5 * WINDOW + 3]) {
      const window = new DedupeWindow(WINDOW);
      expect(window.note(sighting('a', start))).toBe('first');
      expect(window.note(sighting('a', start + distance))).toBe(verdict);
    }
  });

  test('finds an id one window back wherever the generations were cut', () => {
    for (const filler of [1, 2, WINDOW / 2, WINDOW - 1]) {
      const window = new DedupeWindow(WINDOW);
      window.note(sighting('opens a generation', 0));
      window.note(sighting('a', filler));
      window.note(sighting('opens the next', WINDOW));
      expect(window.note(sighting('a', filler + WINDOW))).toBe('duplicate');
    }
  });

  test('a duplicate counts as a sighting too: a chain of retries is one event, however long', () => {
    const window = new DedupeWindow(WINDOW);
    expect(window.note(sighting('a', 0))).toBe('first');
    for (let i = 1; i < 20; i++) expect(window.note(sighting('a', i * WINDOW))).toBe('duplicate');
  });

  test('another count is a conflict, compared with the latest sighting', () => {
    const window = new DedupeWindow(WINDOW);
    expect(window.note(sighting('a', 0, 5))).toBe('first');
    expect(window.note(sighting('a', 1, 6))).toBe('conflict');
    expect(window.note(sighting('a', 2, 6))).toBe('duplicate');
    expect(window.note(sighting('a', 3, -1_000_000_000))).toBe('conflict');
    expect(window.note(sighting('a', 4, -1_000_000_000))).toBe('duplicate');
  });

  test('a pause in the log longer than the window forgets everything', () => {
    const window = new DedupeWindow(WINDOW);
    window.note(sighting('a', 10));
    expect(window.note(sighting('b', 10 + 10 * WINDOW))).toBe('first');
    expect(window.note(sighting('a', 11 + 10 * WINDOW))).toBe('first');
  });

  test('remembers every id of a full window and none beyond it, over several windows', () => {
    const window = new DedupeWindow(WINDOW);
    const verdicts = { first: 0, duplicate: 0, conflict: 0 };
    for (let offset = 0; offset < 3 * WINDOW; offset++) verdicts[window.note(sighting(`e${offset}`, offset))]++;
    // Ids of offsets 200,100 to 200,199 again, one window later; then those just out of reach.
    for (let i = 0; i < 100; i++) verdicts[window.note(sighting(`e${2 * WINDOW + 100 + i}`, 3 * WINDOW + 100 + i))]++;
    for (let i = 0; i < 100; i++) verdicts[window.note(sighting(`e${2 * WINDOW + i}`, 3 * WINDOW + 200 + i))]++;
    expect(verdicts).toEqual({ first: 3 * WINDOW + 100, duplicate: 100, conflict: 0 });
  });

  test('decides as a list of all sightings does, for ids that share slots and lanes too', () => {
    const id = fc.record({ high: fc.constantFrom(0, 1, -1), low: fc.constantFrom(0, 1, 64, -0x80000000) });
    const steps = fc.array(fc.record({ id, gap: fc.nat(6), count: fc.constantFrom(1, 2) }), { maxLength: 200 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30 }), steps, (length, list) => {
        const window = new DedupeWindow(length);
        const seen: Sighting[] = [];
        let offset = -1;
        for (const { id: fields, gap, count } of list) {
          offset += 1 + gap;
          const now = { ...fields, offset, count };
          expect(window.note(now)).toBe(verdictOf(seen, now, length));
          seen.push(now);
        }
      }),
    );
  });
});

describe('fingerprint', () => {
  test.each<[number, string, (i: number) => readonly [key: string, eventId: string]]>([
    [500_000, 'sequential ids of one key', (i) => ['10/CA', `evt-${String(i).padStart(7, '0')}`]],
    [500_000, 'one id of many keys', (i) => [`store-${i % 1_000}/item-${Math.floor(i / 1_000)}`, 'evt-0000001']],
    [
      2_000_000,
      'ids of keys',
      (i) => [`s${i % 10}/i${i % 1_000}`, `evt-${String(Math.floor(i / 7)).padStart(7, '0')}`],
    ],
  ])('tells apart %d %s, each 32-bit lane as well as chance does', (count, _, idOf) => {
    const lanes = { high: new Int32Array(count), low: new Int32Array(count), both: new Float64Array(count) };
    for (let i = 0; i < count; i++) {
      const { high, low } = fingerprint(...idOf(i));
      lanes.high[i] = high;
      lanes.low[i] = low;
      // 53 of the 64 bits: exact as a double, and a stricter test.
      lanes.both[i] = (high & 0x1fffff) * 2 ** 32 + (low >>> 0);
    }
    expect(repeatsIn(lanes.both)).toBe(0);
    // Birthdays: n²/2 pairs, each equal with a chance of 2^-32; six standard deviations either way.
    const expected = count ** 2 / 2 ** 33;
    for (const repeats of [repeatsIn(lanes.high), repeatsIn(lanes.low)]) {
      expect(Math.abs(repeats - expected)).toBeLessThan(6 * Math.sqrt(expected));
    }
  });

  test('does not run key and id together', () => {
    expect(fingerprint('a/b', 'c')).not.toEqual(fingerprint('a/bc', ''));
    expect(fingerprint('a/b1', '2')).not.toEqual(fingerprint('a/b', '12'));
  });

  test('is pinned: stored windows hold it', () => {
    expect(fingerprint('10/CA', 'evt-0000001')).toEqual({ high: -1_115_832_907, low: 1_582_746_069 });
  });
});

describe('stored sightings', () => {
  test('come back as they were, the extremes included', () => {
    const sightings = [
      { high: 0x7fffffff, low: -0x80000000, offset: 0, count: -1_000_000_000 },
      { high: -1, low: 0, offset: Number.MAX_SAFE_INTEGER, count: 1_000_000_000 },
    ];
    expect(decodeSightings(encodeSightings(sightings))).toEqual(sightings);
    expect(decodeSightings(encodeSightings([]))).toEqual([]);
  });

  test('a torn chunk is refused', () => {
    const bytes = encodeSightings([sighting('a', 1)]);
    expect(() => decodeSightings(bytes.subarray(0, 19))).toThrow(RangeError);
  });
});

function sighting(eventId: string, offset: number, count = 1): Sighting {
  return { ...fingerprint('10/CA', eventId), offset, count };
}

function verdictOf(seen: readonly Sighting[], now: Sighting, window: number): string {
  const before = seen.findLast(({ high, low }) => high === now.high && low === now.low);
  if (before === undefined || before.offset < now.offset - window) return 'first';
  return before.count === now.count ? 'duplicate' : 'conflict';
}

function repeatsIn(values: Int32Array | Float64Array): number {
  values.sort();
  let repeats = 0;
  for (let i = 1; i < values.length; i++) if (values[i] === values[i - 1]) repeats++;
  return repeats;
}
