// Settings of a stateful node: the environment variables it reads, and the frozen values that come of them.

import { hostname } from 'node:os';
import { ID_PATTERN } from '../schema/inventory-key.ts';
import type { StartAt } from '../schema/topology.ts';
import { type Environment, type FieldValues, frozen, readSettings, type SettingsTable } from '../cluster/config.ts';
import { baseUrl, folder, httpUrl, integer, isWildcardHost, matching, oneOf } from '../cluster/setting-parsers.ts';
import {
  checkClusterToken,
  checkKafka,
  checkView,
  CONSUL_TABLE,
  httpPortSetting,
  KAFKA_TABLE,
  PROCESS_TABLE,
  type SharedSettings,
  sharedSettings,
  VIEW_TABLE,
} from '../cluster/shared-settings.ts';

/** Every variable of a node, in the order of the README. */
export const NODE_TABLE = {
  ...KAFKA_TABLE,
  ...CONSUL_TABLE,
  ...VIEW_TABLE,
  ...PROCESS_TABLE,
  httpPort: httpPortSetting('4001'),
  nodeId: {
    env: 'NODE_ID',
    parse: matching(ID_PATTERN, '1–64 characters of A–Z a–z 0–9 . _ -, the first a letter or digit'),
    default: hostname(),
    shownDefault: 'the host name',
    description: 'Names this node; must be its own, and stay the same over restarts.',
  },
  advertisedUrl: {
    env: 'ADVERTISED_URL',
    parse: baseUrl,
    default: null,
    shownDefault: '`http://HTTP_HOST:HTTP_PORT`; required when `HTTP_HOST` is a wildcard',
    description: 'Where gateways, other nodes and Consul’s health check reach this node.',
  },
  dataDir: {
    env: 'DATA_DIR',
    parse: folder,
    default: './data',
    description: 'Folder of the shards; made if it is missing. Belongs to one node.',
  },
  rowCacheBytes: {
    env: 'ROW_CACHE_BYTES',
    parse: integer({ min: 65_536, max: 2 ** 40, unit: 'bytes' }),
    default: '67108864',
    description: 'Memory for rows kept at hand, over all shards, in bytes.',
  },
  startAt: {
    env: 'START_AT',
    parse: oneOf('zero', 'log-start'),
    default: 'zero',
    description:
      'What a first start does on a log that has lost its beginning: `zero` refuses, `log-start` knowingly starts there.',
  },
  topologyWaitMs: {
    env: 'TOPOLOGY_WAIT_MS',
    parse: integer({ min: 0, max: 600_000, unit: 'milliseconds' }),
    default: '5000',
    description:
      'How long a node without data waits, when Consul is empty, for one with data to restore the topology, in milliseconds.',
  },
  dedupeWindow: {
    env: 'DEDUPE_WINDOW',
    parse: integer({ min: 1, max: 10_000_000, unit: 'offsets' }),
    default: '100000',
    description:
      'Offsets within which a second record with the same key and event id is a duplicate. The same on all nodes.',
  },
} as const satisfies SettingsTable;

export interface NodeSettings extends SharedSettings {
  readonly nodeId: string;
  /** Base URL without a slash at the end. */
  readonly advertisedUrl: string;
  /** Absolute. */
  readonly dataDir: string;
  readonly rowCacheBytes: number;
  readonly startAt: StartAt;
  readonly topologyWaitMs: number;
  /** In offsets. */
  readonly dedupeWindow: number;
}

/** Throws one BAD_CONFIG that lists every fault. */
export function readNodeSettings(env: Environment): NodeSettings {
  const values = readSettings(NODE_TABLE, { env, check: checkNode });
  const { nodeId, dataDir, rowCacheBytes, startAt, topologyWaitMs, dedupeWindow } = values;
  const shared = sharedSettings(values, { clientName: nodeId });
  const advertisedUrl = values.advertisedUrl ?? httpUrl({ host: shared.httpHost, port: shared.httpPort });
  const own = { nodeId, advertisedUrl, dataDir, rowCacheBytes, startAt, topologyWaitMs, dedupeWindow };
  return frozen({ ...shared, ...own });
}

function checkNode(values: Partial<FieldValues<typeof NODE_TABLE>>): string[] {
  const { httpHost, advertisedUrl } = values;
  const unadvertised =
    httpHost !== undefined && isWildcardHost(httpHost) && 'advertisedUrl' in values && !advertisedUrl;
  return [
    ...checkKafka(values),
    ...checkView(values),
    ...(unadvertised
      ? [`ADVERTISED_URL: expected the URL that others reach this node by, since HTTP_HOST is ${httpHost}, got nothing`]
      : []),
    ...checkClusterToken(values, { ADVERTISED_URL: advertisedUrl }),
  ];
}
