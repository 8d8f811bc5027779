import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { addSums, decodeSum, encodeSum, subtractSums } from '../../schema/sum.ts';
import { anyBigInt, anySum } from '../support/arbitraries.ts';

const MAX = Number.MAX_SAFE_INTEGER;

describe('addSums and subtractSums', () => {
  test('are exact, and a number exactly where that is safe', () => {
    fc.assert(
      fc.property(anyBigInt, anyBigInt, (a, b) => {
        const [left, right] = [addSums(0, a), addSums(0, b)];
        for (const [sum, exact] of [
          [addSums(left, right), a + b],
          [subtractSums(left, right), a - b],
        ] as const) {
          expect(BigInt(sum)).toBe(exact);
          expect(typeof sum).toBe(exact >= -BigInt(MAX) && exact <= BigInt(MAX) ? 'number' : 'bigint');
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test('pass the edge of 2^53 and come back without rounding', () => {
    const beyond = addSums(addSums(MAX, 2), 1);
    expect(beyond).toBe(2n ** 53n + 2n);
    expect(subtractSums(beyond, 3)).toBe(MAX);
    expect(addSums(-MAX, -1)).toBe(-(2n ** 53n));
    expect(addSums(subtractSums(-MAX, 2), 2)).toBe(-MAX);
  });
});

describe('the JSON form', () => {
  test('brings every sum back through JSON', () => {
    fc.assert(
      fc.property(anySum, (sum) => {
        expect(decodeSum(JSON.parse(JSON.stringify(encodeSum(sum))))).toBe(sum);
      }),
    );
  });

  test.each([null, undefined, true, {}, [], '', '1', '-', '1e20', '0x10', '00000000000000001', '9'.repeat(40)])(
    'rejects %j',
    (value) => {
      expect(() => decodeSum(value)).toThrow(TypeError);
    },
  );

  test.each([1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY])('rejects the number %d', (value) => {
    expect(() => decodeSum(value)).toThrow(TypeError);
  });
});
