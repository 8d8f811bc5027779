// Reads a request's body, within limits (I9).

import type { IncomingMessage } from 'node:http';

/** Most bytes of a request's body. */
export const BODY_BYTES_MAX = 2 * 1024 * 1024;
/** Most bytes of a body that is too large which are still read. */
const DISCARDED_BYTES_MAX = 4 * BODY_BYTES_MAX;

/** The client closed its connection before its request was whole. */
export class ClientGone extends Error {}

/**
 * The whole body as text, undefined where it is too large. What is too large is read to its end and dropped, up to
 * DISCARDED_BYTES_MAX: a client that is cut off while it sends would never see the answer. Rejects with ClientGone.
 */
export function readBody(request: IncomingMessage): Promise<string | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > DISCARDED_BYTES_MAX) return Promise.resolve(undefined);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_BYTES_MAX) chunks.push(chunk);
      else chunks.length = 0;
      if (bytes <= DISCARDED_BYTES_MAX) return;
      request.pause();
      resolve(undefined);
    });
    request.on('end', () => {
      if (bytes > BODY_BYTES_MAX) resolve(undefined);
      else resolve((chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))?.toString('utf8'));
    });
    request.on('error', () => reject(new ClientGone()));
    request.on('close', () => {
      if (!request.complete) reject(new ClientGone());
    });
  });
}
