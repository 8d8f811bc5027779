// The README against the code: its tables, its commands, its queries and its map say what is there.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, validate } from 'graphql';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { type Setting, shownDefault } from '../cluster/config.ts';
import { GATEWAY_TABLE } from '../gateway/config.ts';
import { createGraphqlSchema } from '../gateway/graphql-schema.ts';
import { createGatewayMetrics } from '../gateway/metrics.ts';
import { NODE_TABLE } from '../node/config.ts';
import { createNodeMetrics } from '../node/metrics.ts';
import { PROJECT_FOLDER } from './support/compose-file.ts';

const projectFile = (name: string): string => readFileSync(join(PROJECT_FOLDER, name), 'utf8');
const README = projectFile('README.md');

/** Rows of the table whose header's first cell is `heading`, cells trimmed. */
function tableRows(heading: string): string[][] {
  const lines = README.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} `));
  const length = lines.slice(start).findIndex((line) => !line.startsWith('|'));
  return lines.slice(start + 2, start + length).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

/** The fenced blocks of a language. */
function fencedBlocks(language: string): string[] {
  return [...README.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\`$`, 'gm'))].map(([, block]) => block ?? '');
}

/** What the README's row of a variable must say, from both tables. */
function expectedRow(env: string): string[] {
  const [ofNode, ofGateway] = [NODE_TABLE, GATEWAY_TABLE].map((table) =>
    Object.values(table as Record<string, Setting>).find((setting) => setting.env === env),
  );
  const any = (ofNode ?? ofGateway) as Setting;
  const readBy = ofNode === undefined ? 'gateway' : ofGateway === undefined ? 'node' : 'both';
  const differs = ofNode !== undefined && ofGateway !== undefined && ofNode.default !== ofGateway.default;
  const fallback = differs ? `${shownDefault(ofNode)} (node), ${shownDefault(ofGateway)} (gateway)` : shownDefault(any);
  return [`\`${env}\``, readBy, fallback, any.description];
}

/** Names of the metrics that a node and a gateway register. */
function registeredMetrics(): { node: string[]; gateway: string[] } {
  const [node, gateway] = [new Registry(), new Registry()];
  createNodeMetrics(node, {
    shards: () => [],
    ownedPartitions: () => 0,
    directoryConnected: () => true,
    logConnected: () => true,
  });
  createGatewayMetrics(gateway, {
    directoryConnected: () => true,
    routingTableAgeMs: () => undefined,
    requestsUnderWay: () => 0,
  });
  const namesOf = (registry: Registry): string[] => registry.getMetricsAsArray().map(({ name }) => name);
  return { node: namesOf(node), gateway: namesOf(gateway) };
}

describe('the README', () => {
  it('lists every environment variable as the tables in the code have it', () => {
    const names = [...new Set([...Object.values(NODE_TABLE), ...Object.values(GATEWAY_TABLE)].map(({ env }) => env))];
    expect(tableRows('variable')).toEqual(names.map(expectedRow));
  });

  it('lists every metric, and who has it', () => {
    const { node, gateway } = registeredMetrics();
    const listed = tableRows('metric').map(([name, from]) => [name?.replaceAll('`', ''), from]);
    const expected = [...new Set(['stockroom_build_info', ...node, ...gateway])].map((name) => {
      const both = name === 'stockroom_build_info' || (node.includes(name) && gateway.includes(name));
      return [name, both ? 'both' : node.includes(name) ? 'node' : 'gateway'];
    });
    expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(expected));
  });

  it('shows queries that the schema accepts', () => {
    const schema = createGraphqlSchema();
    const queries = fencedBlocks('graphql');
    expect(queries).not.toEqual([]);
    for (const query of queries) expect(validate(schema, parse(query))).toEqual([]);
  });

  it('names only scripts that exist, and the test command that the full check runs', () => {
    const { scripts } = JSON.parse(projectFile('package.json')) as { scripts: Record<string, string> };
    const used = [...README.matchAll(/npm (?:run )?(\w[\w:]*)/g)].map(([, name]) => name ?? '');
    const own = [...new Set(used)].filter((name) => name !== 'install');
    for (const name of own) expect(Object.keys(scripts)).toContain(name);
    expect(own).toEqual(expect.arrayContaining(['start', 'test', 'node', 'gateway', 'topics', 'produce']));
    expect(projectFile('.ci/run')).toMatch(/^npm test\b/m);
  });

  it('maps every source file, and none that is gone', () => {
    const mapped = [...README.matchAll(/^\| `([\w./-]+\.(?:ts|graphql))` /gm)].map(([, path]) => path ?? '');
    const folders = ['schema', 'cluster', 'node', 'gateway', 'tools'];
    const present = folders.flatMap((folder) =>
      readdirSync(join(PROJECT_FOLDER, folder))
        .filter((name) => /\.(ts|graphql)$/.test(name))
        .map((name) => `${folder}/${name}`),
    );
    expect([...mapped].sort()).toEqual([...present, 'start.ts'].sort());
  });

  it('links only to files that exist', () => {
    const links = [...README.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, path]) => path ?? '');
    expect(links).not.toEqual([]);
    for (const path of links) expect(existsSync(join(PROJECT_FOLDER, path))).toBe(true);
  });

  it('gives the article’s golden case as the arithmetic has it', () => {
    expect(README).toContain('200 − 20 − 100 = 80');
  });
});

describe('CHANGELOG.md', () => {
  it('is in Common Changelog form', () => {
    const headings = projectFile('CHANGELOG.md')
      .split('\n')
      .filter((line) => line.startsWith('#'));
    expect(headings[0]).toBe('# Changelog');
    for (const heading of headings.slice(1)) {
      expect(heading).toMatch(
        /^## \[(Unreleased|\d+\.\d+\.\d+)\]( - \d{4}-\d\d-\d\d)?$|^### (Changed|Added|Removed|Fixed)$/,
      );
    }
  });
});
