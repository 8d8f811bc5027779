// How this process reaches Kafka: settings, kafkajs clients whose sockets are watched, and what its errors mean to us.
// With the other kafka-*.ts files the only importer of kafkajs.

import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Kafka, type KafkaConfig, type LogEntry, logLevel, type RetryOptions, type SASLOptions } from 'kafkajs';

export interface KafkaSettings {
  /** host:port of some brokers; the rest is learnt from them. */
  readonly brokers: readonly string[];
  /** Undefined: plain text. Without `caPem` the certificates that Node trusts. */
  readonly ssl: { readonly caPem?: string } | undefined;
  readonly sasl:
    | {
        readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
        readonly username: string;
        readonly password: string;
      }
    | undefined;
  readonly clientId: string;
}

/** Where the adapters report faults that they deal with themselves. `extra` holds no secret. */
export type LogCallback = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  extra: Readonly<Record<string, unknown>>,
) => void;

const CONNECT_TIMEOUT_MS = 3_000;
/** A broker that answers nothing for so long is treated as gone. */
const REQUEST_TIMEOUT_MS = 10_000;
const KEEP_ALIVE_MS = 60_000;
/** Inside kafkajs, per operation; what lies beyond is retried or given up by us. */
export const RETRIES: RetryOptions = { initialRetryTime: 50, maxRetryTime: 1_000, retries: 4 };

export interface KafkaClientOptions {
  /** Called whenever an established connection of the client ends, also by our own disconnecting. */
  readonly onCut?: () => void;
  /** Once aborted, the client's sockets are destroyed and what it was doing never settles: kafkajs knows no cancelling. */
  readonly abandoned?: AbortSignal;
  /** Default RETRIES. */
  readonly retry?: RetryOptions;
}

type SocketTarget = Parameters<NonNullable<KafkaConfig['socketFactory']>>[0];

/** Makes kafkajs clients and knows whether any of them has a live connection. */
export class KafkaConnection {
  readonly #settings: KafkaSettings;
  readonly log: LogCallback;
  readonly #sockets = new Set<Socket>();

  constructor(settings: KafkaSettings, log: LogCallback) {
    this.#settings = settings;
    this.log = log;
  }

  get connected(): boolean {
    return this.#sockets.size > 0;
  }

  createClient({ onCut, abandoned, retry = RETRIES }: KafkaClientOptions = {}): Kafka {
    const { brokers, ssl, sasl, clientId } = this.#settings;
    const config: KafkaConfig = {
      clientId,
      // kafkajs asks before every new attempt to connect: one that is never answered ends its retries and leaves no timer.
      brokers: () => (abandoned?.aborted === true ? new Promise<never>(() => undefined) : [...brokers]),
      ssl: ssl === undefined ? false : ssl.caPem === undefined ? {} : { ca: [ssl.caPem] },
      connectionTimeout: CONNECT_TIMEOUT_MS,
      authenticationTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      retry,
      logLevel: logLevel.WARN,
      logCreator: () => (entry) => this.#logEntry(entry),
      socketFactory: (target) => {
        abandoned?.throwIfAborted();
        const socket = this.#openSocket(target, onCut);
        const destroy = () => socket.destroy(new Error('the client was abandoned'));
        abandoned?.addEventListener('abort', destroy);
        socket.once('close', () => abandoned?.removeEventListener('abort', destroy));
        return socket;
      },
    };
    return new Kafka(sasl === undefined ? config : { ...config, sasl: sasl as SASLOptions });
  }

  #openSocket({ host, port, ssl, onConnect }: SocketTarget, onCut: (() => void) | undefined): Socket {
    const connected = () => {
      this.#sockets.add(socket);
      onConnect();
    };
    // The type says otherwise, but kafkajs passes no `ssl` for plain text.
    const socket: Socket = (ssl as typeof ssl | undefined)
      ? connectTls({ host, port, ...(isIP(host) === 0 ? { servername: host } : {}), ...ssl }, connected)
      : connectTcp({ host, port }, connected);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.once('close', () => {
      if (this.#sockets.delete(socket)) onCut?.();
    });
    return socket;
  }

  /** What kafkajs calls an error it mostly retries; what ends up with us is reported by us. */
  #logEntry({ namespace, log: { message, ...extra } }: LogEntry): void {
    this.log('debug', `kafkajs: ${message}`, { namespace, ...extra });
  }
}

/** Kafka's names for what went wrong (e.g. UNKNOWN_TOPIC_OR_PARTITION), also those of wrapped and aggregated errors. */
export function kafkaErrorTypes(error: unknown): string[] {
  if (!(error instanceof Error)) return [];
  const { type, errors, cause } = error as Error & { type?: unknown; errors?: unknown };
  const inner = [...(Array.isArray(errors) ? (errors as unknown[]) : []), cause];
  return [...(typeof type === 'string' ? [type] : []), ...inner.flatMap((each) => kafkaErrorTypes(each))];
}
