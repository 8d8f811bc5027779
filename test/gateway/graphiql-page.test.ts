import { describe, expect, test } from 'vitest';
import { loadGraphiqlPage } from '../../gateway/graphiql-page.ts';
import { GatewayFixture } from '../support/gateway-fixture.ts';

const BROWSER = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };

describe('GraphiQL', () => {
  test('is what a browser gets at the endpoint, with all that it refers to', async () => {
    await using gateway = await GatewayFixture.start();
    const page = await gateway.get('/graphql', { headers: BROWSER });
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    const html = await page.text();
    const references = [...html.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url]) => url ?? '');
    expect(references.length).toBeGreaterThan(5);
    for (const reference of references.filter((url) => url !== 'data:,')) {
      expect(reference).not.toMatch(/^(?:[a-z]+:|\/\/)/i);
      const file = await gateway.get(new URL(reference, `${gateway.url}/graphql`).pathname);
      expect([reference, file.status]).toEqual([reference, 200]);
      expect((await file.arrayBuffer()).byteLength).toBeGreaterThan(20);
    }
  });

  test('loads nothing from elsewhere: no URL in its styles, and a policy that forbids it', () => {
    for (const [path, { body, headers }] of loadGraphiqlPage()) {
      const policy = headers['content-security-policy'] ?? '';
      expect(policy).toContain("default-src 'none'");
      expect(policy).not.toMatch(/https?:|\*|unsafe-eval/);
      if (!path.endsWith('.css')) continue;
      const css = body.toString();
      expect(css).not.toMatch(/@import/);
      for (const [, url] of css.matchAll(/url\(\s*["']?([^)"']{0,40})/g)) expect(url).toMatch(/^data:/);
    }
  });

  test('is sent again only when it has changed', async () => {
    await using gateway = await GatewayFixture.start();
    const first = await gateway.get('/graphiql/graphiql.js');
    const etag = first.headers.get('etag') ?? '';
    expect(first.headers.get('cache-control')).toBe('no-cache');
    expect((await first.arrayBuffer()).byteLength).toBeGreaterThan(100_000);
    const again = await gateway.get('/graphiql/graphiql.js', { headers: { 'if-none-match': etag } });
    expect([again.status, await again.text()]).toEqual([304, '']);
  });

  test('is not in the way of programs', async () => {
    await using gateway = await GatewayFixture.start();
    const headers = { accept: 'application/json', 'apollo-require-preflight': '1' };
    const answer = await gateway.get('/graphql?query={__typename}', { headers });
    expect(await answer.json()).toEqual({ data: { __typename: 'Query' } });
    expect((await gateway.get('/graphiql/../package.json')).status).toBe(404);
    expect((await gateway.get('/graphiql/%2e%2e/package.json')).status).toBe(404);
  });
});
