// Start and end of a server process, the same for node and gateway.
//
//   start ── listen ── serving ── SIGTERM or SIGINT ── drain (DRAIN_TIMEOUT_MS) ── exit 0
//     │         │                        └ second signal: exit at once
//     └─────────┴ bad configuration, taken port: one message on standard error, exit 1
//
// An error that nobody handled is a bug of ours: logged, exit 1, and the supervisor starts anew from what is on disk.

import { constants } from 'node:os';
import type { Logger } from 'pino';
import { InventoryError } from '../schema/errors.ts';
import { asksForHelp, type Help, helpText, refuseArguments } from './cli.ts';
import { badConfig } from './config.ts';
import type { SharedSettings } from './shared-settings.ts';

/** A node or a gateway. */
export interface Service {
  /** Resolves once requests are taken; rejects if the port is taken. */
  listen(): Promise<{ readonly url: string }>;
  /** Drains: hands over, finishes what is under way, closes. May be called while `listen` is under way. */
  close(): Promise<void>;
}

export interface ServerProcess {
  readonly service: Service;
  readonly logger: Logger;
  readonly settings: Pick<SharedSettings, 'httpHost' | 'httpPort' | 'drainTimeoutMs'>;
}

/** What both server programs exit with. */
export const SERVER_EXIT_CODES = {
  0: 'Stopped after SIGTERM or SIGINT.',
  1: 'Bad configuration, a taken port, an unforeseen error, or a drain that took longer than DRAIN_TIMEOUT_MS.',
} as const;

/** Runs a server program from its arguments to its exit. `start` reads them where `help` has flags and builds the service; what it throws ends the process. */
export async function runServer(
  help: Help,
  start: (args: readonly string[]) => Promise<ServerProcess> | ServerProcess,
): Promise<void> {
  const args = process.argv.slice(2);
  if (asksForHelp(args)) {
    process.stdout.write(`${helpText(help)}\n`);
    return;
  }
  try {
    if (help.flags === undefined) refuseArguments(args);
    await serve(await start(args));
  } catch (error) {
    exitWithMessage(error);
  }
}

/** Says on standard error why the program cannot go on, and exits. */
export function exitWithMessage(error: unknown, exitCode = 1): never {
  const foreseen = error instanceof InventoryError;
  process.stderr.write(`${foreseen ? error.message : ((error as Error).stack ?? String(error))}\n`);
  process.exit(exitCode);
}

async function serve({ service, logger, settings }: ServerProcess): Promise<void> {
  exitOnUnhandled(logger);
  let draining = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (draining) process.exit(128 + constants.signals[signal]);
    draining = true;
    void drain(service, { logger, signal, drainTimeoutMs: settings.drainTimeoutMs });
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
  try {
    const { url } = await service.listen();
    logger.info({ url }, `listening on ${url}`);
  } catch (error) {
    // A drain that began meanwhile decides how the process ends.
    if (!draining) throw explainListenError(error, settings);
  }
}

async function drain(
  service: Service,
  { logger, signal, drainTimeoutMs }: { logger: Logger; signal: NodeJS.Signals; drainTimeoutMs: number },
): Promise<void> {
  logger.info({ signal }, `draining after ${signal}, for at most ${drainTimeoutMs} ms`);
  setTimeout(() => {
    logger.error(`still not drained after DRAIN_TIMEOUT_MS = ${drainTimeoutMs} ms; exiting`);
    process.exit(1);
  }, drainTimeoutMs);
  try {
    await service.close();
  } catch (error) {
    logger.error({ err: error }, 'the drain failed');
    process.exit(1);
  }
  logger.info('stopped');
  process.exit(0);
}

function exitOnUnhandled(logger: Logger): void {
  const exit = (error: unknown): never => {
    logger.fatal({ err: error }, 'an error that nobody handled; exiting');
    process.exit(1);
  };
  process.on('uncaughtException', exit);
  process.on('unhandledRejection', exit);
}

/** An error of listening as a fault of the variable that can mend it. */
function explainListenError(error: unknown, { httpHost, httpPort }: { httpHost: string; httpPort: number }): unknown {
  // A process may listen on ports that follow from HTTP_PORT: the error knows which one it was.
  const { code, port = httpPort } = error as NodeJS.ErrnoException & { readonly port?: number };
  switch (String(code)) {
    case 'EADDRINUSE':
      return badConfig([`HTTP_PORT: expected a free port of ${httpHost}, got ${port}, which is taken`]);
    case 'EACCES':
      return badConfig([`HTTP_PORT: expected a port that this user may listen on, got ${port}`]);
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return badConfig([`HTTP_HOST: expected an address of this machine, got ${httpHost}`]);
    default:
      return error;
  }
}
