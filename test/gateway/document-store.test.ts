import { parse } from 'graphql';
import { expect, test } from 'vitest';
import { DocumentStore } from '../../gateway/document-store.ts';

test('keeps the documents used last, up to the limit of characters', async () => {
  const store = new DocumentStore(30);
  const [a, b, c, large] = ['{ aaaaaaaa }', '{ bbbbbbbb }', '{ cccccccc }', `{ ${'x'.repeat(40)} }`].map((text) =>
    parse(text),
  );
  if (a === undefined || b === undefined || c === undefined || large === undefined) throw new Error('expected four');
  await store.set('a', a);
  await store.set('b', b);
  expect(await store.get('a')).toBe(a);
  await store.set('c', c);
  expect([await store.get('a'), await store.get('b'), await store.get('c')]).toEqual([a, undefined, c]);
  await store.set('c', c);
  expect(await store.get('a')).toBe(a);
  expect([await store.delete('c'), await store.delete('c')]).toEqual([true, false]);
  await store.set('large', large);
  expect([await store.get('large'), await store.get('a')]).toEqual([undefined, undefined]);
});
