// npm run topics: creates the topics that are missing, shows what differs, never alters. Run it before the first node.

import { asksForHelp, type FlagsTable, type Help, helpText, readArguments } from '../cluster/cli.ts';
import { readSettings, REQUIRED } from '../cluster/config.ts';
import { KafkaEventLog } from '../cluster/kafka-event-log.ts';
import { adapterLog, createLogger } from '../cluster/logger.ts';
import { exitWithMessage } from '../cluster/process.ts';
import { integer } from '../cluster/setting-parsers.ts';
import {
  checkKafka,
  checkView,
  KAFKA_TABLE,
  kafkaSettings,
  PROCESS_TABLE,
  sourceTopics,
  VIEW_TABLE,
} from '../cluster/shared-settings.ts';
import { requiredTopics, setUpTopics, type TopicOutcome } from './topic-setup.ts';

const FLAGS = {
  partitions: {
    flag: '--partitions',
    value: 'N',
    parse: integer({ min: 1, max: 10_000 }),
    default: REQUIRED,
    description: 'Partitions of each source topic. Can never change while the view lives.',
  },
  replicationFactor: {
    flag: '--replication-factor',
    value: 'N',
    parse: integer({ min: 1, max: 100 }),
    default: REQUIRED,
    description: 'Copies of each partition among the brokers.',
  },
  shipments: {
    flag: '--shipments',
    value: 'TOPIC',
    parse: VIEW_TABLE.shipmentsTopic.parse,
    default: null,
    shownDefault: 'SHIPMENTS_TOPIC',
    description: 'Name of the shipments topic.',
  },
  sales: {
    flag: '--sales',
    value: 'TOPIC',
    parse: VIEW_TABLE.salesTopic.parse,
    default: null,
    shownDefault: 'SALES_TOPIC',
    description: 'Name of the sales topic.',
  },
  waitMs: {
    flag: '--wait-ms',
    value: 'MS',
    parse: integer({ min: 0, max: 3_600_000, unit: 'milliseconds' }),
    default: '10000',
    description: 'How long to keep trying while Kafka cannot be reached.',
  },
} as const satisfies FlagsTable;

const SETTINGS = { ...KAFKA_TABLE, ...VIEW_TABLE, logLevel: { ...PROCESS_TABLE.logLevel, default: 'error' } } as const;

const HELP: Help = {
  usage: 'npm run topics -- --partitions N --replication-factor N [options]',
  summary: 'Creates the topics that are missing, shows what differs, never alters a topic.',
  flags: FLAGS,
  settings: SETTINGS,
  exitCodes: {
    0: 'Every topic is as it should be.',
    1: 'A topic differs; the output says in what.',
    2: 'Wrong arguments or environment, or Kafka cannot be reached.',
  },
};

try {
  // oxlint-disable-next-line node/no-process-env -- the entry of a program hands the environment in
  await main(process.argv.slice(2), process.env);
} catch (error) {
  exitWithMessage(error, 2);
}

async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  if (asksForHelp(args)) {
    console.log(helpText(HELP));
    return;
  }
  const { partitions, replicationFactor, shipments, sales, waitMs } = readArguments(FLAGS, { args });
  const named = { ...env, ...(shipments && { SHIPMENTS_TOPIC: shipments }), ...(sales && { SALES_TOPIC: sales }) };
  const values = readSettings(SETTINGS, {
    env: named,
    check: (partial) => [...checkKafka(partial), ...checkView(partial)],
  });
  const { applicationId, logLevel } = values;
  const settings = kafkaSettings(values, { clientId: `${applicationId}-topics` });
  const logger = createLogger({ level: logLevel, node: 'topics', output: 'stderr' });
  const eventLog = new KafkaEventLog({ settings, log: adapterLog(logger) });
  try {
    const specs = requiredTopics({ applicationId, topics: sourceTopics(values), partitions, replicationFactor });
    const outcomes = await setUpTopics(eventLog, { specs, waitMs });
    for (const outcome of outcomes) console.log(describe(outcome));
    if (outcomes.some(({ state }) => state === 'differs')) process.exitCode = 1;
  } finally {
    await eventLog.close();
  }
}

function describe({ topic, state, differences }: TopicOutcome): string {
  return `${topic}: ${state}${differences.length === 0 ? '' : ` (left alone): ${differences.join('; ')}`}`;
}
