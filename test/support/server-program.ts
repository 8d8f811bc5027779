// A program under cluster/process.ts for its test: a service that behaves as its last argument says, as a process of its
// own. Arguments are taken off before runServer sees them.
import { createServer } from 'node:http';
import { createLogger } from '../../cluster/logger.ts';
import { runServer, SERVER_EXIT_CODES } from '../../cluster/process.ts';
import { badConfig } from '../../cluster/config.ts';
import { closeServer, listenOn } from '../../cluster/http-listener.ts';

const [mode = '', port = '0', drainTimeoutMs = '10000'] = process.argv.splice(2, 3);
const settings = { httpHost: '127.0.0.1', httpPort: Number(port), drainTimeoutMs: Number(drainTimeoutMs) };
const logger = createLogger({ level: 'info', node: 'program', terminal: false });
const server = createServer();
const help = { usage: 'program', summary: 'For a test.', settings: {}, exitCodes: SERVER_EXIT_CODES };
const never = new Promise<never>(() => undefined);

await runServer(help, () => {
  if (mode === 'bad-config') throw badConfig(['FIRST: expected a, got b', 'SECOND: expected c, got d']);
  const service = {
    async listen() {
      if (mode === 'never-listens') {
        console.log('starting');
        await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
        return never;
      }
      const url = `http://127.0.0.1:${await listenOn(server, { host: settings.httpHost, port: settings.httpPort })}`;
      if (mode === 'throws-later') setImmediate(() => void Promise.reject(new Error('nobody handles this')));
      return { url };
    },
    async close() {
      if (mode === 'drain-hangs') await never;
      if (mode === 'drain-fails') throw new Error('could not let go');
      await closeServer(server, 1_000);
    },
  };
  return { service, logger, settings };
});
