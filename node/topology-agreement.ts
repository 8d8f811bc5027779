// How a node comes to the topology that all processes of its application id share, at start. Whoever comes first creates
// it; but where the directory is empty, nodes that hold data go first, so that a fresh node with other settings cannot
// turn their shards into nobody's.

import { randomUUID } from 'node:crypto';
import { type Directory, DirectoryUnavailable } from '../cluster/directory.ts';
import { InventoryError } from '../schema/errors.ts';
import { type Topology, topologyMismatch } from '../schema/topology.ts';

/** Between two looks at the directory. */
const LOOK_AGAIN_MS = 250;

export interface AgreementOptions {
  readonly directory: Directory;
  readonly applicationId: string;
  /** What this node was started with. */
  readonly mine: Omit<Topology, 'incarnation'>;
  /** Whether this node's store holds shards of this application id. */
  readonly hasData: boolean;
  /** How long a node without data waits for one with data. */
  readonly waitMs: number;
  readonly signal: AbortSignal;
  onUnreachable(error: DirectoryUnavailable): void;
  readonly now: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Waits for the directory as long as it takes. Throws BAD_CONFIG where this node disagrees, or the signal's reason. */
export async function agreeOnTopology(options: AgreementOptions): Promise<Topology> {
  const { directory, signal, sleep, now } = options;
  let emptySince: number | undefined;
  for (;;) {
    signal.throwIfAborted();
    try {
      const stored = await directory.readTopology();
      if (stored !== undefined) return check(stored, options);
      emptySince ??= now();
      if (options.hasData || now() - emptySince >= options.waitMs) {
        return check(await directory.createTopology({ ...options.mine, incarnation: randomUUID() }), options);
      }
    } catch (error) {
      if (!(error instanceof DirectoryUnavailable)) throw error;
      emptySince = undefined;
      options.onUnreachable(error);
    }
    await sleep(LOOK_AGAIN_MS, signal);
  }
}

function check(stored: Topology, { mine, applicationId }: AgreementOptions): Topology {
  const mismatch = topologyMismatch(mine, stored);
  if (mismatch === undefined) return stored;
  throw new InventoryError(
    'BAD_CONFIG',
    `the topology of APPLICATION_ID ${applicationId} in the directory disagrees with this node: ${mismatch}. ` +
      'Start this node with the same settings, or build a new view under another APPLICATION_ID',
  );
}
