// docker-compose.yml as tests read it: anchors and merges resolved, variables filled in.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';

export const PROJECT_FOLDER = fileURLToPath(new URL('../..', import.meta.url));
const COMPOSE_FILE = new URL('../../docker-compose.yml', import.meta.url);

/** What the tests look at of a service. */
export interface ComposeService {
  readonly image?: string;
  readonly build?: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly restart?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly stop_grace_period?: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
}

export interface ComposeFile {
  readonly services: Readonly<Record<string, ComposeService>>;
  readonly volumes: Readonly<Record<string, unknown>>;
}

/** The file with `${NAME:-default}` and `${NAME:?message}` replaced from `variables`; throws the message of a missing one. */
export function readComposeFile(variables: Readonly<Record<string, string>>): ComposeFile {
  const text = readFileSync(COMPOSE_FILE, 'utf8').replaceAll(
    /\$\{(\w+):([-?])([^}]*)\}/g,
    (_, name: string, kind: string, rest: string) => {
      const value = variables[name];
      if (value !== undefined && value !== '') return value;
      if (kind === '?') throw new Error(rest);
      return rest;
    },
  );
  return parse(text, { merge: true }) as ComposeFile;
}

/** The services that run our image, by name. */
export function stockroomServices({ services }: ComposeFile): [name: string, service: ComposeService][] {
  return Object.entries(services).filter(([, { image }]) => image === 'stockroom:local');
}
