// Command lines: `--help` for every program, and the options of the tools, read by the rules of config.ts.

import { parseArgs } from 'node:util';
import {
  badConfig,
  type CrossCheck,
  type Field,
  type FieldValues,
  readFields,
  type SettingsTable,
  shownDefault,
} from './config.ts';

/** One option of a tool. */
export interface Flag extends Field {
  /** With its dashes: `--events`. */
  readonly flag: `--${string}`;
  /** What `--help` calls its value, e.g. `N`; null for a switch, which reads as `true`. */
  readonly value: string | null;
}
export type FlagsTable = Readonly<Record<string, Flag>>;

/** What `--help` says of a program. */
export interface Help {
  readonly usage: string;
  readonly summary: string;
  readonly flags?: FlagsTable;
  readonly settings: SettingsTable;
  /** What each exit code means. */
  readonly exitCodes: Readonly<Record<number, string>>;
}

/** Whether the arguments ask for help. */
export function asksForHelp(args: readonly string[]): boolean {
  return args.includes('--help') || args.includes('-h');
}

/** Parses the arguments of a tool. Throws one BAD_CONFIG that lists every fault. */
export function readArguments<Table extends FlagsTable>(
  table: Table,
  { args, check = () => [] }: { readonly args: readonly string[]; readonly check?: CrossCheck<Table> },
): FieldValues<Table> {
  const { given, faults: malformed } = tokenize(Object.values(table), args);
  const { values, faults } = readFields(table, { nameOf: ({ flag }) => flag, textOf: ({ flag }) => given.get(flag) });
  const all = [...malformed, ...faults, ...check(values)];
  if (all.length > 0) throw badConfig(all);
  return values as FieldValues<Table>;
}

/** Arguments of a program that takes none. Throws BAD_CONFIG. */
export function refuseArguments(args: readonly string[]): void {
  readArguments({}, { args });
}

/** The text that `--help` prints. */
export function helpText({ usage, summary, flags = {}, settings, exitCodes }: Help): string {
  const options = Object.values(flags).map((each) => {
    return describe(each.value === null ? each.flag : `${each.flag} ${each.value}`, each);
  });
  const variables = Object.values(settings).map((each) => describe(each.env, each));
  const codes = Object.entries(exitCodes).map(([code, meaning]) => `  ${code}  ${meaning}`);
  return [
    `Usage: ${usage}`,
    summary,
    ...(options.length === 0 ? [] : [['Options:', ...options].join('\n')]),
    ['Environment:', ...variables].join('\n'),
    ['Exit codes:', ...codes].join('\n'),
  ].join('\n\n');
}

function describe(name: string, field: Field): string {
  const fallback = shownDefault(field);
  const note = fallback === '' ? '' : fallback === 'required' ? ' (required)' : ` (default: ${fallback})`;
  return `  ${name}${note}\n      ${field.description}`;
}

/** Flag → text; unknown, repeated and incomplete ones as faults. */
function tokenize(flags: readonly Flag[], args: readonly string[]): { given: Map<string, string>; faults: string[] } {
  const options = Object.fromEntries(
    flags.map(({ flag, value }) => [flag.slice(2), { type: value === null ? 'boolean' : 'string' } as const]),
  );
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true });
  const given = new Map<string, string>();
  const faults: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') faults.push(`${token.value}: expected only options, see --help`);
    if (token.kind !== 'option') continue;
    const known = flags.find(({ flag }) => flag === token.rawName);
    if (known === undefined) faults.push(`${token.rawName}: no such option, see --help`);
    else if (given.has(known.flag)) faults.push(`${known.flag}: expected once, got twice`);
    else if (known.value === null && token.value !== undefined) faults.push(`${known.flag}: expected without a value`);
    else if (known.value !== null && token.value === undefined)
      faults.push(`${known.flag}: expected a value, got none`);
    else given.set(known.flag, token.value ?? 'true');
  }
  return { given, faults };
}
