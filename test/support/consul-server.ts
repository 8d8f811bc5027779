// A real Consul agent for tests, alone in its datacentre, on free loopback ports. By default it keeps everything in
// memory, so a restart gives an empty Consul; with `persistent` it comes back with its data, as a production one does.
import { findConsul } from './consul-binary.ts';
import { RestartableServer, startOnFreePorts } from './restartable-server.ts';
import { tempDir } from './temp-dir.ts';

const START_TIMEOUT_MS = 60_000;
const PROBE_TIMEOUT_MS = 2_000;
const AGENT_NAME = 'test-agent';

export interface ConsulOptions {
  /** Keep services, sessions and keys on disk, for a `start()` after a `kill()` to find again. */
  readonly persistent?: boolean;
}

/** `address` is `127.0.0.1:port` of the HTTP API, the same for its whole life. */
export type ConsulServer = RestartableServer & { readonly address: string };

/** Resolves when sessions and keys can be made; throws with the end of its log when that does not come about. */
export async function startConsul({ persistent = false }: ConsulOptions = {}): Promise<ConsulServer> {
  const found = await findConsul();
  if (!found.available) throw new Error(`Consul is not available: ${found.reason}`);
  return startOnFreePorts(3, async (ports) => {
    const folder = await tempDir('consul');
    const address = `127.0.0.1:${ports[0]}`;
    const mode = persistent ? persistentMode(folder.path) : ['-dev'];
    const server = new RestartableServer({
      name: `consul at ${address}`,
      command: found.command,
      args: ['agent', ...mode, ...listenArguments(ports)],
      folder,
      isReady: () => leads(address),
      startTimeoutMs: START_TIMEOUT_MS,
    });
    return Object.assign(server, { address });
  });
}

/** A server of one, electing itself as fast as `-dev` does. */
function persistentMode(folder: string): string[] {
  return ['-server', '-bootstrap-expect', '1', '-data-dir', folder, '-hcl', 'performance { raft_multiplier = 1 }'];
}

function listenArguments([http, server, serf]: readonly number[]): string[] {
  const ports = ['-http-port', `${http}`, '-server-port', `${server}`, '-serf-lan-port', `${serf}`];
  const off = ['-serf-wan-port', '-1', '-dns-port', '-1', '-grpc-port', '-1'];
  return ['-node', AGENT_NAME, '-bind', '127.0.0.1', '-client', '127.0.0.1', ...ports, ...off];
}

/**
 * The agent leads and stands in its own catalogue: before that, no session can be made. A consistent read makes the
 * leader prove itself, so what a persistent agent finds on its disk is not taken for an answer.
 */
async function leads(address: string): Promise<boolean> {
  const url = `http://${address}/v1/health/node/${AGENT_NAME}?consistent`;
  const response = await fetch(url, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
  const checks = response.ok ? ((await response.json()) as { CheckID: string; Status: string }[]) : [];
  return checks.some(({ CheckID, Status }) => CheckID === 'serfHealth' && Status === 'passing');
}
