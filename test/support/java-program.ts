// Runs the small Java programs beside this file, compiled once per content into the project's cache.
import { readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { runCommand } from './run-command.ts';
import { cached, contentHash } from './service-cache.ts';
import { service } from './services.ts';

const SOURCES = join(import.meta.dirname, 'java');
const COMPILE_TIMEOUT_MS = 120_000;
const RUN_TIMEOUT_MS = 90_000;

/** A class in test/support/java, by its file name without the ending. */
export type JavaProgram = 'PartitionerVectors' | 'RecordProducer';

export interface JavaOptions {
  readonly stdin?: string;
  readonly timeoutMs?: number;
}

/** Runs `program` to its end and resolves with its standard output; needs the service `java`. Throws when it fails. */
export async function runJava(
  program: JavaProgram,
  args: readonly string[],
  { stdin = '', timeoutMs = RUN_TIMEOUT_MS }: JavaOptions = {},
): Promise<string> {
  const { java, classPath } = service('java');
  const classes = await compile(program);
  const command = ['-cp', `${classes}${delimiter}${classPath}`, program, ...args];
  return (await runCommand(java, command, { input: stdin, timeoutMs })).stdout;
}

async function compile(program: JavaProgram): Promise<string> {
  const { javac, classPath } = service('java');
  const source = join(SOURCES, `${program}.java`);
  return cached({
    name: `java-${program}-${contentHash(await readFile(source, 'utf8'), classPath, javac)}`,
    attemptsMax: 1,
    build: async (folder) => {
      const args = ['--release', '17', '-encoding', 'UTF-8', '-cp', classPath, '-d', folder, source];
      await runCommand(javac, args, { timeoutMs: COMPILE_TIMEOUT_MS });
    },
  });
}
