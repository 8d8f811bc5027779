// One process that a test starts, watches and ends: never another, and never left behind.
//
// Hazard: a test file that fails or is interrupted must not leave its servers running. Disposing kills and waits; and
// when this process exits first, whatever it started is killed on the way out.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** The tail of the output kept for `output()` and `waitForLine`. */
const OUTPUT_LINES_MAX = 2_000;
const LINE_CHARS_MAX = 4_000;
/** What an error message quotes of it. */
const QUOTED_LINES_MAX = 30;
const LINE_TIMEOUT_MS = 30_000;
const STOP_TIMEOUT_MS = 30_000;
/** For the last output to arrive after the exit. */
const OUTPUT_GRACE_MS = 1_000;
/** All that a started process sees of this one's environment: no setting of the developer's leaks into a test. */
const INHERITED_VARIABLES = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'JAVA_HOME', 'LD_LIBRARY_PATH'];

export interface ProcessOptions {
  /** Said in errors: 'node-1', 'kafka'. */
  readonly name: string;
  readonly command: string;
  readonly args?: readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** `code` is null when a signal ended it, `signal` is null when it exited by itself. */
export interface ProcessExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StartedProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Never rejects; settles after the last line of output has been taken in. */
  readonly exited: Promise<ProcessExit>;
  readonly running: boolean;
  /** The last lines of standard output and standard error, as they came. */
  output(): string;
  /**
   * Resolves with the first line, of those kept or still to come, that `matches`. Throws, quoting the output, when the
   * process exits or `timeoutMs` (30 s) passes first.
   */
  waitForLine(matches: RegExp | ((line: string) => boolean), timeoutMs?: number): Promise<string>;
  /** Sends the signal (SIGTERM) if the process still runs, and does not wait: `await exited` does. */
  kill(signal?: NodeJS.Signals): void;
  /** SIGTERM, then the exit. Throws, having killed it, when the process does not exit within `timeoutMs` (30 s). */
  stop(timeoutMs?: number): Promise<ProcessExit>;
  /** An error that names the process and `what` went wrong with it, and quotes the end of its output. */
  failure(what: string): Error;
}

/** Starts `command`; throws when it cannot be run at all. */
export function startProcess(options: ProcessOptions): StartedProcess {
  const { name, command, args = [], cwd, env = {} } = options;
  const child = spawn(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...inheritedEnvironment(), ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Without a listener a failed start would surface as an uncaught exception instead of the error below.
  child.on('error', () => undefined);
  if (child.pid === undefined) throw new Error(`${name}: ${command} cannot be started (not found or not executable)`);
  const output = new OutputTail();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => output.add(line));
  }
  return new ChildHandle({ name, child, pid: child.pid, output });
}

/** What to kill should this process exit first. */
const alive = new Set<StartedProcess>();
process.once('exit', () => {
  for (const started of alive) started.kill('SIGKILL');
});

class ChildHandle implements StartedProcess {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<ProcessExit>;
  readonly #child: ChildProcess;
  readonly #output: OutputTail;

  constructor({ name, child, pid, output }: { name: string; child: ChildProcess; pid: number; output: OutputTail }) {
    this.name = name;
    this.pid = pid;
    this.#child = child;
    this.#output = output;
    alive.add(this);
    // A grandchild that outlives the process may hold its pipes open: then the output ends here.
    child.once('exit', () => setTimeout(() => closeOutput(child), OUTPUT_GRACE_MS).unref());
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        alive.delete(this);
        resolve({ code, signal });
      });
    });
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  output(): string {
    return this.#output.lines.join('\n');
  }

  async waitForLine(matches: RegExp | ((line: string) => boolean), timeoutMs = LINE_TIMEOUT_MS): Promise<string> {
    const wanted = typeof matches === 'function' ? 'that matches' : `matching ${String(matches)}`;
    const isWanted = typeof matches === 'function' ? matches : (line: string) => line.search(matches) !== -1;
    const settled = new AbortController();
    try {
      const line = await Promise.race([
        this.#output.find(isWanted, settled.signal),
        this.exited.then(({ code, signal }) => this.failure(`exited with ${signal ?? code} before a line ${wanted}`)),
        after(timeoutMs, settled.signal).then(() => this.failure(`no line ${wanted} within ${timeoutMs} ms`)),
      ]);
      if (line instanceof Error) throw line;
      return line;
    } finally {
      settled.abort();
    }
  }

  kill(signal: NodeJS.Signals = 'SIGTERM'): void {
    if (this.running) this.#child.kill(signal);
  }

  async stop(timeoutMs = STOP_TIMEOUT_MS): Promise<ProcessExit> {
    this.kill('SIGTERM');
    const settled = new AbortController();
    const exit = await Promise.race([this.exited, after(timeoutMs, settled.signal)]);
    settled.abort();
    if (exit !== undefined) return exit;
    await this[Symbol.asyncDispose]();
    throw this.failure(`did not exit within ${timeoutMs} ms of SIGTERM`);
  }

  /** SIGKILL also ends a process that SIGSTOP holds. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL');
    await this.exited;
  }

  failure(what: string): Error {
    return new Error(`${this.name} (pid ${this.pid}): ${what}; its last output:\n${this.#output.quote()}`);
  }
}

/** The last lines, and whoever waits for one. */
class OutputTail {
  readonly lines: string[] = [];
  readonly #waiting = new Set<(line: string) => void>();

  add(text: string): void {
    const line = text.slice(0, LINE_CHARS_MAX);
    this.lines.push(line);
    if (this.lines.length > OUTPUT_LINES_MAX) this.lines.shift();
    for (const offer of this.#waiting) offer(line);
  }

  /** May never settle; aborting `signal` ends the watch. */
  find(isWanted: (line: string) => boolean, signal: AbortSignal): Promise<string> {
    const known = this.lines.find(isWanted);
    if (known !== undefined) return Promise.resolve(known);
    return new Promise((resolve) => {
      const offer = (line: string): void => {
        if (isWanted(line)) resolve(line);
      };
      this.#waiting.add(offer);
      signal.addEventListener('abort', () => this.#waiting.delete(offer), { once: true });
    });
  }

  quote(): string {
    return this.lines.slice(-QUOTED_LINES_MAX).join('\n');
  }
}

function inheritedEnvironment(): Record<string, string> {
  const entries = INHERITED_VARIABLES.map((name) => [name, process.env[name]] as const);
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => entry[1] !== undefined));
}

function closeOutput(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
}

/** Does not keep the test process alive; never rejects. */
function after(delayMs: number, signal: AbortSignal): Promise<undefined> {
  return sleep(delayMs, undefined, { signal, ref: false }).catch(() => undefined);
}
