// `npm run gateway`: one gateway, reading from the nodes that Consul names.

import type { Help } from '../cluster/cli.ts';
import type { Environment } from '../cluster/config.ts';
import { ConsulDirectory } from '../cluster/consul-directory.ts';
import { createLogger, repeated } from '../cluster/logger.ts';
import { createRegistry } from '../cluster/metrics.ts';
import { exitWithMessage, runServer, SERVER_EXIT_CODES, type ServerProcess } from '../cluster/process.ts';
import { openShardClient } from '../cluster/shard-clients.ts';
import { VERSION } from '../cluster/version.ts';
import { GATEWAY_TABLE, readGatewaySettings } from './config.ts';
import { createGateway } from './gateway.ts';

const HELP: Help = {
  usage: 'npm run gateway',
  summary: 'Answers GraphQL and REST by asking the nodes that own the partitions.',
  settings: GATEWAY_TABLE,
  exitCodes: SERVER_EXIT_CODES,
};

function start(env: Environment): ServerProcess {
  const settings = readGatewaySettings(env);
  const { applicationId, clusterToken, consul, httpPort, logLevel } = settings;
  const name = `gateway-${httpPort}`;
  const logger = createLogger({ level: logLevel, node: name });
  const onRetry = (err: unknown): void =>
    repeated(logger, 'consul', { err }, 'a request to Consul failed; trying again');
  const directory = new ConsulDirectory({ settings: consul, applicationId, onRetry });
  const gateway = createGateway({
    directory,
    settings,
    logger,
    openShardApi: (url) => openShardClient(url, clusterToken),
    registry: createRegistry({ version: VERSION, node: name }),
    onMisfit: exitWithMessage,
  });
  const service = {
    listen: () => gateway.listen(),
    close: async () => {
      await gateway.close();
      await directory.close();
    },
  };
  return { service, logger, settings };
}

// oxlint-disable-next-line node/no-process-env -- the one place where the environment enters this process
await runServer(HELP, () => start(process.env));
