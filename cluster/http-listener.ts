// Listening and leaving, the same for every HTTP server of the product.

import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Listens and resolves with the port. Rejects with the system's error, e.g. EADDRINUSE. */
export function listenOn(server: Server, address: { readonly host: string; readonly port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

/** Takes no new connection, lets requests under way finish, and cuts what is left after `timeoutMs`. */
export async function closeServer(server: Server, timeoutMs: number): Promise<void> {
  if (!server.listening) return;
  const closed = new Promise<void>((resolve) => {
    server.close(() => resolve());
  });
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), timeoutMs);
  await closed;
  clearTimeout(timer);
}
