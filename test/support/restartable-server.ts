// A server process that tests crash, pause and bring back: the same command, ports and folder each time it starts.
import { type StartedProcess, startProcess } from './child-process.ts';
import { eventually } from './eventually.ts';
import { freePorts } from './free-port.ts';
import type { TempDir } from './temp-dir.ts';

const PROBE_INTERVAL_MS = 50;
const STOP_TIMEOUT_MS = 30_000;
/** Another process may take a port between the probe and the bind. */
const START_ATTEMPTS_MAX = 3;
const BIND_CONFLICT = /address already in use|failed to bind/i;

export interface ServerRecipe {
  /** Said in errors: 'kafka at 127.0.0.1:20000'. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The server's working folder, removed with it. */
  readonly folder: TempDir;
  /** Asked until it gives true; false and an error both mean "not yet". */
  readonly isReady: () => Promise<boolean>;
  readonly startTimeoutMs: number;
}

export class RestartableServer implements AsyncDisposable {
  readonly #recipe: ServerRecipe;
  #process: StartedProcess | undefined;

  /** Starts nothing yet. Owns the recipe's folder from here on. */
  constructor(recipe: ServerRecipe) {
    this.#recipe = recipe;
  }

  /** Of the running process; another one after `start()`. */
  get pid(): number {
    return this.#running().pid;
  }

  /** The end of what the current or last process printed. */
  output(): string {
    return this.#process?.output() ?? '';
  }

  /**
   * Starts it, the first time and again after `stop()` or `kill()`; resolves when it is ready. Throws, with the end of
   * its output and nothing left running, when it exits first or is not ready in time.
   */
  async start(): Promise<void> {
    const { name, command, args, folder, isReady, startTimeoutMs: timeoutMs } = this.#recipe;
    if (this.#process?.running === true) throw new Error(`${name} is already running`);
    const started = startProcess({ name, command, args, cwd: folder.path });
    this.#process = started;
    try {
      const outcome = await eventually(
        `${name} is ready`,
        async () => (started.running ? (await isReady()) && 'ready' : 'exited'),
        { timeoutMs, intervalMs: PROBE_INTERVAL_MS },
      );
      if (outcome === 'exited') throw started.failure('exited before it was ready');
    } catch (error) {
      await started[Symbol.asyncDispose]();
      throw started.failure(`did not start: ${String(error)}`);
    }
  }

  /** SIGTERM: an orderly shutdown. Resolves when the process is gone. */
  async stop(): Promise<void> {
    await this.#running().stop(STOP_TIMEOUT_MS);
  }

  /** SIGKILL: a crash. Resolves when the process is gone. */
  async kill(): Promise<void> {
    await this.#running()[Symbol.asyncDispose]();
  }

  /** SIGSTOP: connections stay open, nothing is answered. */
  pause(): void {
    this.#running().kill('SIGSTOP');
  }

  /** SIGCONT. */
  resume(): void {
    this.#running().kill('SIGCONT');
  }

  /** Kills what runs and removes the folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.[Symbol.asyncDispose]();
    await this.#recipe.folder[Symbol.asyncDispose]();
  }

  #running(): StartedProcess {
    if (this.#process?.running !== true) throw new Error(`${this.#recipe.name} is not running`);
    return this.#process;
  }
}

/** Makes a server for `count` free ports and starts it; on a bind conflict, once more on other ports. */
export async function startOnFreePorts<Server extends RestartableServer>(
  count: number,
  make: (ports: readonly number[]) => Promise<Server>,
): Promise<Server> {
  for (let attempt = 1; ; attempt += 1) {
    const server = await make(await freePorts(count));
    try {
      await server.start();
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      if (attempt >= START_ATTEMPTS_MAX || !BIND_CONFLICT.test(server.output())) throw error;
    }
  }
}
