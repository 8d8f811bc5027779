import { expect, test } from 'vitest';
import { openMemoryStore } from '../../node/memory-store.ts';
import { shardStoreSuite } from '../suites/shard-store.suite.ts';

shardStoreSuite('memory', () => {
  const store = openMemoryStore();
  return Promise.resolve({ store, [Symbol.asyncDispose]: () => store.close() });
});

test('a write that the hook fails changes nothing, and later ones work', async () => {
  const fault = { armed: true };
  const store = openMemoryStore({
    beforeWrite: (size) => {
      if (fault.armed) throw new Error(`disk full at ${size} operations`);
    },
  });
  const write = (): Promise<void> => store.write((batch) => batch.put(Buffer.from('a'), Buffer.from('1')));
  await expect(write()).rejects.toThrow('disk full at 1 operations');
  expect(await store.getMany([Buffer.from('a')])).toEqual([null]);
  fault.armed = false;
  await write();
  expect(await store.getMany([Buffer.from('a')])).toEqual([Buffer.from('1')]);
});

test('a read held back by the hook is of the moment at which it is let go; a snapshot is not held back', async () => {
  let letGo = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const store = openMemoryStore({ beforeRead: () => gate });
  const reading = store.getMany([Buffer.from('a')]);
  const snapshot = store.snapshot();
  await store.write((batch) => batch.put(Buffer.from('a'), Buffer.from('1')));
  expect(await snapshot.getMany([Buffer.from('a')])).toEqual([null]);
  letGo();
  expect(await reading).toEqual([Buffer.from('1')]);
});
