// `npm start` as a process: the command of package.json itself, on ports and in a folder of the test's own.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type StartedProcess, startProcess } from './child-process.ts';
import { PROJECT_FOLDER } from './compose-file.ts';
import { isFreePort, freePort } from './free-port.ts';
import { HttpService } from './http-service.ts';

/** The gateway's port and one for each node behind it. */
const PORTS = 4;
const PORT_PROBES_MAX = 50;
const START_TIMEOUT_MS = 60_000;
/** The last line of the banner. */
const BANNER_END = /^Ctrl-C stops it\.$/;

export interface AllInOneOptions {
  readonly dataDir: string;
  /** Such as `--no-demo`. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface AllInOneProcess extends AsyncDisposable {
  readonly process: StartedProcess;
  readonly gateway: HttpService;
  readonly nodes: readonly HttpService[];
}

/** Resolves once the banner stands there. */
export async function startAllInOne(options: AllInOneOptions): Promise<AllInOneProcess> {
  const port = await freePortRun();
  const started = launchAllInOne({ ...options, env: { HTTP_PORT: String(port), ...options.env } });
  try {
    await started.waitForLine(BANNER_END, START_TIMEOUT_MS);
  } catch (error) {
    await started[Symbol.asyncDispose]();
    throw error;
  }
  return {
    process: started,
    gateway: new HttpService(port),
    nodes: Array.from({ length: PORTS - 1 }, (_, index) => new HttpService(port + index + 1)),
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  };
}

/** Starts the process and does not wait. */
export function launchAllInOne({ dataDir, args = [], env = {} }: AllInOneOptions): StartedProcess {
  const { scripts } = JSON.parse(readFileSync(join(PROJECT_FOLDER, 'package.json'), 'utf8')) as {
    scripts: { start: string };
  };
  const [program = '', ...given] = scripts.start.split(' ');
  return startProcess({
    name: 'npm start',
    command: program === 'node' ? process.execPath : program,
    args: [...given, ...args],
    cwd: PROJECT_FOLDER,
    env: { DATA_DIR: dataDir, ...env },
  });
}

/** The first of PORTS free ports in a row. */
export async function freePortRun(): Promise<number> {
  for (let probe = 0; probe < PORT_PROBES_MAX; probe += 1) {
    const first = await freePort();
    const others = Array.from({ length: PORTS - 1 }, (_, index) => isFreePort(first + index + 1));
    if ((await Promise.all(others)).every(Boolean)) return first;
  }
  throw new Error(`found no ${PORTS} free ports in a row in ${PORT_PROBES_MAX} probes`);
}
