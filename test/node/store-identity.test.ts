import { describe, expect, test } from 'vitest';
import { openMemoryStore } from '../../node/memory-store.ts';
import { checkStoreIdentity, readStoreIdentity, writeStoreIdentity } from '../../node/store-identity.ts';
import { ShardKeys } from '../../node/shard-keys.ts';
import type { Topology } from '../../schema/topology.ts';

const TOPOLOGY: Topology = {
  incarnation: 'incarnation-1',
  partitions: 16,
  partitioner: 'murmur2',
  keyCodec: 'storeId/itemId',
  countMax: 1_000_000_000,
  dedupeWindow: 100_000,
  rowVersion: 1,
  topics: { shipments: 'shipments', sales: 'sales' },
  startAt: 'zero',
};
const STORED = { applicationId: 'inventory', topology: TOPOLOGY };
const MINE = { ...STORED, dataDir: '/var/lib/stockroom' };

test('a store says whose it is, and a new one says nothing', async () => {
  const store = openMemoryStore();
  expect(await readStoreIdentity(store)).toBeUndefined();
  await writeStoreIdentity(store, STORED);
  expect(await readStoreIdentity(store)).toEqual(STORED);
  await writeStoreIdentity(store, { ...STORED, topology: { ...TOPOLOGY, incarnation: 'incarnation-2' } });
  expect((await readStoreIdentity(store))?.topology.incarnation).toBe('incarnation-2');
});

test('its record lies in no shard, not in that of the last partition either', async () => {
  const store = openMemoryStore();
  await writeStoreIdentity(store, STORED);
  for (const partition of [0, 0xfffe]) {
    expect(await store.scan({ ...new ShardKeys(partition).all, limit: 10 })).toEqual([]);
  }
});

describe('a store', () => {
  test.each([undefined, STORED, { ...STORED, topology: { ...TOPOLOGY, incarnation: 'another' } }])(
    'that is new, ours, or ours of an earlier incarnation is taken',
    (stored) => {
      expect(() => checkStoreIdentity(stored, MINE)).not.toThrow();
    },
  );

  test.each<[string, Partial<Topology>]>([
    ['partitions is 12 there and 16 here', { partitions: 12 }],
    ['dedupeWindow is 5 there', { dedupeWindow: 5 }],
    ['rowVersion is 2 there', { rowVersion: 2 }],
    ['countMax is 7 there', { countMax: 7 }],
    ['startAt is log-start there and zero here', { startAt: 'log-start' }],
    ['the sales topic is tills there and sales here', { topics: { shipments: 'shipments', sales: 'tills' } }],
  ])('is refused where %s', (fault, other) => {
    const check = (): void => checkStoreIdentity({ ...STORED, topology: { ...TOPOLOGY, ...other } }, MINE);
    expect(check).toThrow(expect.objectContaining({ code: 'BAD_CONFIG' }));
    expect(check).toThrow(`DATA_DIR /var/lib/stockroom cannot be used: ${fault}`);
  });

  test('of another application is refused, both named', () => {
    const check = (): void => checkStoreIdentity({ ...STORED, applicationId: 'prices' }, MINE);
    expect(check).toThrow('it belongs to APPLICATION_ID prices, not inventory');
  });
});
