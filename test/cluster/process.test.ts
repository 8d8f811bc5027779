// A server program as its supervisor sees it: messages, signals and exit codes of a real process.
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { startProcess, type StartedProcess } from '../support/child-process.ts';

const PROGRAM = fileURLToPath(new URL('../support/server-program.ts', import.meta.url));

function start(...args: string[]): StartedProcess {
  return startProcess({ name: 'program', command: process.execPath, args: ['--import', 'tsx', PROGRAM, ...args] });
}

describe.concurrent('a server process', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('drains on %s and exits with 0', async (signal) => {
    await using program = start('serve');
    await program.waitForLine(/listening on http/);
    program.kill(signal);
    expect(await program.exited).toEqual({ code: 0, signal: null });
    expect(program.output()).toMatch(new RegExp(`draining after ${signal}[^]*stopped`));
  });

  it('exits at once on a second signal', async () => {
    await using program = start('drain-hangs', '0', '600000');
    await program.waitForLine(/listening on/);
    program.kill('SIGTERM');
    await program.waitForLine(/draining/);
    program.kill('SIGTERM');
    expect(await program.exited).toEqual({ code: 143, signal: null });
  });

  it('exits with 1 when the drain outlasts its time', async () => {
    await using program = start('drain-hangs', '0', '50');
    await program.waitForLine(/listening on/);
    program.kill('SIGTERM');
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.output()).toContain('DRAIN_TIMEOUT_MS = 50');
  });

  it('exits with 1 when the drain fails, saying why', async () => {
    await using program = start('drain-fails');
    await program.waitForLine(/listening on/);
    program.kill('SIGTERM');
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.output()).toContain('could not let go');
  });

  it('drains even while it is still starting', async () => {
    await using program = start('never-listens');
    await program.waitForLine(/starting/);
    program.kill('SIGTERM');
    expect(await program.exited).toEqual({ code: 0, signal: null });
  });

  it('ends with one message for a bad configuration', async () => {
    await using program = start('bad-config');
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.output()).toBe(
      'bad configuration, 2 faults:\n  FIRST: expected a, got b\n  SECOND: expected c, got d',
    );
  });

  it('names HTTP_PORT when the port is taken', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => {
      other.listen(0, '127.0.0.1', resolve);
    });
    const { port } = other.address() as AddressInfo;
    await using program = start('serve', String(port));
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.output()).toBe(
      `bad configuration:\n  HTTP_PORT: expected a free port of 127.0.0.1, got ${port}, which is taken`,
    );
    other.close();
  });

  it('logs an error that nobody handled and exits with 1', async () => {
    await using program = start('throws-later');
    expect(await program.exited).toEqual({ code: 1, signal: null });
    expect(program.output()).toMatch(/"level":"fatal".*nobody handles this/);
  });

  it('prints help and refuses arguments it does not know', async () => {
    await using help = start('serve', '0', '1000', '--help');
    await using wrong = start('serve', '0', '1000', '--port', '80');
    expect(await help.exited).toEqual({ code: 0, signal: null });
    expect(help.output()).toMatch(/^Usage: program/);
    expect(await wrong.exited).toEqual({ code: 1, signal: null });
    expect(wrong.output()).toContain('--port: no such option');
  });
});
