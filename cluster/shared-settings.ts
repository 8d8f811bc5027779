// The environment variables that nodes, gateways and tools have in common, and what follows from them: where Kafka and
// Consul are, which view this is, how the process listens.

import { ID_PATTERN } from '../schema/inventory-key.ts';
import { type FieldValues, REQUIRED, type SettingsTable } from './config.ts';
import type { KafkaSettings } from './kafka-connection.ts';
import {
  certificateFile,
  consulAddress,
  flag,
  host,
  hostOf,
  hostPorts,
  integer,
  isLoopbackHost,
  matching,
  oneOf,
  port,
  secretFile,
} from './setting-parsers.ts';

/** Legal in topic names, in keys and service ids of Consul, in Kafka's client ids and transactional ids. */
const APPLICATION_ID = matching(ID_PATTERN, '1–64 characters of A–Z a–z 0–9 . _ -, the first a letter or digit');
const TOPIC = matching(
  /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/,
  'a Kafka topic name: 1–249 characters of A–Z a–z 0–9 . _ -',
);
/** It travels as an HTTP header. */
const TOKEN = matching(/^[\x21-\x7e]{16,512}$/, '16–512 visible ASCII characters, e.g. from: openssl rand -hex 32');
const VISIBLE_TEXT = matching(/^[\x21-\x7e]{1,512}$/, '1–512 visible ASCII characters');
const ANY_TEXT = matching(/^.{1,512}$/s, '1–512 characters');

export const KAFKA_TABLE = {
  kafkaBrokers: {
    env: 'KAFKA_BROKERS',
    parse: hostPorts,
    default: REQUIRED,
    description: 'Some of the Kafka brokers, as host:port, separated by commas.',
  },
  kafkaSsl: { env: 'KAFKA_SSL', parse: flag, default: 'false', description: 'Talk TLS to Kafka.' },
  kafkaSslCa: {
    env: 'KAFKA_SSL_CA_FILE',
    parse: certificateFile,
    default: null,
    shownDefault: 'the authorities that Node trusts',
    description: 'PEM file with the certificates that sign the brokers’ own; with `KAFKA_SSL` only.',
  },
  kafkaSaslMechanism: {
    env: 'KAFKA_SASL_MECHANISM',
    parse: oneOf('plain', 'scram-sha-256', 'scram-sha-512'),
    default: null,
    shownDefault: 'no login',
    description: 'How to log in to Kafka: `plain`, `scram-sha-256` or `scram-sha-512`.',
  },
  kafkaSaslUsername: {
    env: 'KAFKA_SASL_USERNAME',
    parse: ANY_TEXT,
    default: null,
    description: 'User for `KAFKA_SASL_MECHANISM`.',
  },
  kafkaSaslPassword: {
    env: 'KAFKA_SASL_PASSWORD',
    parse: ANY_TEXT,
    default: null,
    secret: true,
    description: 'Password for `KAFKA_SASL_MECHANISM`.',
  },
} as const satisfies SettingsTable;

export const CONSUL_TABLE = {
  consulAddress: {
    env: 'CONSUL_HTTP_ADDR',
    parse: consulAddress,
    default: '127.0.0.1:8500',
    description: 'The Consul agent, with or without `http://` or `https://`.',
  },
  consulSsl: {
    env: 'CONSUL_HTTP_SSL',
    parse: flag,
    default: 'false',
    description: 'Talk TLS to Consul; an address with `https://` says the same.',
  },
  consulCa: {
    env: 'CONSUL_CACERT',
    parse: certificateFile,
    default: null,
    shownDefault: 'the authorities that Node trusts',
    description: 'PEM file with the certificates that sign Consul’s own.',
  },
  consulToken: {
    env: 'CONSUL_HTTP_TOKEN',
    parse: VISIBLE_TEXT,
    default: null,
    secret: true,
    description: 'Consul ACL token.',
  },
  consulTokenFile: {
    env: 'CONSUL_HTTP_TOKEN_FILE',
    parse: secretFile,
    default: null,
    description: 'File that holds the Consul ACL token; wins over `CONSUL_HTTP_TOKEN`, as in Consul itself.',
  },
} as const satisfies SettingsTable;

