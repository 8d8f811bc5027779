// npm run produce: fills the source topics with events made up from a seed, and writes what a reader must find.

import { type FileHandle, open } from 'node:fs/promises';
import { asksForHelp, type FlagsTable, type Help, helpText, readArguments } from '../cluster/cli.ts';
import { badConfig, type FieldValues, readSettings, REQUIRED } from '../cluster/config.ts';
import type { EventLog } from '../cluster/event-log.ts';
import { KafkaEventLog } from '../cluster/kafka-event-log.ts';
import { adapterLog, createLogger } from '../cluster/logger.ts';
import { exitWithMessage } from '../cluster/process.ts';
import { flag, integer, matching, share } from '../cluster/setting-parsers.ts';
import {
  checkKafka,
  checkView,
  KAFKA_TABLE,
  kafkaSettings,
  PROCESS_TABLE,
  type SourceTopics,
  sourceTopics,
  VIEW_TABLE,
} from '../cluster/shared-settings.ts';
import { type EventPlan, Oracle } from './event-generator.ts';
import { produceEvents, type ProduceResult } from './producer.ts';

const KEYS_MAX = 20_000_000;
const PROGRESS_MS = 1_000;
const ORACLE_CHUNK_ENTRIES = 5_000;
const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
const EXIT_INTERRUPTED = 130;

const FLAGS = {
  events: {
    flag: '--events',
    value: 'N',
    parse: integer({ min: 1, max: 10_000_000_000 }),
    default: REQUIRED,
    description: 'How many events.',
  },
  stores: {
    flag: '--stores',
    value: 'S',
    parse: integer({ min: 1, max: KEYS_MAX }),
    default: REQUIRED,
    description: 'How many stores; they are called 1, 2, 3 …',
  },
  items: {
    flag: '--items',
    value: 'I',
    parse: integer({ min: 1, max: KEYS_MAX }),
    default: REQUIRED,
    description: 'How many items in each store; they are called item-1, item-2 …',
  },
  seed: {
    flag: '--seed',
    value: 'X',
    parse: integer({ min: 0, max: 4_294_967_295 }),
    default: REQUIRED,
    description: 'Equal arguments and equal seeds give equal events.',
  },
  ratePerS: {
    flag: '--rate',
    value: 'R',
    parse: integer({ min: 1, max: 10_000_000, unit: 'events per second' }),
    default: null,
    shownDefault: 'as fast as Kafka takes them',
    description: 'Events per second at most.',
  },
  salesShare: {
    flag: '--sales-share',
    value: 'SHARE',
    parse: share,
    default: '0.8',
    description: 'Share of sales among the events; the rest are shipments.',
  },
  oracle: {
    flag: '--oracle',
    value: 'FILE',
    parse: matching(/^.+$/s, 'a file name'),
    default: null,
    description: 'Write received and sold of every key as JSON lines, sorted by key.',
  },
  eventIds: {
    flag: '--event-ids',
    value: null,
    parse: flag,
    default: 'false',
    description: 'Give every event an id, so that running the command again adds nothing within the dedupe window.',
  },
} as const satisfies FlagsTable;

const SETTINGS = { ...KAFKA_TABLE, ...VIEW_TABLE, logLevel: { ...PROCESS_TABLE.logLevel, default: 'error' } } as const;

const HELP: Help = {
  usage: 'npm run produce -- --events N --stores S --items I --seed X [options]',
  summary: 'Appends made-up shipments and sales to the source topics; Ctrl-C stops it with an exact account.',
  flags: FLAGS,
  settings: SETTINGS,
  exitCodes: {
    0: 'All events are acknowledged.',
    [EXIT_FAILED]: 'An append failed; the output says how many events are acknowledged and how many are unsure.',
    [EXIT_USAGE]: 'Wrong arguments or environment; nothing was appended.',
    [EXIT_INTERRUPTED]: 'Interrupted; the oracle holds exactly the acknowledged events.',
  },
};

try {
  // oxlint-disable-next-line node/no-process-env -- the entry of a program hands the environment in
  process.exitCode = await main(process.argv.slice(2), process.env);
} catch (error) {
  exitWithMessage(error, EXIT_USAGE);
}

async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  if (asksForHelp(args)) {
    console.log(helpText(HELP));
    return 0;
  }
  const plan = readArguments(FLAGS, { args, check: checkPlan });
  const values = readSettings(SETTINGS, { env, check: (some) => [...checkKafka(some), ...checkView(some)] });
  const oracleFile = plan.oracle === undefined ? undefined : await openOracle(plan.oracle);
  const oracle = oracleFile === undefined ? undefined : new Oracle(plan);
  const result = await produce({ plan, values, oracle });
  if (oracle !== undefined && oracleFile !== undefined) await writeOracle(oracle, oracleFile);
  return report(result, plan);
}

