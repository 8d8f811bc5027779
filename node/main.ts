// `npm run node`: one stateful node on Kafka and Consul.

import type { Help } from '../cluster/cli.ts';
import type { Environment } from '../cluster/config.ts';
import { ConsulDirectory } from '../cluster/consul-directory.ts';
import { KafkaEventLog } from '../cluster/kafka-event-log.ts';
import { adapterLog, createLogger, repeated } from '../cluster/logger.ts';
import { createRegistry } from '../cluster/metrics.ts';
import { exitWithMessage, runServer, SERVER_EXIT_CODES, type ServerProcess } from '../cluster/process.ts';
import { ShardClients } from '../cluster/shard-clients.ts';
import { VERSION } from '../cluster/version.ts';
import { NODE_TABLE, readNodeSettings } from './config.ts';
import { createStatefulNode } from './stateful-node.ts';

const HELP: Help = {
  usage: 'npm run node',
  summary:
    'Folds sales and shipments into its share of the partitions, keeps them in DATA_DIR and answers reads of them.',
  settings: NODE_TABLE,
  exitCodes: SERVER_EXIT_CODES,
};

function start(env: Environment): ServerProcess {
  const settings = readNodeSettings(env);
  const { applicationId, clusterToken, consul, kafka, logLevel, nodeId } = settings;
  const logger = createLogger({ level: logLevel, node: nodeId });
  const eventLog = new KafkaEventLog({ settings: kafka, log: adapterLog(logger) });
  const onRetry = (err: unknown): void =>
    repeated(logger, 'consul', { err }, 'a request to Consul failed; trying again');
  const directory = new ConsulDirectory({ settings: consul, applicationId, onRetry });
  const clients = new ShardClients(clusterToken);
  const node = createStatefulNode({
    eventLog,
    directory,
    settings,
    logger,
    shardApiAt: (url) => clients.at(url),
    registry: createRegistry({ version: VERSION, node: nodeId }),
    onFailure: exitWithMessage,
  });
  const service = {
    listen: () => node.listen(),
    close: async () => {
      await node.close();
      await Promise.all([clients.close(), directory.close(), eventLog.close()]);
    },
  };
  return { service, logger, settings };
}

// oxlint-disable-next-line node/no-process-env -- the one place where the environment enters this process
await runServer(HELP, () => start(process.env));