export const VIEW_TABLE = {
  applicationId: {
    env: 'APPLICATION_ID',
    parse: APPLICATION_ID,
    default: 'inventory',
    description: 'Names one deployment of the view: its keys in Consul and its own topics.',
  },
  shipmentsTopic: {
    env: 'SHIPMENTS_TOPIC',
    parse: TOPIC,
    default: 'shipments',
    description: 'Topic with what came in.',
  },
  salesTopic: { env: 'SALES_TOPIC', parse: TOPIC, default: 'sales', description: 'Topic with what was sold.' },
} as const satisfies SettingsTable;

export const PROCESS_TABLE = {
  clusterToken: {
    env: 'CLUSTER_TOKEN',
    parse: TOKEN,
    default: null,
    shownDefault: 'none; required unless all addresses are loopback',
    secret: true,
    description: 'Secret shared by all nodes and gateways; guards what nodes tell each other and the gateways.',
  },
  logLevel: {
    env: 'LOG_LEVEL',
    parse: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'),
    default: 'info',
    description: 'Least level that is logged: `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `silent`.',
  },
  httpHost: {
    env: 'HTTP_HOST',
    parse: host,
    default: '127.0.0.1',
    description: 'Address to listen on; `0.0.0.0` for all.',
  },
  drainTimeoutMs: {
    env: 'DRAIN_TIMEOUT_MS',
    parse: integer({ min: 1, max: 600_000, unit: 'milliseconds' }),
    default: '25000',
    description: 'After SIGTERM: the time to hand over and finish what is under way, in milliseconds.',
  },
} as const satisfies SettingsTable;

/** The port to listen on; its default depends on the process. */
export function httpPortSetting<Port extends string>(defaultPort: Port) {
  return { env: 'HTTP_PORT', parse: port, default: defaultPort, description: 'Port to listen on.' } as const;
}

/** Where Consul is. */
export interface ConsulSettings {
  /** host:port of the agent. */
  readonly address: string;
  readonly ssl: boolean;
  /** Without it the certificates that Node trusts. */
  readonly caPem?: string;
  readonly token?: string;
}

/** Names of the source topics. */
export interface SourceTopics {
  readonly shipments: string;
  readonly sales: string;
}

export type LogLevel = ProcessValues['logLevel'];

type KafkaValues = FieldValues<typeof KAFKA_TABLE>;
type ConsulValues = FieldValues<typeof CONSUL_TABLE>;
type ViewValues = FieldValues<typeof VIEW_TABLE>;
type ProcessValues = FieldValues<typeof PROCESS_TABLE>;

/** Login all or none; no certificate file that nothing reads. */
export function checkKafka(values: Partial<KafkaValues>): string[] {
  const faults: string[] = [];
  if (values.kafkaSslCa !== undefined && values.kafkaSsl === false) {
    faults.push('KAFKA_SSL: expected true where KAFKA_SSL_CA_FILE is given, got false');
  }
  const login = ['kafkaSaslMechanism', 'kafkaSaslUsername', 'kafkaSaslPassword'] as const;
  // A value with a fault of its own is missing in `values`; one that is not given is there, undefined.
  const missing = login.filter((name) => name in values && values[name] === undefined);
  if (missing.length === login.length) return faults;
  const names = login.map((name) => KAFKA_TABLE[name].env).join(', ');
  return [
    ...faults,
    ...missing.map((name) => `${KAFKA_TABLE[name].env}: expected all or none of ${names}, got nothing`),
  ];
}

