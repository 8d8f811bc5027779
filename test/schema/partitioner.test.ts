import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { murmur2, partitionOf, partitionOfKey } from '../../schema/partitioner.ts';

interface Vector {
  readonly key: string;
  readonly partitions: number;
  readonly murmur2: number;
  readonly partition: number;
}

/** Made by Kafka's Java client: test/support/java/PartitionerVectors.java. */
const vectors = JSON.parse(
  readFileSync(new URL('partitioner-vectors.json', import.meta.url), 'utf8'),
) as readonly Vector[];

describe("the Java client's vectors", () => {
  test('cover a key beyond ASCII, the key of the Java example over 12 partitions, and negative hashes', () => {
    expect(vectors.length).toBeGreaterThan(1_000);
    expect(vectors).toContainEqual(expect.objectContaining({ key: '100:48069', partitions: 12 }));
    expect(vectors.some(({ key }) => /[^\0-\x7f]/.test(key))).toBe(true);
    expect(vectors.filter((vector) => vector.murmur2 < 0 && vector.partitions === 12).length).toBeGreaterThan(50);
  });

  test('are what murmur2 and partitionOf compute, from bytes and from text', () => {
    const ours = vectors.map(({ key, partitions }) => ({
      key,
      partitions,
      murmur2: murmur2(Buffer.from(key)),
      partition: partitionOf(Buffer.from(key), partitions),
    }));
    expect(ours).toEqual(vectors);
    for (const { key, partitions, partition } of vectors) expect(partitionOfKey(key, partitions)).toBe(partition);
  });
});

test('every key has a partition in range, whatever its bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 10_000 }), (bytes, partitions) => {
      const partition = partitionOf(bytes, partitions);
      expect(Number.isInteger(partition) && partition >= 0 && partition < partitions).toBe(true);
    }),
  );
});
