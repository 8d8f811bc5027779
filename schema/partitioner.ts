// Which partition a key belongs to: exactly what the Java client's default partitioner computes for a keyed record.
// Source: org.apache.kafka.common.utils.Utils (murmur2, toPositive) and BuiltInPartitioner.partitionForKey.
// Pinned by test/schema/partitioner-vectors.json, which the Java client generated.
// Hazard: power-of-two partition counts hide a missing sign mask, so the vectors also hold 12 and 100.

const SEED = 0x9747b28c | 0;
const M = 0x5bd1e995;
const R = 24;

/** Partition of a key's UTF-8 bytes among `partitions` (≥ 1). */
export function partitionOf(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fffffff) % partitions;
}

/** Partition of a key given as text. */
export function partitionOfKey(key: string, partitions: number): number {
  return partitionOf(Buffer.from(key, 'utf8'), partitions);
}

/** Java's 32-bit murmur2, as a signed integer. */
export function murmur2(bytes: Uint8Array): number {
  const length = bytes.length;
  let h = SEED ^ length;
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    let k =
      byteAt(bytes, i) | (byteAt(bytes, i + 1) << 8) | (byteAt(bytes, i + 2) << 16) | (byteAt(bytes, i + 3) << 24);
    k = Math.imul(k, M);
    k ^= k >>> R;
    k = Math.imul(k, M);
    h = Math.imul(h, M) ^ k;
  }
  return finish(mixTail(h, bytes, i));
}

function mixTail(h: number, bytes: Uint8Array, start: number): number {
  const rest = bytes.length - start;
  if (rest === 0) return h;
  let mixed = h;
  if (rest === 3) mixed ^= byteAt(bytes, start + 2) << 16;
  if (rest >= 2) mixed ^= byteAt(bytes, start + 1) << 8;
  return Math.imul(mixed ^ byteAt(bytes, start), M);
}

function finish(h: number): number {
  let mixed = h ^ (h >>> 13);
  mixed = Math.imul(mixed, M);
  return mixed ^ (mixed >>> 15);
}

function byteAt(bytes: Uint8Array, index: number): number {
  return bytes[index] ?? 0;
}
