import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { OffsetIndex } from '../../cluster/embedded-offset-index.ts';

it('points at a noted frame at or before the offset, never behind it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ gap: fc.nat({ max: 5 }), bytes: fc.integer({ min: 20, max: 40_000 }) }), { maxLength: 300 }),
      fc.nat({ max: 2_000 }),
      (frames, wanted) => {
        const index = new OffsetIndex();
        const starts = new Map<number, number>([[0, 0]]);
        let offset = 0;
        let position = 0;
        for (const { gap, bytes } of frames) {
          offset += gap;
          index.note(offset, position);
          if (!starts.has(position)) starts.set(position, offset);
          offset += 1;
          position += bytes;
        }
        const floor = index.floor(wanted);
        expect(starts.has(floor)).toBe(true);
        expect(floor === 0 || (starts.get(floor) as number) <= wanted).toBe(true);
      },
    ),
  );
});

it('stays close to the offset after it has been thinned out many times', () => {
  const index = new OffsetIndex();
  const frames = 200_000;
  const bytes = 32 * 1024;
  for (let i = 0; i < frames; i += 1) index.note(i, i * bytes);
  for (const offset of [0, 1, 77_777, 150_000, frames - 1]) {
    const behind = offset * bytes - index.floor(offset);
    expect(behind).toBeGreaterThanOrEqual(0);
    // 200,000 intervals in at most 8,192 entries: thinned out five times.
    expect(behind).toBeLessThan(2 * 32 * bytes);
  }
});
