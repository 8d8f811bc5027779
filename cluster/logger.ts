// The log of a process: JSON lines on standard output, readable text where that is a terminal. Bound fields: node,
// partition, epoch, requestId; an InventoryError adds its code. Faults that repeat are logged through `repeated`, so that
// a broken neighbour fills no disk (I9).

import { type DestinationStream, type Logger, pino, type LoggerOptions } from 'pino';
import { prettyFactory } from 'pino-pretty';
import { InventoryError } from '../schema/errors.ts';
import type { LogCallback } from './kafka-connection.ts';
import type { LogLevel } from './shared-settings.ts';

/** Fields that a line, or a child logger for all its lines, may carry beside `err` and facts of its own. */
export interface LogFields {
  readonly node?: string;
  readonly partition?: number;
  readonly epoch?: number;
  readonly requestId?: string;
  readonly code?: string;
  readonly err?: unknown;
  readonly [fact: string]: unknown;
}

/** The process's root logger. Writes synchronously: what is logged before an exit is not lost. */
export function createLogger({
  level,
  node,
  output = 'stdout',
  terminal = process[output].isTTY,
  destination = pino.destination({ dest: process[output].fd, sync: true }),
}: {
  readonly level: LogLevel;
  /** Node id, or the name of another process. */
  readonly node: string;
  /** Servers log to standard output; tools keep it for their results. */
  readonly output?: 'stdout' | 'stderr';
  /** Readable text instead of JSON lines. */
  readonly terminal?: boolean;
  readonly destination?: DestinationStream;
}): Logger {
  const options: LoggerOptions = {
    level,
    base: { node },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }), log: addCode },
  };
  return pino(options, terminal ? readable(destination) : destination);
}

function readable(destination: DestinationStream): DestinationStream {
  const format = prettyFactory({ colorize: true, translateTime: 'SYS:HH:MM:ss.l', singleLine: true });
  return { write: (line) => destination.write(format(line)) };
}

/** The code of a logged InventoryError stands beside the message, where filters find it. */
function addCode(fields: Record<string, unknown>): Record<string, unknown> {
  const { err, code } = fields;
  return err instanceof InventoryError && code === undefined ? { ...fields, code: err.code } : fields;
}

const WINDOW_MS = 10_000;
const KEYS_MAX = 1_000;

/** A fault that was logged less than a window ago, and what has been held back since. */
interface HeldBack {
  readonly timer: NodeJS.Timeout;
  readonly log: (count: number) => void;
  count: number;
}

/**
 * Logs a fault at once when it is new, then once per window with the number of its repetitions, until a window passes
 * without one. Faults are told apart by key and by the logger's node.
 */
export class RepeatedFaults {
  readonly #windowMs: number;
  readonly #keysMax: number;
  /** In the order of first occurrence. */
  readonly #held = new Map<string, HeldBack>();

  constructor({ windowMs = WINDOW_MS, keysMax = KEYS_MAX }: { windowMs?: number; keysMax?: number } = {}) {
    this.#windowMs = windowMs;
    this.#keysMax = keysMax;
  }

  /** `key` names the fault and whom it concerns, e.g. `node-2 unreachable`: never a request's own text. */
  report(logger: Logger, key: string, fields: LogFields, message: string, level: 'warn' | 'error' = 'warn'): void {
    const id = `${String(logger.bindings()['node'])} ${key}`;
    const log = (count: number): void => {
      logger[level](count === 0 ? fields : { ...fields, repeated: count }, message);
    };
    const held = this.#held.get(id);
    if (held === undefined) {
      this.#hold(id, log);
      log(0);
    } else {
      this.#held.set(id, { timer: held.timer, log, count: held.count + 1 });
    }
  }

  #hold(id: string, log: HeldBack['log']): void {
    if (this.#held.size >= this.#keysMax) this.#dropOldest();
    const timer = setTimeout(() => this.#endWindow(id), this.#windowMs);
    timer.unref();
    this.#held.set(id, { timer, log, count: 0 });
  }

  #endWindow(id: string): void {
    const held = this.#held.get(id);
    this.#held.delete(id);
    if (held === undefined || held.count === 0) return;
    held.log(held.count);
    this.#hold(id, held.log);
  }

  /** Room for a new fault: the oldest one is logged with what it held back, and would be new if it came again. */
  #dropOldest(): void {
    const [oldest] = this.#held;
    if (oldest === undefined) return;
    const [id, { timer, log, count }] = oldest;
    clearTimeout(timer);
    this.#held.delete(id);
    if (count > 0) log(count);
  }
}

const faults = new RepeatedFaults();

/** `RepeatedFaults.report` of the process: a repeated fault once per 10 s, with a count. */
export const repeated: RepeatedFaults['report'] = (...report) => faults.report(...report);

/** What the adapters of Kafka and Consul report through: faults as repeated ones, the rest as it comes. */
export function adapterLog(logger: Logger): LogCallback {
  return (level, message, { error, ...extra }) => {
    const fields = error === undefined ? extra : { ...extra, err: error };
    if (level === 'warn' || level === 'error') repeated(logger, message, fields, message, level);
    else logger[level](fields, message);
  };
}
