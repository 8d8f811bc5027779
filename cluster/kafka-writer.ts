// Appends to Kafka with an idempotent producer. What is asked for while a request is under way goes into the next one.
//
// Hazard: kafkajs numbers batches per producer and takes the numbers back when a request fails. If that request had been
// written all the same, the next batch of its size would look like its repetition, and the broker would acknowledge it
// without storing it. So one request at a time, and after a failure a new producer.

import type { Message, RecordMetadata } from 'kafkajs';
import { InventoryError } from '../schema/errors.ts';
import type { LogWriter, OutgoingRecord } from './event-log.ts';
import { kafkaErrorTypes, type KafkaConnection } from './kafka-connection.ts';
import { KafkaProducer } from './kafka-producer.ts';
import { logUnavailable, within } from './log-unavailable.ts';

/** Of keys, values and headers: one partition's share must stay below a broker's usual limit of 1 MB. */
const REQUEST_BYTES_MAX = 768 * 1024;
const REQUEST_RECORDS_MAX = 20_000;
/** Framing of a record and its timestamp, rounded up. */
const RECORD_OVERHEAD_BYTES = 32;
const QUEUE_RECORDS_MAX = 100_000;
const CLOSE_TIMEOUT_MS = 5_000;
/** The broker looked at the records and will not have them, now or later. */
const RECORD_REFUSALS = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE', 'INVALID_TIMESTAMP', 'INVALID_RECORD']);

type Place = { partition: number; offset: number };

/** One call of `append`. */
interface Append {
  readonly messages: readonly TopicMessage[];
  readonly places: Place[];
  /** Messages that are in a request or through. */
  taken: number;
  settled: boolean;
  readonly deadline: number;
  readonly timer: NodeJS.Timeout;
  readonly resolve: (places: readonly Place[]) => void;
  readonly reject: (error: unknown) => void;
}

interface TopicMessage {
  readonly topic: string;
  readonly message: Message;
  readonly bytes: number;
}

interface Request {
  readonly messages: { readonly append: Append; readonly index: number; readonly topic: string; message: Message }[];
  readonly deadline: number;
}

export class KafkaWriter implements LogWriter {
  readonly #connection: KafkaConnection;
  readonly #name: string;
  readonly #queue: Append[] = [];
  #queuedRecords = 0;
  #producer: KafkaProducer | undefined;
  #sending: Promise<void> | undefined;
  #closed = false;

  constructor(connection: KafkaConnection, { name }: { readonly name: string }) {
    this.#connection = connection;
    this.#name = name;
  }

  async append(
    records: readonly OutgoingRecord[],
    { timeoutMs }: { readonly timeoutMs: number },
  ): Promise<readonly Place[]> {
    if (this.#closed) throw logUnavailable('append', new Error('the writer is closed'));
    if (records.length === 0) return [];
    if (this.#queuedRecords + records.length > QUEUE_RECORDS_MAX) {
      throw new InventoryError('OVERLOADED', `more than ${QUEUE_RECORDS_MAX} records wait to be appended`);
    }
    return await new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#settle(append, logUnavailable('append', new Error(`not acknowledged within ${timeoutMs} ms`)));
      }, timeoutMs);
      const append: Append = {
        messages: records.map(toTopicMessage),
        places: [],
        taken: 0,
        settled: false,
        deadline: performance.now() + timeoutMs,
        timer,
        resolve,
        reject,
      };
      this.#queue.push(append);
      this.#queuedRecords += records.length;
      this.#sending ??= this.#sendAll();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const drained = this.#sending ?? Promise.resolve();
    await within(drained, { timeoutMs: CLOSE_TIMEOUT_MS, doing: 'drain the writer' }).catch(() => undefined);
    for (const append of this.#queue.slice()) this.#settle(append, logUnavailable('append', new Error('closing')));
    this.#discardProducer();
  }

