import { describe, expect, test } from 'vitest';
import {
  type ErrorCode,
  INTERNAL_CODES,
  InventoryError,
  isErrorCode,
  PUBLIC_CODES,
  toInventoryError,
} from '../../schema/errors.ts';

/** What each code means to a client: whether to try again, and the status of REST. */
const PUBLIC: Record<keyof typeof PUBLIC_CODES, readonly [retryable: boolean, status: number]> = {
  BAD_USER_INPUT: [false, 400],
  CURSOR_INVALID: [false, 400],
  SCAN_LIMIT_EXCEEDED: [false, 400],
  COUNT_OUT_OF_RANGE: [false, 500],
  NOT_READY: [true, 503],
  OWNER_UNAVAILABLE: [true, 503],
  RESTORING: [true, 503],
  INCOMPLETE_RESULT: [true, 503],
  OVERLOADED: [true, 503],
  LOG_UNAVAILABLE: [true, 503],
  DEADLINE_EXCEEDED: [true, 504],
  INTERNAL: [false, 500],
};
const INTERNAL: readonly (keyof typeof INTERNAL_CODES)[] = [
  'NOT_SERVING',
  'WRONG_PARTITION',
  'TOPOLOGY_MISMATCH',
  'DECODE_FAILED',
  'BAD_CONFIG',
];

describe('the list of codes', () => {
  test('holds exactly the public ones, each with its retry and status', () => {
    expect(Object.keys(PUBLIC_CODES).toSorted()).toEqual(Object.keys(PUBLIC).toSorted());
    for (const [code, [retryable, status]] of Object.entries(PUBLIC)) {
      const error = new InventoryError(code as ErrorCode, 'x');
      expect([code, error.retryable, error.status]).toEqual([code, retryable, status]);
    }
  });

  test('holds exactly the internal ones, none of them public', () => {
    expect(Object.keys(INTERNAL_CODES).toSorted()).toEqual(INTERNAL.toSorted());
    expect(INTERNAL.filter((code) => Object.hasOwn(PUBLIC_CODES, code))).toEqual([]);
  });

  test('isErrorCode knows them and nothing else', () => {
    for (const code of [...Object.keys(PUBLIC), ...INTERNAL]) expect(isErrorCode(code)).toBe(true);
    for (const other of [
      '',
      'internal',
      'toString',
      '__proto__',
      'constructor',
      null,
      undefined,
      5,
      {},
      ['INTERNAL'],
    ]) {
      expect(isErrorCode(other)).toBe(false);
    }
  });
});

describe('InventoryError', () => {
  test('carries code, message, details, retry time and cause', () => {
    const cause = new Error('socket hang up');
    const error = new InventoryError('OWNER_UNAVAILABLE', 'node-2 is gone', {
      details: { partition: 3 },
      retryAfterMs: 50,
      cause,
    });
    expect(error).toMatchObject({
      name: 'InventoryError',
      code: 'OWNER_UNAVAILABLE',
      message: 'node-2 is gone',
      details: { partition: 3 },
      retryAfterMs: 50,
      cause,
    });
  });

  test('has no cause, no details and no retry time where none was given', () => {
    const error = new InventoryError('INTERNAL', 'x');
    expect('cause' in error).toBe(false);
    expect([error.details, error.retryAfterMs]).toEqual([{}, undefined]);
  });
});

describe('toInventoryError', () => {
  test('passes an InventoryError through', () => {
    const error = new InventoryError('RESTORING', 'x');
    expect(toInventoryError(error)).toBe(error);
  });

  test.each([new TypeError('password=hunter2'), 'password=hunter2', undefined, null, { password: 'hunter2' }])(
    'makes INTERNAL of anything else, its text in the cause only: %o',
    (thrown) => {
      const error = toInventoryError(thrown);
      expect(error.code).toBe('INTERNAL');
      expect(error.message).not.toContain('hunter2');
      expect(error.cause).toBe(thrown);
    },
  );
});
