// Runs one program to its end, with a time limit and a bounded output, and says what it printed when it fails.
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** Of a failed program's output, the end: where the reason usually stands. */
const MESSAGE_TAIL_CHARS = 2_000;

export interface CommandOptions {
  readonly cwd?: string;
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Written to standard input, which is then closed. */
  readonly input?: string;
  readonly timeoutMs: number;
}

/**
 * Resolves with what the program printed once it has exited with 0.
 * Throws when it cannot be started, exits otherwise, or is killed for exceeding `timeoutMs`.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  { cwd, env = {}, input = '', timeoutMs }: CommandOptions,
): Promise<{ stdout: string; stderr: string }> {
  const child = spawn(command, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  // A program that ends without reading its input closes the pipe: its exit code tells, not the write error.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const ended = new Promise<string | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code === 0 ? null : `ended with ${signal ?? code}`));
  });
  const [failure, stdout, stderr] = await Promise.all([ended, text(child.stdout), text(child.stderr)]);
  if (failure !== null) {
    const tail = `${stdout}\n${stderr}`.trim().slice(-MESSAGE_TAIL_CHARS);
    throw new Error(`${command} ${args.join(' ')} ${failure} (limit ${timeoutMs} ms):\n${tail}`);
  }
  return { stdout, stderr };
}
