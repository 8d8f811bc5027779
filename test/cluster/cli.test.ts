import { describe, expect, it } from 'vitest';
import { asksForHelp, type FlagsTable, helpText, readArguments, refuseArguments } from '../../cluster/cli.ts';
import { REQUIRED } from '../../cluster/config.ts';
import { flag, integer } from '../../cluster/setting-parsers.ts';

const FLAGS = {
  events: {
    flag: '--events',
    value: 'N',
    parse: integer({ min: 1, max: 9 }),
    default: REQUIRED,
    description: 'How many.',
  },
  rate: {
    flag: '--rate',
    value: 'R',
    parse: integer({ min: 1, max: 9 }),
    default: null,
    shownDefault: 'no limit',
    description: 'How fast.',
  },
  dry: { flag: '--dry', value: null, parse: flag, default: 'false', description: 'Do nothing.' },
} as const satisfies FlagsTable;

const faultsOf = (...args: string[]): string[] => {
  try {
    readArguments(FLAGS, { args });
  } catch (error) {
    return (error as Error).message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
};

describe('arguments', () => {
  it('are read with values apart or joined, and with defaults', () => {
    expect(readArguments(FLAGS, { args: ['--events', '3'] })).toEqual({ events: 3, rate: undefined, dry: false });
    expect(readArguments(FLAGS, { args: ['--events=3', '--rate=2', '--dry'] })).toEqual({
      events: 3,
      rate: 2,
      dry: true,
    });
  });

  it.each([
    { args: [], faults: [/^--events: expected a whole number .*, got nothing$/] },
    { args: ['--events'], faults: [/^--events: expected a value, got none$/, /^--events: .*got nothing$/] },
    { args: ['--events', '0'], faults: [/^--events: .*got "0"$/] },
    { args: ['--events', '1', '--events', '2'], faults: [/^--events: expected once/] },
    { args: ['--events', '1', '--evnets', '2'], faults: [/^--evnets: no such option/, /^2: expected only options/] },
    { args: ['--events', '1', '--dry=yes'], faults: [/^--dry: expected without a value/] },
    { args: ['-e', '--events', '1', 'more'], faults: [/^-e: no such option/, /^more: expected only options/] },
  ])('$args are refused, every fault named', ({ args, faults }) => {
    expect(faultsOf(...args)).toEqual(faults.map((pattern) => expect.stringMatching(pattern)));
  });

  it('may be checked against each other', () => {
    const check = ({ events, rate }: { events?: number; rate?: number | undefined }): string[] =>
      (rate ?? 0) > (events ?? 0) ? ['--rate: expected at most --events'] : [];
    expect(() => readArguments(FLAGS, { args: ['--events', '1', '--rate', '2'], check })).toThrow(/at most --events/);
  });

  it('are refused by a program that takes none', () => {
    expect(() => refuseArguments(['--port', '4000'])).toThrow(/--port: no such option/);
    expect(() => refuseArguments([])).not.toThrow();
  });
});

describe('--help', () => {
  it('is asked for in two ways', () => {
    expect([asksForHelp(['--help']), asksForHelp(['-h']), asksForHelp(['--events', '1'])]).toEqual([true, true, false]);
  });

  it('lists options, environment and exit codes with their defaults', () => {
    const settings = {
      port: { env: 'HTTP_PORT', parse: integer({ min: 1, max: 9 }), default: '4', description: 'Port to listen on.' },
    };
    const text = helpText({
      usage: 'x [options]',
      summary: 'Does x.',
      flags: FLAGS,
      settings,
      exitCodes: { 0: 'Fine.' },
    });
    expect(text).toBe(`Usage: x [options]

Does x.

Options:
  --events N (required)
      How many.
  --rate R (default: no limit)
      How fast.
  --dry (default: false)
      Do nothing.

Environment:
  HTTP_PORT (default: 4)
      Port to listen on.

Exit codes:
  0  Fine.`);
  });
});
