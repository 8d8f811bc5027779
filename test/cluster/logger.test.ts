import type { DestinationStream, Logger } from 'pino';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { adapterLog, createLogger, RepeatedFaults } from '../../cluster/logger.ts';
import { InventoryError } from '../../schema/errors.ts';

/** Keeps what is written, one entry a line. */
function memory(): DestinationStream & { readonly lines: string[] } {
  const lines: string[] = [];
  return { lines, write: (text: string) => void lines.push(...text.split('\n').filter((line) => line !== '')) };
}

function jsonLogger(node = 'node-1'): { logger: Logger; lines: () => Record<string, unknown>[] } {
  const destination = memory();
  const logger = createLogger({ level: 'debug', node, terminal: false, destination });
  return { logger, lines: () => destination.lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe('a logger', () => {
  it('writes one JSON object a line, with node, time, level and bound fields', () => {
    const { logger, lines } = jsonLogger();
    logger.child({ partition: 3, epoch: 17 }).info({ requestId: 'r-1' }, 'took over');
    expect(lines()).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        node: 'node-1',
        partition: 3,
        epoch: 17,
        requestId: 'r-1',
        msg: 'took over',
      },
    ]);
  });

  it('lifts the code of a logged error beside the message', () => {
    const { logger, lines } = jsonLogger();
    logger.warn({ err: new InventoryError('NOT_SERVING', 'not here') }, 'refused');
    logger.warn({ err: new Error('other') }, 'unforeseen');
    expect(lines()[0]).toMatchObject({ code: 'NOT_SERVING', err: { message: 'not here' }, msg: 'refused' });
    expect(lines()[1]).not.toHaveProperty('code');
  });

  it('leaves out what is below its level', () => {
    const destination = memory();
    const logger = createLogger({ level: 'warn', node: 'n', terminal: false, destination });
    logger.info('unheard');
    logger.warn('heard');
    expect(destination.lines).toHaveLength(1);
  });

  it('writes readable text on a terminal', () => {
    const destination = memory();
    createLogger({ level: 'info', node: 'n', terminal: true, destination }).info('hello');
    expect(destination.lines.join('')).toContain('hello');
    expect(destination.lines.join('')).not.toContain('{"level"');
  });
});

describe('repeated faults', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const messages = (lines: Record<string, unknown>[]): unknown[] => lines.map(({ msg, repeated }) => [msg, repeated]);

  it('are logged at once, then once per window with their number, until they cease', () => {
    const { logger, lines } = jsonLogger();
    const faults = new RepeatedFaults({ windowMs: 10_000 });
    for (let i = 0; i < 5; i += 1) faults.report(logger, 'consul', {}, `unreachable ${i}`);
    expect(messages(lines())).toEqual([['unreachable 0', undefined]]);
    vi.advanceTimersByTime(10_000);
    expect(messages(lines()).slice(1)).toEqual([['unreachable 4', 4]]);
    faults.report(logger, 'consul', {}, 'unreachable again');
    vi.advanceTimersByTime(10_000);
    expect(messages(lines()).slice(2)).toEqual([['unreachable again', 1]]);
    vi.advanceTimersByTime(60_000);
    expect(lines()).toHaveLength(3);
    faults.report(logger, 'consul', {}, 'new');
    expect(messages(lines()).slice(3)).toEqual([['new', undefined]]);
  });

  it('are told apart by key and by node, not by request', () => {
    const first = jsonLogger('node-1');
    const second = jsonLogger('node-2');
    const faults = new RepeatedFaults();
    faults.report(first.logger, 'a', {}, 'one');
    faults.report(first.logger, 'b', {}, 'two');
    faults.report(second.logger, 'a', {}, 'three');
    faults.report(first.logger.child({ requestId: 'r-2' }), 'a', {}, 'held back');
    expect(messages(first.lines())).toEqual([
      ['one', undefined],
      ['two', undefined],
    ]);
    expect(messages(second.lines())).toEqual([['three', undefined]]);
  });

  it('of very many kinds take bounded room: the oldest says what it held back and is forgotten', () => {
    const { logger, lines } = jsonLogger();
    const faults = new RepeatedFaults({ keysMax: 2 });
    faults.report(logger, 'a', {}, 'a');
    faults.report(logger, 'a', {}, 'a');
    faults.report(logger, 'b', {}, 'b');
    faults.report(logger, 'c', {}, 'c');
    expect(messages(lines())).toEqual([
      ['a', undefined],
      ['b', undefined],
      ['a', 1],
      ['c', undefined],
    ]);
    vi.advanceTimersByTime(60_000);
    expect(lines()).toHaveLength(4);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('come from the adapters as well; what they say below a warning is logged as it comes', () => {
    const { logger, lines } = jsonLogger('adapter-test');
    const log = adapterLog(logger);
    log('warn', 'broker away', { broker: 'a:1', error: new Error('refused') });
    log('warn', 'broker away', { broker: 'a:1', error: new Error('refused') });
    log('debug', 'joined', { group: 'g' });
    log('debug', 'joined', { group: 'g' });
    expect(lines()).toMatchObject([
      { level: 'warn', msg: 'broker away', broker: 'a:1', err: { message: 'refused' } },
      { level: 'debug', msg: 'joined', group: 'g' },
      { level: 'debug', msg: 'joined' },
    ]);
  });
});
