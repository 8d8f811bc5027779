// Settings of a process: a table of environment variables, read once, frozen, all faults reported together. The tables are
// also what `--help` prints, and the README's table is checked against them (test/readme.test.ts).
//
// Only main.ts files hand `process.env` in. An empty variable counts as unset, as compose files pass it on.

import { InventoryError } from '../schema/errors.ts';
import { Fault, type Parse } from './setting-parsers.ts';

/** As `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The default of a setting that must be given. */
export const REQUIRED: unique symbol = Symbol('required');

/** What both a variable and a command-line option have. */
export interface Field {
  readonly parse: Parse<unknown>;
  /** Parsed like a given text; null: without the setting the value is undefined. */
  readonly default: string | null | typeof REQUIRED;
  /** How documents word a default that depends on the machine or on other settings. */
  readonly shownDefault?: string;
  /** One sentence for `--help` and the README. */
  readonly description: string;
  /** Never shown, neither in a fault nor in a log. */
  readonly secret?: true;
}

/** One environment variable. */
export interface Setting extends Field {
  readonly env: string;
}

/** By name of the value. */
export type SettingsTable = Readonly<Record<string, Setting>>;

export type FieldValue<F extends Field> =
  Exclude<ReturnType<F['parse']>, Fault> | (F['default'] extends null ? undefined : never);
export type FieldValues<Fields extends Readonly<Record<string, Field>>> = {
  readonly [Name in keyof Fields]: FieldValue<Fields[Name]>;
};

/** A rule between several settings: faults in words, each beginning with a name. Values that are faulty are missing. */
export type CrossCheck<Fields extends Readonly<Record<string, Field>>> = (
  values: Partial<FieldValues<Fields>>,
) => readonly string[];

/** Parses every variable of `table`. Throws one BAD_CONFIG that lists every fault. */
export function readSettings<Table extends SettingsTable>(
  table: Table,
  { env, check }: { env: Environment; check: CrossCheck<Table> },
): FieldValues<Table> {
  const { values, faults } = readFields(table, {
    nameOf: ({ env: name }) => name,
    textOf: ({ env: name }) => env[name],
  });
  const all = [...faults, ...check(values)];
  if (all.length > 0) throw badConfig(all);
  return frozen(values as FieldValues<Table>);
}

/** `settings` with all that lies in it, never to change again. */
export function frozen<Settings extends object>(settings: Settings): Settings {
  for (const part of Object.values(settings)) if (typeof part === 'object' && part !== null) frozen(part);
  return Object.freeze(settings);
}

/** One BAD_CONFIG for all `faults`, one line each. */
export function badConfig(faults: readonly string[]): InventoryError {
  const heading = faults.length === 1 ? 'bad configuration' : `bad configuration, ${faults.length} faults`;
  return new InventoryError('BAD_CONFIG', [`${heading}:`, ...faults.map((fault) => `  ${fault}`)].join('\n'));
}

/** Values and faults of all `fields`; a faulty one has no value. `textOf` gives undefined or '' for an unset one. */
export function readFields<Fields extends Readonly<Record<string, Field>>>(
  fields: Fields,
  source: {
    readonly nameOf: (field: Fields[keyof Fields]) => string;
    readonly textOf: (field: Fields[keyof Fields]) => string | undefined;
  },
): { values: Partial<FieldValues<Fields>>; faults: string[] } {
  const values: Record<string, unknown> = {};
  const faults: string[] = [];
  for (const [name, field] of Object.entries(fields) as [string, Fields[keyof Fields]][]) {
    const text = source.textOf(field);
    const value = readField(field, text);
    if (value instanceof Fault) faults.push(`${source.nameOf(field)}: ${describeFault(value, field, text)}`);
    else values[name] = value;
  }
  return { values: values as Partial<FieldValues<Fields>>, faults };
}

/** The settings in effect as name → text, for the log line at start; secrets only as given or not. */
export function shownSettings(table: SettingsTable, env: Environment): Record<string, string> {
  return Object.fromEntries(
    Object.values(table).flatMap((setting) => {
      const text = env[setting.env];
      if (text === undefined || text === '') {
        return typeof setting.default === 'string' && !setting.secret ? [[setting.env, setting.default]] : [];
      }
      return [[setting.env, setting.secret ? '(secret)' : text]];
    }),
  );
}

/** How documents show a field's default: its text, its wording, `required`, or nothing. */
export function shownDefault(field: Field): string {
  if (field.default === REQUIRED) return 'required';
  return field.shownDefault ?? field.default ?? '';
}

function readField(field: Field, text: string | undefined): unknown {
  if (text !== undefined && text !== '') return field.parse(text);
  if (field.default === REQUIRED) return new Fault(expectedBy(field), 'nothing');
  return field.default === null ? undefined : field.parse(field.default);
}

/** What a required field's parser expects, learnt from its answer to an empty text. */
function expectedBy(field: Field): string {
  const answer = field.parse('');
  return answer instanceof Fault ? answer.expected : 'a value';
}

const SHOWN_CHARS_MAX = 120;

function describeFault({ expected, found }: Fault, field: Field, text: string | undefined): string {
  if (text === undefined || text === '')
    return `expected ${expected}, got ${found ?? `its default ${shownDefault(field)}`}`;
  const shown = field.secret ? '(a secret, not shown)' : quote(text);
  return `expected ${expected}, got ${shown}${found === undefined || field.secret ? '' : ` (${found})`}`;
}

function quote(text: string): string {
  return JSON.stringify(text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text);
}
