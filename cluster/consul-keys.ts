// The keys of one application id in Consul: where things stand, and what their values mean (layout in directory.ts).
//
// Hazard: keys outlive what they describe. A node's entry, and a partition's, count only while a session locks them.
// And anyone can write into Consul: an entry that does not decode is left out, as if it were not there.

import { InventoryError } from '../schema/errors.ts';
import { SHARD_STATE_NAMES, type ShardStateName, type Topology } from '../schema/topology.ts';
import type { ConsulKey } from './consul-client.ts';
import type { DirectoryView, NodeEntry, Ownership } from './directory.ts';

export class ConsulKeys {
  /** Everything of the application id lies under it. */
  readonly prefix: string;

  constructor(applicationId: string) {
    this.prefix = `${applicationId}/`;
  }

  get topology(): string {
    return `${this.prefix}topology`;
  }

  node(nodeId: string): string {
    return `${this.prefix}nodes/${nodeId}`;
  }

  partition(partition: number): string {
    return `${this.prefix}partitions/${partition}`;
  }

  /** What the keys under `prefix` say. Throws BAD_CONFIG for a topology that does not decode. */
  view(keys: readonly ConsulKey[]): DirectoryView {
    const nodes = new Map<string, NodeEntry>();
    const owners = new Map<number, Ownership>();
    let topology: Topology | null = null;
    for (const key of keys) {
      const [folder, name = ''] = key.Key.slice(this.prefix.length).split('/');
      if (folder === 'topology' && name === '') topology = decodeTopology(key);
      if (key.Session === undefined) continue;
      if (folder === 'nodes') {
        const entry = decodeNodeEntry(key.Value);
        if (entry?.nodeId === name) nodes.set(name, entry);
      } else if (folder === 'partitions') {
        const nodeId = decodeOwner(key.Value);
        if (nodeId !== undefined && PARTITION.test(name)) owners.set(Number(name), { nodeId, epoch: key.LockIndex });
      }
    }
    return { topology, nodes, owners };
  }

  /** Entries of nodes that are gone: of no use to anyone. */
  abandonedNodes(keys: readonly ConsulKey[]): readonly ConsulKey[] {
    return keys.filter((key) => key.Key.startsWith(`${this.prefix}nodes/`) && key.Session === undefined);
  }
}

const PARTITION = /^(0|[1-9][0-9]{0,8})$/;

/** The stored topology. Throws BAD_CONFIG. */
export function decodeTopology(key: ConsulKey): Topology {
  const json = parseObject(key.Value);
  const { incarnation, partitions } = json ?? {};
  if (typeof incarnation === 'string' && typeof partitions === 'number' && partitions >= 1)
    return json as unknown as Topology;
  throw new InventoryError('BAD_CONFIG', `the key ${key.Key} in Consul holds no topology: ${String(key.Value)}`);
}

/** The node's entry, or undefined if the text is none. */
export function decodeNodeEntry(text: string | null): NodeEntry | undefined {
  const json = parseObject(text);
  if (json === undefined) return undefined;
  const { nodeId, url, zone, version, draining, shards } = json;
  if (typeof nodeId !== 'string' || typeof url !== 'string' || !URL.canParse(url)) return undefined;
  return {
    nodeId,
    url,
    zone: typeof zone === 'string' ? zone : null,
    version: typeof version === 'string' ? version : '',
    draining: draining === true,
    shards: decodeShards(shards),
  };
}

/** States that this version does not know are left out: such a shard is not ready, whatever it is. */
function decodeShards(json: unknown): Record<string, ShardStateName> {
  const shards = typeof json === 'object' && json !== null ? Object.entries(json) : [];
  return Object.fromEntries(shards.filter(([, state]) => SHARD_STATE_NAMES.includes(state as ShardStateName)));
}

export function encodeOwner(nodeId: string): string {
  return JSON.stringify({ nodeId });
}

function decodeOwner(text: string | null): string | undefined {
  const nodeId = parseObject(text)?.['nodeId'];
  return typeof nodeId === 'string' ? nodeId : undefined;
}

function parseObject(text: string | null): Record<string, unknown> | undefined {
  try {
    const json: unknown = JSON.parse(text ?? '');
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