function checkPlan({ stores, items }: { readonly stores?: number; readonly items?: number }): string[] {
  if (stores === undefined || items === undefined || stores * items <= KEYS_MAX) return [];
  return [`--items: expected at most ${KEYS_MAX} keys (stores × items), got ${stores * items}`];
}

/** Runs until all is appended, an append fails, or the first Ctrl-C; a second one ends the process at once. */
async function produce({
  plan,
  values,
  oracle,
}: {
  readonly plan: EventPlan & { readonly ratePerS: number | undefined };
  readonly values: FieldValues<typeof SETTINGS>;
  readonly oracle: Oracle | undefined;
}): Promise<ProduceResult> {
  const logger = createLogger({ level: values.logLevel, node: 'produce', output: 'stderr' });
  const settings = kafkaSettings(values, { clientId: `${values.applicationId}-produce` });
  const eventLog = new KafkaEventLog({ settings, log: adapterLog(logger) });
  const interrupt = new AbortController();
  process.once('SIGINT', () => interrupt.abort());
  process.once('SIGTERM', () => interrupt.abort());
  try {
    const topics = sourceTopics(values);
    await checkTopics(eventLog, topics);
    const writer = await eventLog.openWriter({ name: 'produce' });
    const progress = createProgress(plan.events);
    return await produceEvents({
      writer,
      plan,
      topics,
      ratePerS: plan.ratePerS,
      signal: interrupt.signal,
      onAcknowledged: (events) => {
        progress(events.length);
        if (oracle !== undefined) for (const event of events) oracle.add(event);
      },
    });
  } finally {
    await eventLog.close();
  }
}

/** Finds out before the first event, not after a time-out. Throws BAD_CONFIG, or LOG_UNAVAILABLE. */
async function checkTopics(eventLog: EventLog, { shipments, sales }: SourceTopics): Promise<void> {
  const [ofShipments, ofSales] = await Promise.all([eventLog.describeTopic(shipments), eventLog.describeTopic(sales)]);
  const missing = (env: string, topic: string): string =>
    `${env}: expected a topic that exists, got "${topic}"; create it with: npm run topics`;
  const faults = [
    ...(ofShipments === undefined ? [missing('SHIPMENTS_TOPIC', shipments)] : []),
    ...(ofSales === undefined ? [missing('SALES_TOPIC', sales)] : []),
  ];
  if (ofShipments !== undefined && ofSales !== undefined && ofShipments.partitions !== ofSales.partitions) {
    faults.push(
      `SALES_TOPIC: expected ${ofShipments.partitions} partitions as ${shipments} has, got ${ofSales.partitions}`,
    );
  }
  if (faults.length > 0) throw badConfig(faults);
}

/** Says once a second on standard error how far it is. */
function createProgress(total: number): (acknowledged: number) => void {
  const startedAt = performance.now();
  let [acknowledged, saidAt] = [0, startedAt];
  return (more) => {
    acknowledged += more;
    const now = performance.now();
    if (now - saidAt < PROGRESS_MS && acknowledged < total) return;
    saidAt = now;
    const perS = Math.round((acknowledged / (now - startedAt)) * 1_000);
    console.error(`${acknowledged} of ${total} events (${Math.floor((acknowledged / total) * 100)}%), ${perS}/s`);
  };
}

function report({ acknowledged, unsure, error }: ProduceResult, { events }: EventPlan): number {
  console.error(`${acknowledged} of ${events} events acknowledged`);
  if (error !== undefined) {
    console.error(`${unsure} more were sent and may or may not be in the log: ${(error as Error).message}`);
    return EXIT_FAILED;
  }
  return acknowledged === events ? 0 : EXIT_INTERRUPTED;
}

/** Opened before the first event, so that a wrong name costs no run. */
async function openOracle(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'w');
  } catch (error) {
    throw badConfig([`--oracle: expected a file that can be written, got ${JSON.stringify(path)} (${String(error)})`]);
  }
}

/** One line a key: `{"key":"storeId/itemId","received":R,"sold":S}`. */
async function writeOracle(oracle: Oracle, file: FileHandle): Promise<void> {
  let lines: string[] = [];
  for (const entry of oracle.entries()) {
    lines.push(`${JSON.stringify(entry)}\n`);
    if (lines.length < ORACLE_CHUNK_ENTRIES) continue;
    await file.appendFile(lines.join(''));
    lines = [];
  }
  await file.appendFile(lines.join(''));
  await file.close();
}
