// Consul as an operator sees it, by its HTTP API alone: what stands there of one application id.
const REQUEST_TIMEOUT_MS = 5_000;

/** A key under the application id, `name` without the application id. */
export interface ConsulEntry {
  readonly name: string;
  readonly value: unknown;
  readonly lockIndex: number;
  readonly session: string | undefined;
}

export class ConsulView {
  readonly #address: string;
  readonly #applicationId: string;

  /** `address` is `host:port` of the agent. */
  constructor(address: string, applicationId: string) {
    this.#address = address;
    this.#applicationId = applicationId;
  }

  /** The JSON at an API path. */
  async ask<Answer>(path: string): Promise<Answer> {
    const response = await fetch(`http://${this.#address}/v1${path}`, {
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    if (!response.ok) throw new Error(`Consul answered ${response.status} to ${path}: ${await response.text()}`);
    return (await response.json()) as Answer;
  }

  /** Every key of the application id, by name; values parsed as JSON. */
  async entries(): Promise<Map<string, ConsulEntry>> {
    type Raw = { Key: string; Value: string; LockIndex: number; Session?: string };
    const raw = await this.ask<Raw[]>(`/kv/${this.#applicationId}/?recurse`);
    return new Map(
      raw.map(({ Key, Value, LockIndex, Session }) => {
        const name = Key.slice(this.#applicationId.length + 1);
        const value = JSON.parse(Buffer.from(Value, 'base64').toString()) as unknown;
        return [name, { name, value, lockIndex: LockIndex, session: Session }];
      }),
    );
  }

  /** Node id → the partitions that it owns, sorted; only locked keys count. */
  async owners(): Promise<Record<string, number[]>> {
    const owners: Record<string, number[]> = {};
    for (const { name, value, session } of (await this.entries()).values()) {
      const [folder, partition] = name.split('/');
      if (folder !== 'partitions' || session === undefined) continue;
      (owners[(value as { nodeId: string }).nodeId] ??= []).push(Number(partition));
    }
    for (const partitions of Object.values(owners)) partitions.sort((a, b) => a - b);
    return owners;
  }

  /** The incarnation that stands in `topology`; undefined while there is none. */
  async incarnation(): Promise<string | undefined> {
    const { value } = (await this.entries()).get('topology') ?? {};
    return (value as { incarnation: string } | undefined)?.incarnation;
  }
}
