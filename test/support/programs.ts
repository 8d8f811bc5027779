// Finds the programs that the system tests use and that the machine must bring along: Java, Maven, kcat, Chromium.
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { type Availability, reasonOf, unavailable } from './availability.ts';
import { runCommand } from './run-command.ts';

/** Kafka 4 brokers and tools need it; so do the test programs' records and text blocks. */
const JAVA_MAJOR_MIN = 17;
const VERSION_TIMEOUT_MS = 30_000;

/** The absolute path of the first of `names` found on PATH. */
export function findOnPath(...names: readonly string[]): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
}

/** The program named by environment variable `variable`, else the first of `names` on PATH. */
export function findProgram(variable: string, ...names: readonly string[]): Availability<{ command: string }> {
  const chosen = process.env[variable];
  if (chosen !== undefined && chosen !== '') {
    const command = resolve(chosen);
    return isExecutable(command)
      ? { available: true, command }
      : unavailable(`${variable}=${chosen} is not an executable file`);
  }
  const command = findOnPath(...names);
  return command === undefined
    ? unavailable(`no ${names.join(', ')} on the PATH; install it or set ${variable}`)
    : { available: true, command };
}

export function findKcat(): Availability<{ command: string }> {
  return findProgram('KCAT_BIN', 'kcat');
}

export function findChromium(): Availability<{ command: string }> {
  return findProgram('CHROMIUM_BIN', 'chromium', 'chromium-browser', 'google-chrome');
}

/** Reads and checks compose files; an engine is not needed for that. */
export function findDockerCompose(): Availability<{ command: string }> {
  return findProgram('DOCKER_COMPOSE_BIN', 'docker-compose');
}

/** The Java runtime of JAVA_HOME, else of the PATH, and the version it states. */
export async function findJava(): Promise<Availability<{ java: string; major: number }>> {
  const java = findJavaTool('java');
  if (java === undefined) {
    const searched = process.env['JAVA_HOME'] ? `in JAVA_HOME=${process.env['JAVA_HOME']}` : 'on the PATH';
    return unavailable(`no java ${searched}; a JDK ${JAVA_MAJOR_MIN} or later is needed`);
  }
  try {
    const { stdout } = await runCommand(java, ['--version'], { timeoutMs: VERSION_TIMEOUT_MS });
    const major = Number(/\d+/.exec(stdout)?.[0]);
    return major >= JAVA_MAJOR_MIN
      ? { available: true, java, major }
      : unavailable(`${java} is version ${major}; ${JAVA_MAJOR_MIN} or later is needed`);
  } catch (error) {
    return unavailable(`${java} does not run: ${reasonOf(error)}`);
  }
}

/** The Java runtime with its compiler: a JRE alone cannot build the test programs. */
export async function findJdk(): Promise<Availability<{ java: string; javac: string }>> {
  const runtime = await findJava();
  if (!runtime.available) return runtime;
  const javac = findJavaTool('javac');
  return javac === undefined
    ? unavailable(`${runtime.java} has no javac beside it: a JDK is needed, not only a runtime`)
    : { available: true, java: runtime.java, javac };
}

function findJavaTool(name: string): string | undefined {
  const home = process.env['JAVA_HOME'];
  if (home === undefined || home === '') return findOnPath(name);
  const tool = join(home, 'bin', name);
  return isExecutable(tool) ? tool : undefined;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
