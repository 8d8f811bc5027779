import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeFrame, encodeFrame, FRAME_HEAD_BYTES, type Frame, frameEnd } from '../../cluster/embedded-frame.ts';

const bytes = fc.option(fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array)));
const offset = fc.nat({ max: Number.MAX_SAFE_INTEGER - 1 });
const headers = fc.dictionary(
  fc.string({ maxLength: 10 }),
  fc.oneof(
    bytes.map((some) => some ?? Buffer.alloc(0)),
    fc.array(
      bytes.map((some) => some ?? Buffer.from('x')),
      { minLength: 2, maxLength: 3 },
    ),
  ),
  { minKeys: 1, maxKeys: 3 },
);
const record: fc.Arbitrary<Frame> = fc
  .record({ offset, timestamp: fc.maxSafeInteger(), key: bytes, value: bytes, headers: fc.option(headers) })
  .map(({ headers: some, ...rest }) => ({ kind: 'record', record: some === null ? rest : { ...rest, headers: some } }));
const frame: fc.Arbitrary<Frame> = fc.oneof(
  record,
  fc.record({ kind: fc.constant('gap' as const), offset, count: fc.nat() }),
  fc.record({ kind: fc.constant('start' as const), offset }),
);

describe('a frame', () => {
  it('is decoded as it was encoded, wherever it lies', () => {
    fc.assert(
      fc.property(frame, fc.nat({ max: 20 }), (written, position) => {
        const encoded = encodeFrame(written);
        const found = decodeFrame(Buffer.concat([Buffer.alloc(position, 7), encoded, Buffer.alloc(3)]), position);
        expect(found).toEqual({ ...written, bytes: encoded.length });
      }),
    );
  });

  it('asks for more wherever its bytes end early', () => {
    fc.assert(
      fc.property(frame, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (written, part) => {
        const encoded = encodeFrame(written);
        const length = Math.floor(part * encoded.length);
        const needed = length < FRAME_HEAD_BYTES ? FRAME_HEAD_BYTES : encoded.length;
        expect(decodeFrame(encoded.subarray(0, length), 0)).toEqual({ needed });
      }),
    );
  });

  it('is not taken for whole when any bit of its checksum or body is wrong', () => {
    fc.assert(
      fc.property(frame, fc.nat(), fc.nat({ max: 7 }), (written, place, bit) => {
        const encoded = encodeFrame(written);
        const damaged = 4 + (place % (encoded.length - 4));
        encoded.writeUInt8(encoded.readUInt8(damaged) ^ (1 << bit), damaged);
        expect(decodeFrame(encoded, 0)).toBeUndefined();
      }),
    );
  });

  it('ends behind its last offset', () => {
    expect(frameEnd({ kind: 'record', record: { offset: 4, timestamp: 0, key: null, value: null } })).toBe(5);
    expect(frameEnd({ kind: 'gap', offset: 4, count: 3 })).toBe(7);
    expect(frameEnd({ kind: 'start', offset: 4 })).toBe(4);
  });
});
