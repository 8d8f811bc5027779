// GraphiQL as a browser gets it from `npm start`: every file from this machine, a query by mouse and keyboard. What the
// page asks of anywhere else is recorded and never sent.
import { chromium, type Page } from 'playwright-core';
import { expect, it } from 'vitest';
import { startAllInOne } from '../support/all-in-one.ts';
import { eventually } from '../support/eventually.ts';
import { describeWithServices, service } from '../support/services.ts';
import { tempDir } from '../support/temp-dir.ts';

const BROWSER_FLAGS = [
  '--no-sandbox',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-default-apps',
  '--disable-domain-reliability',
  '--disable-sync',
  '--no-first-run',
  '--no-pings',
  // What the record below could not see would not get a name resolved either.
  '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
];
const PAGE_TIMEOUT_MS = 60_000;
const QUERY = '{ inventory(storeId: "10", itemId: "CA") { id received } totals { coverage { complete } } }';

/** Lets requests to `origin` through and nothing else; everything asked for, by where it would have gone. */
async function confine(page: Page, origin: string): Promise<{ here: string[]; elsewhere: string[] }> {
  const requests = { here: [] as string[], elsewhere: [] as string[] };
  await page.context().route('**/*', (route) => {
    const url = route.request().url();
    const isHere = url.startsWith(`${origin}/`);
    requests[isHere ? 'here' : 'elsewhere'].push(url);
    return isHere ? route.continue() : route.abort();
  });
  return requests;
}

describeWithServices('GraphiQL', ['chromium'], () => {
  it('loads without the outside world and runs a query', async () => {
    await using folder = await tempDir('graphiql');
    await using running = await startAllInOne({ dataDir: folder.path });
    const browser = await chromium.launch({ executablePath: service('chromium').command, args: BROWSER_FLAGS });
    try {
      const page = await browser.newPage();
      page.setDefaultTimeout(PAGE_TIMEOUT_MS);
      const complaints: string[] = [];
      page.on('console', (message) => {
        if (message.type() === 'error') complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
      const requests = await confine(page, running.gateway.url);

      await page.goto(`${running.gateway.url}/graphql`, { timeout: PAGE_TIMEOUT_MS });
      const editor = page.locator('.graphiql-query-editor .CodeMirror');
      await editor.click();
      await page.keyboard.press('ControlOrMeta+A');
      await page.keyboard.insertText(QUERY);
      await page.getByRole('button', { name: /^Execute query/ }).click();
      const answer = page.locator('.graphiql-response .CodeMirror');
      const text = await eventually(
        'the answer is shown',
        async () => {
          const shown = await answer.innerText();
          return shown.includes('"complete"') ? shown : undefined;
        },
        { timeoutMs: PAGE_TIMEOUT_MS },
      );
      expect(text).toContain('"10/CA"');
      expect(text).toMatch(/"received": [1-9]/);
      expect(text).toMatch(/"complete": true/);
      expect(text).not.toContain('"errors"');

      await page.getByRole('button', { name: 'Show Documentation Explorer' }).click();
      await page.getByText('A GraphQL schema provides a root type').waitFor();
      await page.getByRole('link', { name: 'Query', exact: true }).click();
      await page.getByRole('link', { name: 'inventories', exact: true }).waitFor();

      expect(requests.elsewhere).toEqual([]);
      expect(requests.here.length).toBeGreaterThan(5);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
    }
  });
});
