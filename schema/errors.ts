// The closed list of error codes and the one error class. A code says what to do next: who may retry, and with which
// HTTP status REST answers. ARCHITECTURE.md has a row for each.

/** Codes that a client of GraphQL or REST may see, with whether the same request may succeed later and the REST status. */
export const PUBLIC_CODES = {
  BAD_USER_INPUT: { retryable: false, status: 400 },
  CURSOR_INVALID: { retryable: false, status: 400 },
  SCAN_LIMIT_EXCEEDED: { retryable: false, status: 400 },
  COUNT_OUT_OF_RANGE: { retryable: false, status: 500 },
  NOT_READY: { retryable: true, status: 503 },
  OWNER_UNAVAILABLE: { retryable: true, status: 503 },
  RESTORING: { retryable: true, status: 503 },
  INCOMPLETE_RESULT: { retryable: true, status: 503 },
  OVERLOADED: { retryable: true, status: 503 },
  LOG_UNAVAILABLE: { retryable: true, status: 503 },
  DEADLINE_EXCEEDED: { retryable: true, status: 504 },
  INTERNAL: { retryable: false, status: 500 },
} as const;

/** Codes between node and gateway, and those that only operators see. A client that receives one has found a bug. */
export const INTERNAL_CODES = {
  /** The node does not hold the partition, or its shard does not serve: ask the owner. */
  NOT_SERVING: { retryable: true, status: 503 },
  /** The key does not belong to the partition it was sent for: the two sides partition differently. */
  WRONG_PARTITION: { retryable: false, status: 500 },
  /** Partition counts or incarnations disagree. */
  TOPOLOGY_MISMATCH: { retryable: false, status: 500 },
  /** A record whose bytes are no event. */
  DECODE_FAILED: { retryable: false, status: 500 },
  /** A setting is missing or malformed; the process ends. */
  BAD_CONFIG: { retryable: false, status: 500 },
} as const;

export type PublicCode = keyof typeof PUBLIC_CODES;
export type ErrorCode = PublicCode | keyof typeof INTERNAL_CODES;

const ALL_CODES: Record<ErrorCode, { readonly retryable: boolean; readonly status: number }> = {
  ...PUBLIC_CODES,
  ...INTERNAL_CODES,
};

export interface ErrorOptions {
  /** Facts for logs and for `extensions`, e.g. `{ partition: 3 }`. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** Milliseconds after which a retry is worth while. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

/** Every operating error of the product. The message quotes what was expected and what came. */
export class InventoryError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'InventoryError';
    this.code = code;
    this.details = options.details ?? {};
    this.retryAfterMs = options.retryAfterMs;
  }

  get retryable(): boolean {
    return ALL_CODES[this.code].retryable;
  }

  /** HTTP status of a REST answer that carries this error. */
  get status(): number {
    return ALL_CODES[this.code].status;
  }
}

/** Whether `code` is one of ours; wire decoders use it on what another process sent. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ALL_CODES, code);
}

/** `error` as an InventoryError; anything unforeseen becomes INTERNAL, its own text kept as the cause only. */
export function toInventoryError(error: unknown): InventoryError {
  if (error instanceof InventoryError) return error;
  return new InventoryError('INTERNAL', 'an unexpected error; the log of this process has the cause', { cause: error });
}
