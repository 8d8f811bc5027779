// Free loopback ports for servers that must be told their port, and that come back on it after a restart.
//
// Hazard: a port that the kernel picks (listening on 0) lies in the range of outgoing connections. While its server is
// down, a client that keeps dialling the port can be given that very port as its own, connect to itself, and keep the
// server from ever coming back. So ports are picked below that range: at random, then probed.
import { createServer } from 'node:net';

const PORT_MIN = 15_000;
/** Exclusive; Linux gives outgoing connections 32,768 and up, other systems 49,152 and up. */
const PORT_END = 32_000;
const PROBES_MAX = 100;

/** A port of 127.0.0.1 that was free when probed. Another process may still be faster: who binds it must retry. */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  return port as number;
}

/** `count` different free ports of 127.0.0.1. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  for (let probe = 0; probe < PROBES_MAX && ports.size < count; probe += 1) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_END - PORT_MIN));
    if (await isFreePort(port)) ports.add(port);
  }
  if (ports.size < count) throw new Error(`found ${ports.size} of ${count} free ports in ${PROBES_MAX} probes`);
  return [...ports];
}

/** Whether the port of 127.0.0.1 can be bound now. */
export function isFreePort(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
