// Settings of a gateway: the environment variables it reads, and the frozen values that come of them.

import { type Environment, type FieldValues, frozen, readSettings, type SettingsTable } from '../cluster/config.ts';
import { integer, origins } from '../cluster/setting-parsers.ts';
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

/** Every variable of a gateway, in the order of the README. */
export const GATEWAY_TABLE = {
  ...KAFKA_TABLE,
  ...CONSUL_TABLE,
  ...VIEW_TABLE,
  ...PROCESS_TABLE,
  httpPort: httpPortSetting('4000'),
  corsOrigins: {
    env: 'CORS_ORIGINS',
    parse: origins,
    default: '',
    shownDefault: 'same origin only',
    description: 'Origins of web pages that may call this gateway, separated by commas.',
  },
  pageScanRowsMax: {
    env: 'PAGE_SCAN_ROWS_MAX',
    parse: integer({ min: 1, max: 1_000_000, unit: 'rows' }),
    default: '10000',
    description: 'Most rows that one page looks at in each shard.',
  },
} as const satisfies SettingsTable;

export interface GatewaySettings extends SharedSettings {
  /** Empty: same origin only. */
  readonly corsOrigins: readonly string[];
  readonly pageScanRowsMax: number;
}

/** Throws one BAD_CONFIG that lists every fault. */
export function readGatewaySettings(env: Environment): GatewaySettings {
  const values = readSettings(GATEWAY_TABLE, { env, check: checkGateway });
  const { corsOrigins, pageScanRowsMax } = values;
  return frozen({ ...sharedSettings(values, { clientName: 'gateway' }), corsOrigins, pageScanRowsMax });
}

function checkGateway(values: Partial<FieldValues<typeof GATEWAY_TABLE>>): string[] {
  return [...checkKafka(values), ...checkView(values), ...checkClusterToken(values)];
}
