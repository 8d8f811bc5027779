import { describe, expect, test } from 'vitest';
import { countAnswer, errorAnswer, parseCountPath, toPublicError } from '../../cluster/rest-count.ts';
import { InventoryError } from '../../schema/errors.ts';
import type { InventoryKey } from '../../schema/inventory-key.ts';
import { emptyRow } from '../../schema/inventory-row.ts';

const KEY = '10/CA' as InventoryKey;
const SERVED = { nodeId: 'n1', forwarded: false };

describe('a path of the REST read', () => {
  test.each([
    ['/inventory/stores/10/items/CA/count', '10/CA'],
    ['/inventory/stores/%31%30/items/C%41/count', '10/CA'],
    ['/inventory/stores/10/items/CA', undefined],
    ['/inventory/stores/10/items/CA/count/', undefined],
    ['/inventory/stores/10/extra/items/CA/count', undefined],
    ['//inventory/stores/10/items/CA/count', undefined],
  ])('%s names %s', (path, key) => {
    expect(parseCountPath(path)).toBe(key);
  });

  test.each(['%2F', '..', '%2e%2e', '%00', '%', '%E4', '', 'x'.repeat(65)])('refuses the id %j', (id) => {
    const refused = expect.objectContaining({ code: 'BAD_USER_INPUT' });
    expect(() => parseCountPath(`/inventory/stores/${id}/items/CA/count`)).toThrow(refused);
    expect(() => parseCountPath(`/inventory/stores/10/items/${id}/count`)).toThrow(refused);
  });
});

describe('an answer', () => {
  test('names who served it, and whether it was forwarded', () => {
    const here = countAnswer(KEY, { ...emptyRow(), received: 3, sold: 5 }, SERVED);
    expect(here).toMatchObject({ status: 200, body: '{"storeId":"10","itemId":"CA","count":-2}' });
    expect(here.headers).toMatchObject({ 'stockroom-served-by': 'n1' });
    expect(here.headers).not.toHaveProperty('stockroom-forwarded');
    const there = countAnswer(KEY, null, { nodeId: 'n2', forwarded: true });
    expect(there.status).toBe(404);
    expect(there.headers).toMatchObject({ 'stockroom-served-by': 'n2', 'stockroom-forwarded': '1' });
  });

  test('never rounds a count', () => {
    const { status, body } = countAnswer(KEY, { ...emptyRow(), received: 2n ** 53n }, SERVED);
    expect([status, JSON.parse(body)]).toEqual([500, expect.objectContaining({ code: 'COUNT_OUT_OF_RANGE' })]);
  });

  test('says when to try again, in whole seconds, only where that may help', () => {
    const retryAfter = (error: InventoryError): string | undefined => errorAnswer(error).headers['retry-after'];
    expect(retryAfter(new InventoryError('OWNER_UNAVAILABLE', 'gone'))).toBe('1');
    expect(retryAfter(new InventoryError('OVERLOADED', 'full', { retryAfterMs: 2_100 }))).toBe('3');
    expect(retryAfter(new InventoryError('BAD_USER_INPUT', 'no'))).toBeUndefined();
    expect(errorAnswer(new InventoryError('DEADLINE_EXCEEDED', 'late')).status).toBe(504);
  });

  test('shows neither internal codes nor what was not foreseen', () => {
    for (const error of [new InventoryError('WRONG_PARTITION', 'inner details'), new Error('inner details')]) {
      const { status, body } = errorAnswer(error);
      expect(status).toBe(500);
      expect(body).toContain('INTERNAL');
      expect(body).not.toContain('inner details');
      expect(toPublicError(error).cause).toBe(error);
    }
  });
});
