// Records from programs that are not ours: Kafka's Java client and kcat (librdkafka). What they send must be found by
// the gateway, or end in the dead letters when they do not partition like Java.
import { runJava } from './java-program.ts';
import { runCommand } from './run-command.ts';
import { service } from './services.ts';

const KCAT_TIMEOUT_MS = 60_000;

export interface JavaRecord {
  readonly topic: string;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the one that the default partitioner chooses. */
  readonly partition?: number;
  /** Milliseconds since 1970, instead of now. */
  readonly timestamp?: number;
}

export interface WrittenRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: bigint;
}

export interface JavaTransaction {
  readonly transactionalId: string;
  readonly end: 'commit' | 'abort';
}

/**
 * Produces with the Java client, all records in one transaction where one is given; resolves, when all are
 * acknowledged, with their places in the order given. Needs the services `kafka` and `java`.
 */
export async function produceWithJava(
  brokers: string,
  records: readonly JavaRecord[],
  transaction?: JavaTransaction,
): Promise<WrittenRecord[]> {
  const ending =
    transaction === undefined ? [] : ['--transactional-id', transaction.transactionalId, `--${transaction.end}`];
  const stdin = records.map((record) => `${JSON.stringify(record)}\n`).join('');
  const stdout = await runJava('RecordProducer', ['--brokers', brokers, ...ending], { stdin });
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' ') as [string, string, string])
    .map(([topic, partition, offset]) => ({ topic, partition: Number(partition), offset: BigInt(offset) }));
}

export interface KcatOptions {
  readonly brokers: string;
  readonly topic: string;
  /** `default` is librdkafka's own: CRC32 of the key, which is not Java's choice. */
  readonly partitioner: 'murmur2_random' | 'default';
}

/** Produces with kcat and resolves when all are acknowledged. Needs the services `kafka` and `kcat`. */
export async function produceWithKcat(
  { brokers, topic, partitioner }: KcatOptions,
  records: readonly { readonly key: string; readonly value: string }[],
): Promise<void> {
  const lines = records.map(({ key, value }) => {
    if (/[\t\n]/.test(key + value)) throw new Error(`kcat reads keys and values by tab and line: ${key}, ${value}`);
    return `${key}\t${value}\n`;
  });
  const args = ['-P', '-b', brokers, '-t', topic, '-K', '\\t', '-X', 'acks=all'];
  if (partitioner !== 'default') args.push('-X', `partitioner=${partitioner}`);
  await runCommand(service('kcat').command, args, { input: lines.join(''), timeoutMs: KCAT_TIMEOUT_MS });
}
