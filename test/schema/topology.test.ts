import { expect, test } from 'vitest';
import { type Topology, topologyMismatch } from '../../schema/topology.ts';

const TOPOLOGY: Topology = {
  incarnation: 'one',
  partitions: 16,
  partitioner: 'murmur2',
  keyCodec: 'storeId/itemId',
  countMax: 1_000_000_000,
  dedupeWindow: 100_000,
  rowVersion: 1,
  topics: { shipments: 'shipments', sales: 'sales' },
  startAt: 'zero',
};

/** One other value per field that processes must agree on; a field of Topology that is missing here does not compile. */
const OTHERS: { readonly [Field in keyof Omit<Topology, 'incarnation' | 'topics'>]: string | number } = {
  partitions: 12,
  partitioner: 'crc32',
  keyCodec: 'storeId:itemId',
  countMax: 5,
  dedupeWindow: 5,
  rowVersion: 2,
  startAt: 'log-start',
};

test('equal topologies agree, whatever their incarnations', () => {
  expect(topologyMismatch(TOPOLOGY, { ...TOPOLOGY, incarnation: 'two' })).toBeUndefined();
});

test.each(Object.entries(OTHERS))('a difference in %s is told, with both values', (field, other) => {
  const ours = TOPOLOGY[field as keyof typeof OTHERS];
  const mismatch = topologyMismatch(TOPOLOGY, { ...TOPOLOGY, [field]: other });
  expect(mismatch).toBe(`${field} is ${other} there and ${ours} here`);
});

test.each(['shipments', 'sales'] as const)('a difference in the topic of %s is told by its role', (role) => {
  const theirs = { ...TOPOLOGY, topics: { ...TOPOLOGY.topics, [role]: 'other' } };
  expect(topologyMismatch(TOPOLOGY, theirs)).toBe(`the ${role} topic is other there and ${role} here`);
});

test('all differences are told together', () => {
  const mismatch = topologyMismatch(TOPOLOGY, { ...TOPOLOGY, partitions: 12, rowVersion: 2 });
  expect(mismatch).toBe('partitions is 12 there and 16 here; rowVersion is 2 there and 1 here');
});
