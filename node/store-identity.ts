// Whose store a data directory is. A directory of another application id, topology or node layout is refused with a
// message, never served: its rows would be right for somebody else.
//
// Record: key ff ff, value JSON StoreIdentity, written once per incarnation, deleted with the directory.

import { InventoryError } from '../schema/errors.ts';
import { type Topology, topologyMismatch } from '../schema/topology.ts';
import { IDENTITY_KEY } from './shard-keys.ts';
import type { ShardStore } from './shard-store.ts';

interface StoreIdentity {
  readonly applicationId: string;
  /** The copy from which the directory is made again when it comes back empty. */
  readonly topology: Topology;
}

/** What the store was made for; undefined for a new one. */
export async function readStoreIdentity(store: ShardStore): Promise<StoreIdentity | undefined> {
  const [bytes] = await store.getMany([IDENTITY_KEY]);
  return bytes === null || bytes === undefined ? undefined : (JSON.parse(bytes.toString()) as StoreIdentity);
}

/** Notes whose store it is. */
export async function writeStoreIdentity(store: ShardStore, identity: StoreIdentity): Promise<void> {
  await store.write((batch) => batch.put(IDENTITY_KEY, Buffer.from(JSON.stringify(identity))));
}

/** Throws BAD_CONFIG where the store belongs to something else. */
export function checkStoreIdentity(
  stored: StoreIdentity | undefined,
  mine: { applicationId: string; topology: Omit<Topology, 'incarnation'>; dataDir: string },
): void {
  if (stored === undefined) return;
  const otherId = stored.applicationId !== mine.applicationId;
  const fault = otherId
    ? `it belongs to APPLICATION_ID ${stored.applicationId}, not ${mine.applicationId}`
    : topologyMismatch(mine.topology, stored.topology);
  if (fault === undefined) return;
  throw new InventoryError(
    'BAD_CONFIG',
    `DATA_DIR ${mine.dataDir} cannot be used: ${fault}. Give this node another DATA_DIR, or move the old one away`,
  );
}
