// ARCHITECTURE.md stays true where a machine can tell: every error code has its row, every invariant its tests, and every
// file it names is there.

import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { INTERNAL_CODES, PUBLIC_CODES } from '../schema/errors.ts';

const ROOT = new URL('../', import.meta.url);
const text = readFileSync(new URL('ARCHITECTURE.md', ROOT), 'utf8');

describe('ARCHITECTURE.md', () => {
  it.each([...Object.keys(PUBLIC_CODES), ...Object.keys(INTERNAL_CODES)])('has a row for %s', (code) => {
    expect(text).toMatch(new RegExp(`^\\| \`${code}\``, 'm'));
  });

  it.each(Object.entries(PUBLIC_CODES))('gives %s its REST status', (code, { status }) => {
    const row = text.split('\n').find((line) => line.startsWith(`| \`${code}\``));
    expect(row).toMatch(new RegExp(`\\| ${status} +\\|$`));
  });

  it.each(['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9'])('names tests that enforce %s', (invariant) => {
    const row = text.split('\n').find((line) => line.startsWith(`| ${invariant} `));
    expect(row).toMatch(/`test\/[^`]+\.test\.ts`/);
  });

  it('names only files that exist', () => {
    const named = [...text.matchAll(/`((?:schema|cluster|node|gateway|test|tools|bench)\/[\w./-]+\.\w+)`/g)].map(
      ([, path]) => path,
    );
    expect(named.filter((path) => !existsSync(new URL(path ?? '', ROOT)))).toEqual([]);
  });
});
