// This node in the directory: joins, keeps its entry up to date, and joins again when the session is lost.

import {
  type Directory,
  DirectoryUnavailable,
  type DirectoryView,
  type Membership,
  type NodeEntry,
} from '../cluster/directory.ts';

export interface NodePresenceOptions {
  readonly directory: Directory;
  /** See JoinOptions. */
  readonly healthUrl: string;
  /** What to publish now. */
  entry(): NodeEntry;
  /** The session is gone, and with it everything acquired. */
  onLost(): void;
}

export class NodePresence {
  readonly #options: NodePresenceOptions;
  #membership: Membership | undefined;
  /** The entry as it was last published. */
  #published = '';
  #hasLeft = false;

  constructor(options: NodePresenceOptions) {
    this.#options = options;
  }

  /** The present membership; joins where there is none. Rejects as Directory.join does. */
  async membership(): Promise<Membership> {
    if (this.#membership !== undefined) return this.#membership;
    const { directory, healthUrl } = this.#options;
    const entry = this.#options.entry();
    const membership = await directory.join({ entry, healthUrl });
    if (membership.lost.aborted) throw new DirectoryUnavailable('the session was lost as soon as it began');
    this.#membership = membership;
    this.#published = JSON.stringify(entry);
    membership.lost.addEventListener('abort', () => this.#lose(membership));
    return membership;
  }

  /** Whether acquisitions made through `membership` still count. */
  isCurrent(membership: Membership): boolean {
    return this.#membership === membership;
  }

  /** Publishes the entry if it has changed; answers whether it did. */
  async publish(membership: Membership, view: DirectoryView): Promise<boolean> {
    const entry = this.#options.entry();
    const text = JSON.stringify(entry);
    // A view without this node is older than its joining, or the entry was meddled with.
    if (text === this.#published && view.nodes.has(entry.nodeId)) return false;
    await membership.publish(entry);
    this.#published = text;
    return true;
  }

  /** Leaves the directory if this node is in it. Rejects with DirectoryUnavailable; the session then ends by itself. */
  async leave(): Promise<void> {
    this.#hasLeft = true;
    await this.#membership?.leave();
  }

  #lose(membership: Membership): void {
    if (!this.isCurrent(membership)) return;
    this.#membership = undefined;
    if (!this.#hasLeft) this.#options.onLost();
  }
}