  async #sendAll(): Promise<void> {
    // After the turn that called `append`, so that calls of one turn share a request.
    await Promise.resolve();
    for (let request = this.#nextRequest(); request !== undefined; request = this.#nextRequest()) {
      await this.#send(request);
    }
    this.#sending = undefined;
  }

  /** The longest run of waiting messages that one request may hold, or undefined when none waits. */
  #nextRequest(): Request | undefined {
    const messages: Request['messages'] = [];
    let bytes = 0;
    let deadline = 0;
    for (const append of this.#queue) {
      for (; append.taken < append.messages.length; append.taken += 1) {
        const { topic, message, bytes: size } = append.messages[append.taken] as TopicMessage;
        const full = messages.length >= REQUEST_RECORDS_MAX || bytes + size > REQUEST_BYTES_MAX;
        if (full && messages.length > 0) return { messages, deadline };
        messages.push({ append, index: append.taken, topic, message });
        bytes += size;
        deadline = Math.max(deadline, append.deadline);
      }
    }
    return messages.length === 0 ? undefined : { messages, deadline };
  }

  async #send(request: Request): Promise<void> {
    const appends = new Set(request.messages.map(({ append }) => append));
    try {
      const timeoutMs = Math.max(0, request.deadline - performance.now());
      const written = await within(this.#produce(request), { timeoutMs, doing: 'append' });
      assignPlaces(request, written);
      for (const append of appends) {
        if (append.places.length === append.messages.length) this.#settle(append);
      }
    } catch (error) {
      this.#discardProducer();
      this.#connection.log('warn', 'an append failed', { writer: this.#name, error });
      for (const append of appends) this.#settle(append, toWriteError(error));
    }
  }

  #produce({ messages }: Request): Promise<RecordMetadata[]> {
    const byTopic = new Map<string, Message[]>();
    for (const { topic, message } of messages) {
      const list = byTopic.get(topic);
      if (list === undefined) byTopic.set(topic, [message]);
      else list.push(message);
    }
    this.#producer ??= new KafkaProducer(this.#connection);
    return this.#producer.send([...byTopic].map(([topic, list]) => ({ topic, messages: list })));
  }

  #discardProducer(): void {
    this.#producer?.abandon();
    this.#producer = undefined;
  }

  #settle(append: Append, error?: unknown): void {
    if (append.settled) return;
    append.settled = true;
    clearTimeout(append.timer);
    this.#queue.splice(this.#queue.indexOf(append), 1);
    this.#queuedRecords -= append.messages.length;
    if (error === undefined) append.resolve(append.places);
    else append.reject(error);
  }
}

/** Kafka tells the first offset of each partition's share, whose records lie in the order sent. */
function assignPlaces({ messages }: Request, written: readonly RecordMetadata[]): void {
  const nextOffsets = new Map<string, number>();
  for (const { topicName, partition, baseOffset } of written) {
    nextOffsets.set(`${topicName}/${partition}`, Number(baseOffset));
  }
  for (const { append, index, topic, message } of messages) {
    const partition = message.partition as number;
    const offset = nextOffsets.get(`${topic}/${partition}`);
    // kafkajs can lose a share when its leader moves between two of its retries.
    if (offset === undefined) throw new Error(`no acknowledgement for ${topic}/${partition}`);
    nextOffsets.set(`${topic}/${partition}`, offset + 1);
    append.places[index] = { partition, offset };
  }
}

function toTopicMessage({ topic, key, value, partition, headers, timestamp }: OutgoingRecord): TopicMessage {
  const keyBytes = Buffer.from(key, 'utf8');
  const message: Message = { key: keyBytes, value: value === null ? null : Buffer.from(value, 'utf8') };
  if (partition !== undefined) message.partition = partition;
  if (timestamp !== undefined) message.timestamp = timestamp.toString();
  let bytes = RECORD_OVERHEAD_BYTES + keyBytes.length + (message.value?.length ?? 0);
  if (headers !== undefined) {
    message.headers = headers as NonNullable<Message['headers']>;
    for (const [name, content] of Object.entries(headers)) bytes += name.length + String(content).length;
  }
  return { topic, message, bytes };
}

function toWriteError(error: unknown): InventoryError {
  if (error instanceof InventoryError) return error;
  const refusal = kafkaErrorTypes(error).find((type) => RECORD_REFUSALS.has(type));
  if (refusal === undefined) return logUnavailable('append', error);
  return new InventoryError('BAD_USER_INPUT', `the log does not take the record: ${refusal}`, { cause: error });
}
