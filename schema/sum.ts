// Sums that stay exact past 2^53. A sum is a JavaScript number while it is a safe integer and a bigint outside that
// range, never a rounded number: a fold must be able to come back into range exactly (I3), while an answer out of range
// is COUNT_OUT_OF_RANGE. The bigint side is reached by nobody in practice, so the number path stays monomorphic.

/** A whole number: `number` if and only if it is within ±(2^53−1). */
export type Sum = number | bigint;

/** Exact a + b, normalised. */
export function addSums(a: Sum, b: Sum): Sum {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  return normaliseSum(BigInt(a) + BigInt(b));
}

/** Exact a − b, normalised. */
export function subtractSums(a: Sum, b: Sum): Sum {
  if (typeof a === 'number' && typeof b === 'number') {
    const difference = a - b;
    if (Number.isSafeInteger(difference)) return difference;
  }
  return normaliseSum(BigInt(a) - BigInt(b));
}

function normaliseSum(sum: bigint): Sum {
  const asNumber = Number(sum);
  return Number.isSafeInteger(asNumber) ? asNumber : sum;
}

/** The sum as JSON carries it: a number within the safe range, else decimal text. */
export function encodeSum(sum: Sum): number | string {
  return typeof sum === 'number' ? sum : sum.toString();
}

/** Inverse of `encodeSum`. Throws a TypeError on anything else. */
export function decodeSum(value: unknown): Sum {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  if (typeof value === 'string' && /^-?[1-9][0-9]{15,30}$/.test(value)) return normaliseSum(BigInt(value));
  throw new TypeError(`expected a sum, got ${JSON.stringify(value)}`);
}
