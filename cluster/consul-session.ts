// One node's life in Consul: a service with a health check, a session bound to that check, and the locks it holds.
//
//   nodes/<id> unlocked? ─▶ register service ─▶ create session ─▶ lock nodes/<id> ─▶ renew … ─▶ leave
//         │ no: wait                                 │ taken meanwhile: from the start
//         ▼ PREDECESSOR_WAIT_MS passed               ▼
//      BAD_CONFIG: another live process          session gone (check failed, Consul emptied): `lost` aborts
//
// A dead predecessor's session ends when two checks have failed: 1.2–2.0 s after kill -9, measured.
// Hazard: a process that restarts at once on the same address answers its predecessor's health check. Unless the health
// URL names the process, only the session's time-to-live ends that, hence the longer wait where the URL is our own.

import { setTimeout as sleep } from 'node:timers/promises';
import { InventoryError } from '../schema/errors.ts';
import { type ConsulClient, type ConsulKey, SessionGone } from './consul-client.ts';
import { type ConsulKeys, decodeNodeEntry, encodeOwner } from './consul-keys.ts';
import { DirectoryUnavailable, type JoinOptions, type Membership, type NodeEntry } from './directory.ts';

export const SERVICE_NAME = 'inventory-node';
/** Renewed in time, a session lives on; a node that is cut off loses it after this to twice this. */
export const SESSION_TTL_MS = 10_000;
const RENEW_INTERVAL_MS = 3_000;
/** How long a session that holds our node id may take to end before it counts as another live process. */
export const PREDECESSOR_WAIT_MS = 6_000;
/** The same where that process was at our own address, so that we may be answering its health check. */
const SAME_ADDRESS_WAIT_MS = 2 * SESSION_TTL_MS + 1_000;
const PREDECESSOR_POLL_MS = 200;
/** The agent tells the servers about a new check a moment later; until then no session can be bound to it. */
const CHECK_SYNC_WAIT_MS = 5_000;
const CHECK_SYNC_POLL_MS = 50;
/** Entries of dead nodes that one join removes. */
const SWEEP_MAX = 100;

export interface SessionContext {
  readonly client: ConsulClient;
  readonly keys: ConsulKeys;
  readonly applicationId: string;
  readonly predecessorWaitMs: number;
  /** Sessions of this process that may not have ended: not another process's, whatever they hold. */
  readonly ownSessions: Set<string>;
  /** Aborts when the directory is closed. */
  readonly closed: AbortSignal;
}

/** Joins as described above. Rejects with BAD_CONFIG or DirectoryUnavailable. */
export async function joinConsul(context: SessionContext, { entry, healthUrl }: JoinOptions): Promise<Membership> {
  const { client, keys, applicationId } = context;
  const serviceId = `${applicationId}-${entry.nodeId}`;
  const key = keys.node(entry.nodeId);
  for (;;) {
    await awaitPredecessor(context, entry);
    await client.registerService({ id: serviceId, name: SERVICE_NAME, applicationId, url: entry.url, healthUrl });
    const session = await createSession(context, serviceId);
    context.ownSessions.add(session);
    if (await client.lockKey(key, JSON.stringify(entry), session)) {
      const membership = new ConsulMembership(context, { nodeId: entry.nodeId, serviceId, session });
      // Housekeeping: what fails here is left to the next join.
      await sweep(context).catch(() => undefined);
      return membership;
    }
    await endSession(context, session);
  }
}

async function endSession({ client, ownSessions }: SessionContext, session: string): Promise<void> {
  await client.destroySession(session);
  ownSessions.delete(session);
}

async function awaitPredecessor(context: SessionContext, entry: NodeEntry): Promise<void> {
  const { client, keys, predecessorWaitMs, ownSessions } = context;
  const startedAt = performance.now();
  for (;;) {
    const present = await client.readKey(keys.node(entry.nodeId));
    if (present?.Session === undefined) return;
    if (ownSessions.has(present.Session)) {
      await endSession(context, present.Session);
      continue;
    }
    const url = decodeNodeEntry(present.Value)?.url;
    const limitMs = url === entry.url ? Math.max(SAME_ADDRESS_WAIT_MS, predecessorWaitMs) : predecessorWaitMs;
    if (performance.now() - startedAt >= limitMs) {
      const message = `NODE_ID ${entry.nodeId} is taken by a live process at ${url ?? 'an unknown address'}`;
      throw new InventoryError('BAD_CONFIG', `${message}: its session was still alive after ${limitMs} ms`);
    }
    await pause(context, PREDECESSOR_POLL_MS);
  }
}

