import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GenerationCache } from '../../node/generation-cache.ts';

describe('GenerationCache', () => {
  test('keeps everything, and says so, until more than its bound comes', () => {
    const cache = new GenerationCache<string, number>(4);
    for (const [i, key] of ['a', 'b', 'c', 'd'].entries()) cache.set(key, i);
    expect(cache.complete).toBe(true);
    expect(['a', 'b', 'c', 'd'].map((key) => cache.get(key))).toEqual([0, 1, 2, 3]);
    cache.set('e', 4);
    expect(cache.complete).toBe(false);
    expect(cache.get('e')).toBe(4);
  });

  test('entries that all fit never push each other out, whatever the order of look-ups and changes', () => {
    const cache = new GenerationCache<number, number>(10);
    for (let key = 0; key < 10; key++) cache.set(key, 0);
    for (let i = 0; i < 1_000; i++) {
      const key = (i * 7) % 10;
      expect(cache.get(key)).toBeDefined();
      cache.set(key, i);
      expect(cache.get((i * 3) % 10)).toBeDefined();
    }
    expect(cache.complete).toBe(true);
  });

  test('keeps what is used among many that are not', () => {
    const cache = new GenerationCache<number, number>(10);
    cache.set(-1, -1);
    for (let i = 0; i < 1_000; i++) {
      cache.set(i, i);
      expect(cache.get(-1)).toBe(-1);
    }
  });

  test('a bound of nothing still holds the newest entry', () => {
    const cache = new GenerationCache<string, number>(0);
    cache.set('a', 1);
    cache.set('b', 2);
    expect(cache.get('b')).toBe(2);
    expect(cache.size).toBeLessThanOrEqual(2);
  });

  test('a smaller bound takes hold as entries come', () => {
    const cache = new GenerationCache<number, number>(1_000);
    for (let i = 0; i < 1_000; i++) cache.set(i, i);
    cache.resize(10);
    for (let i = 1_000; i < 1_020; i++) cache.set(i, i);
    expect(cache.size).toBeLessThanOrEqual(10);
    expect(cache.complete).toBe(false);
  });

  test('under any use: never a stale value, never above its bound, and complete only while nothing is lost', () => {
    const step = fc.record({ kind: fc.constantFrom('get', 'set'), key: fc.nat(9) });
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 12 }), fc.array(step, { maxLength: 80 }), (bound, steps) => {
        const cache = new GenerationCache<number, number>(bound);
        const model = new Map<number, number>();
        for (const [i, { kind, key }] of steps.entries()) {
          if (kind === 'set') {
            cache.set(key, i);
            model.set(key, i);
          }
          const value = cache.get(key);
          const mayBeGone = kind === 'get' && !cache.complete;
          expect(mayBeGone ? [undefined, model.get(key)] : [model.get(key)]).toContain(value);
          expect(cache.size).toBeLessThanOrEqual(cache.complete ? model.size : bound);
        }
      }),
    );
  });
});