/** Three topics that differ: the two sources and the dead letters. */
export function checkView(values: Partial<ViewValues>): string[] {
  const { applicationId, shipmentsTopic, salesTopic } = values;
  const faults: string[] = [];
  if (shipmentsTopic !== undefined && shipmentsTopic === salesTopic) {
    faults.push(`SALES_TOPIC: expected another topic than SHIPMENTS_TOPIC, got "${salesTopic}" for both`);
  }
  if (applicationId === undefined) return faults;
  const own = deadLettersTopic(applicationId);
  for (const [env, topic] of [
    ['SHIPMENTS_TOPIC', shipmentsTopic],
    ['SALES_TOPIC', salesTopic],
  ] as const) {
    if (topic === own) faults.push(`${env}: expected another topic than this view's dead letters, got "${topic}"`);
  }
  return faults;
}

/** Without CLUSTER_TOKEN nothing may be reachable from, or lie on, another machine. */
export function checkClusterToken(
  values: Partial<KafkaValues & ConsulValues & ProcessValues>,
  otherAddresses: Readonly<Record<string, string | undefined>> = {},
): string[] {
  if (!('clusterToken' in values) || values.clusterToken !== undefined) return [];
  const addresses: [env: string, address: string | undefined][] = [
    ['HTTP_HOST', values.httpHost],
    ...Object.entries(otherAddresses),
    ['CONSUL_HTTP_ADDR', values.consulAddress?.address],
    ...(values.kafkaBrokers ?? []).map((broker): [string, string] => ['KAFKA_BROKERS', broker]),
  ];
  const remote = addresses.find(([, address]) => address !== undefined && !isLoopbackHost(hostOf(address)));
  if (remote === undefined) return [];
  return [`CLUSTER_TOKEN: expected a shared secret, since ${remote[0]} is not loopback (${remote[1]}), got nothing`];
}

/** What nodes and gateways have in common. */
export interface SharedSettings {
  readonly kafka: KafkaSettings;
  readonly consul: ConsulSettings;
  readonly applicationId: string;
  readonly topics: SourceTopics;
  readonly clusterToken: string | undefined;
  readonly logLevel: LogLevel;
  readonly httpHost: string;
  readonly httpPort: number;
  readonly drainTimeoutMs: number;
}

/** `clientName` follows the application id in the name that Kafka's broker sees. */
export function sharedSettings(
  values: KafkaValues & ConsulValues & ViewValues & ProcessValues & { readonly httpPort: number },
  { clientName }: { clientName: string },
): SharedSettings {
  const { applicationId, clusterToken, logLevel, httpHost, httpPort, drainTimeoutMs } = values;
  const kafka = kafkaSettings(values, { clientId: `${applicationId}-${clientName}` });
  const consul = consulSettings(values);
  const topics = sourceTopics(values);
  return { kafka, consul, applicationId, topics, clusterToken, logLevel, httpHost, httpPort, drainTimeoutMs };
}

/** What the Kafka adapter takes. */
export function kafkaSettings(values: KafkaValues, { clientId }: { clientId: string }): KafkaSettings {
  const { kafkaSslCa: caPem, kafkaSaslMechanism: mechanism } = values;
  const { kafkaSaslUsername: username, kafkaSaslPassword: password } = values;
  const hasLogin = mechanism !== undefined && username !== undefined && password !== undefined;
  return {
    brokers: values.kafkaBrokers,
    ssl: values.kafkaSsl ? (caPem === undefined ? {} : { caPem }) : undefined,
    sasl: hasLogin ? { mechanism, username, password } : undefined,
    clientId,
  };
}

/** What the Consul adapter takes. */
export function consulSettings(values: ConsulValues): ConsulSettings {
  const token = values.consulTokenFile ?? values.consulToken;
  return {
    address: values.consulAddress.address,
    ssl: values.consulSsl || values.consulAddress.ssl,
    ...(values.consulCa === undefined ? {} : { caPem: values.consulCa }),
    ...(token === undefined ? {} : { token }),
  };
}

export function sourceTopics(values: ViewValues): SourceTopics {
  return { shipments: values.shipmentsTopic, sales: values.salesTopic };
}

/** Topic of the records that could not be used. */
export function deadLettersTopic(applicationId: string): string {
  return `${applicationId}-dead-letters`;
}