async function createSession(context: SessionContext, serviceId: string): Promise<string> {
  const startedAt = performance.now();
  for (;;) {
    try {
      return await context.client.createSession({ name: serviceId, serviceId, ttlMs: SESSION_TTL_MS });
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable) || performance.now() - startedAt > CHECK_SYNC_WAIT_MS) throw error;
    }
    await pause(context, CHECK_SYNC_POLL_MS);
  }
}

async function pause({ closed }: SessionContext, ms: number): Promise<void> {
  await sleep(ms, undefined, { signal: closed }).catch(() => {
    throw new DirectoryUnavailable('the directory was closed');
  });
}

/** Nodes whose ids change with each start would otherwise leave entries behind for ever. */
async function sweep({ client, keys }: SessionContext): Promise<void> {
  const { keys: present } = await client.readTree(`${keys.prefix}nodes/`);
  const abandoned: readonly ConsulKey[] = keys.abandonedNodes(present).slice(0, SWEEP_MAX);
  // Only as it was seen: a node that comes back in between keeps its entry.
  await Promise.all(abandoned.map((key) => client.deleteKey(key.Key, key.ModifyIndex)));
}

class ConsulMembership implements Membership {
  readonly #context: SessionContext;
  readonly #nodeId: string;
  readonly #serviceId: string;
  readonly #session: string;
  readonly #lost = new AbortController();
  readonly #renewing = new AbortController();

  constructor(
    context: SessionContext,
    { nodeId, serviceId, session }: { nodeId: string; serviceId: string; session: string },
  ) {
    this.#context = context;
    this.#nodeId = nodeId;
    this.#serviceId = serviceId;
    this.#session = session;
    void this.#renew(AbortSignal.any([this.#renewing.signal, context.closed]));
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async publish(entry: NodeEntry): Promise<void> {
    const key = this.#context.keys.node(this.#nodeId);
    const isOurs = await this.#use((client) => client.lockKey(key, JSON.stringify(entry), this.#session));
    // Whoever has the lock now is the node of this id.
    if (!isOurs) this.#lose();
  }

  async acquire(partition: number): Promise<number | undefined> {
    const key = this.#context.keys.partition(partition);
    return this.#use(async (client) => {
      if (!(await client.lockKey(key, encodeOwner(this.#nodeId), this.#session))) return undefined;
      const stored = await client.readKey(key);
      return stored?.Session === this.#session ? stored.LockIndex : undefined;
    });
  }

  async release(partition: number): Promise<void> {
    const key = this.#context.keys.partition(partition);
    await this.#use((client) => client.unlockKey(key, encodeOwner(this.#nodeId), this.#session));
  }

  async leave(): Promise<void> {
    this.#renewing.abort();
    if (this.#lost.signal.aborted) return;
    const { client, keys } = this.#context;
    // Deleted while it is locked: afterwards it could be a successor's.
    await client.deleteKey(keys.node(this.#nodeId));
    await endSession(this.#context, this.#session);
    await client.deregisterService(this.#serviceId);
  }

  /** Runs a request that needs the session; without one it rejects, and `lost` has aborted. */
  async #use<T>(request: (client: ConsulClient) => Promise<T>): Promise<T> {
    if (this.#lost.signal.aborted) throw new SessionGone('the session is lost');
    try {
      return await request(this.#context.client);
    } catch (error) {
      if (error instanceof SessionGone) this.#lose();
      throw error;
    }
  }

  /** Keeps the session alive. While Consul cannot be reached it keeps trying: the session may have survived. */
  async #renew(signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(RENEW_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted || this.#lost.signal.aborted) return;
      // `#use` has drawn the conclusion; any other failure is tried again.
      await this.#use((client) => client.renewSession(this.#session)).catch(() => undefined);
    }
  }

  #lose(): void {
    this.#renewing.abort();
    this.#context.ownSessions.delete(this.#session);
    this.#lost.abort();
  }
}
