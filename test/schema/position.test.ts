import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { advance, covers, mergePositions, type Position, START } from '../../schema/position.ts';
import { anyRole } from '../support/arbitraries.ts';

const anyPosition: fc.Arbitrary<Position> = fc.record({ shipments: fc.nat(5), sales: fc.nat(5) });

test('covers orders positions per topic: reflexive, transitive, antisymmetric, the start below all', () => {
  fc.assert(
    fc.property(anyPosition, anyPosition, anyPosition, (a, b, c) => {
      expect(covers(a, a)).toBe(true);
      expect(covers(a, START)).toBe(true);
      expect(covers(a, c) || !(covers(a, b) && covers(b, c))).toBe(true);
      expect(covers(a, b) && covers(b, a)).toBe(a.shipments === b.shipments && a.sales === b.sales);
    }),
  );
});

test('neither of two positions that are ahead in different topics covers the other', () => {
  const [ahead, behind] = [
    { shipments: 2, sales: 1 },
    { shipments: 1, sales: 2 },
  ];
  expect([covers(ahead, behind), covers(behind, ahead)]).toEqual([false, false]);
});

test('merge is the least position that covers both', () => {
  fc.assert(
    fc.property(anyPosition, anyPosition, anyPosition, (a, b, other) => {
      const merged = mergePositions(a, b);
      expect([covers(merged, a), covers(merged, b)]).toEqual([true, true]);
      expect(covers(other, merged)).toBe(covers(other, a) && covers(other, b));
    }),
  );
});

test('advance moves one topic and leaves the other', () => {
  fc.assert(
    fc.property(anyPosition, anyRole, fc.nat(), (position, role, nextOffset) => {
      const other = role === 'sales' ? 'shipments' : 'sales';
      expect(advance(position, role, nextOffset)).toEqual({ [role]: nextOffset, [other]: position[other] });
    }),
  );
});
