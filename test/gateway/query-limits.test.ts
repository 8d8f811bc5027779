import { buildSchema, getIntrospectionQuery, parse, validate } from 'graphql';
import { describe, expect, test } from 'vitest';
import {
  ALIASES_MAX,
  DEPTH_MAX,
  NESTING_MAX,
  nestsTooDeep,
  queryLimitsRule,
  TOKENS_MAX,
} from '../../gateway/query-limits.ts';
import { GatewayFixture } from '../support/gateway-fixture.ts';

const schema = buildSchema('type Query { me: Query leaf: Int of(ids: [Int]): Int }');

function faults(query: string): string[] {
  return validate(schema, parse(query), [queryLimitsRule]).map(({ message }) => message);
}

/** `depth` levels of selections. */
function nested(depth: number, inner = 'leaf'): string {
  return `${'{ me '.repeat(depth - 1)}{ ${inner} }${' }'.repeat(depth - 1)}`;
}

describe('depth', () => {
  test('counts fields, and neither fragments nor the operation', () => {
    expect(faults(nested(DEPTH_MAX))).toEqual([]);
    expect(faults(nested(DEPTH_MAX + 1))).toEqual([expect.stringContaining(`${DEPTH_MAX + 1} levels deep`)]);
    expect(faults(nested(DEPTH_MAX, '... on Query { ... { leaf } }'))).toEqual([]);
    expect(faults(nested(DEPTH_MAX, '...F') + 'fragment F on Query { leaf }')).toEqual([]);
    expect(faults(nested(DEPTH_MAX, '...F') + 'fragment F on Query { me { leaf } }')).toHaveLength(1);
  });

  test('lets tools introspect, and no deeper than they do', () => {
    expect(faults(getIntrospectionQuery())).toEqual([]);
    const ofTypes = `{ __schema { types { ${'ofType { '.repeat(14)} name ${'} '.repeat(14)} } } }`;
    expect(faults(ofTypes)).toEqual([expect.stringContaining('introspection')]);
  });
});

describe('aliases', () => {
  const aliases = (count: number): string => Array.from({ length: count }, (_, i) => `a${i}: leaf`).join(' ');

  test('are counted over fragments, each as often as it is spread', () => {
    expect(faults(`{ ${aliases(ALIASES_MAX)} }`)).toEqual([]);
    expect(faults(`{ ${aliases(ALIASES_MAX + 1)} }`)).toEqual([expect.stringContaining(`${ALIASES_MAX + 1} aliases`)]);
    const half = ALIASES_MAX / 2;
    expect(faults(`{ x: me { ...F } y: me { ...F } } fragment F on Query { ${aliases(half - 1)} }`)).toEqual([]);
    expect(faults(`{ x: me { ...F } y: me { ...F } } fragment F on Query { ${aliases(half)} }`)).toHaveLength(1);
  });

  test('are counted in no time where fragments multiply without end', () => {
    const doubling = Array.from(
      { length: 200 },
      (_, i) => `fragment F${i} on Query { a: me { ...F${i + 1} } b: me { ...F${i + 1} } }`,
    );
    expect(faults(`{ ...F0 } ${doubling.join(' ')} fragment F200 on Query { leaf }`)).not.toEqual([]);
  });

  test('of fragments that spread each other in a circle end', () => {
    expect(faults('{ ...A } fragment A on Query { ...B } fragment B on Query { ...A x: leaf }')).toEqual([]);
  });
});

describe('nesting of brackets', () => {
  test('is bounded, of any kind and mixed', () => {
    const mixed = '{[('.repeat(NESTING_MAX);
    expect(nestsTooDeep(mixed.slice(0, NESTING_MAX))).toBe(false);
    expect(nestsTooDeep(mixed.slice(0, NESTING_MAX + 1))).toBe(true);
    expect(nestsTooDeep('{ a } '.repeat(1_000))).toBe(false);
  });

  test.each([
    ['in a string', `{ a(b: "${'{'.repeat(500)}") }`, false],
    ['in a block string', `{ a(b: """${'{'.repeat(500)} " \\""" ${'{'.repeat(500)}""") }`, false],
    ['in a comment', `{ # ${'{'.repeat(500)}\n a }`, false],
    ['closed in a string only', '{ a(b: "}")'.repeat(200), true],
    ['closed in a block string only', '{ a(b: """}""")'.repeat(200), true],
    ['closed in a comment only', '{ # }\n a '.repeat(200), true],
    ['behind a string with an escaped quote', `{ a(b: "\\"") ${'{ a '.repeat(200)}`, true],
    ['behind a string that the line ends', `{ a(b: " \n ${'{ a '.repeat(200)}`, true],
    ['behind an empty string', `{ a(b: "") ${'{ a '.repeat(200)}`, true],
  ])('%s', (_, text, expected) => {
    expect(nestsTooDeep(text)).toBe(expected);
  });
});

describe('whatever a client writes', () => {
  test.each([
    ['5,000 levels of selections', `${'{ totals '.repeat(5_000)}${'} '.repeat(5_000)}`],
    ['5,000 levels of lists', `{ inventories(keys: ${'['.repeat(5_000)}${']'.repeat(5_000)}) { id } }`],
    ['5,000 levels of objects', `{ inventories(keys: ${'{a:'.repeat(5_000)}1${'}'.repeat(5_000)}) { id } }`],
    ['a million brackets', '{'.repeat(1_000_000)],
    ['too many tokens', `{ ${'__typename '.repeat(TOKENS_MAX + 1)} }`],
    ['as many fields as tokens', `{ totals { ${'items '.repeat(TOKENS_MAX - 6)} } }`],
    ['too many aliases', `{ ${Array.from({ length: 101 }, (_, i) => `a${i}: __typename`).join(' ')} }`],
    ['too deep a query', `{ store(id: 1) ${'{ items { nodes { store '.repeat(5)} { id } ${'} } } '.repeat(5)} }`],
    ['a circle of fragments', '{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }'],
    ['no GraphQL', 'SELECT 1'],
    ['nothing', ''],
    ['a NUL', '{ \0 }'],
    ['a lone surrogate', '{ \ud800 }'],
  ])('%s is refused, and the gateway goes on', async (_, query) => {
    await using gateway = await GatewayFixture.start();
    const refused = await gateway.query(query);
    expect(refused.status).toBe(400);
    expect(refused.errors.length).toBeGreaterThan(0);
    for (const { extensions } of refused.errors) {
      expect(['GRAPHQL_PARSE_FAILED', 'GRAPHQL_VALIDATION_FAILED', 'BAD_REQUEST']).toContain(extensions['code']);
      expect(extensions).not.toHaveProperty('stacktrace');
    }
    expect((await gateway.query('{ totals { items } }')).data).toEqual({ totals: { items: 0 } });
    expect(gateway.logLines).toEqual([]);
  });

  test('variables nested without end are refused', async () => {
    await using gateway = await GatewayFixture.start();
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const response = await gateway.get('/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"query":"query($s:ID!){inventory(storeId:$s,itemId:1){id}}","variables":{"s":${deep}}}`,
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] });
  });
});
