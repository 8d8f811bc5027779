// A topic of the embedded event log: a folder with one file per partition.
//
// `topic.json`: JSON {partitions, replicationFactor, config}; makes the folder a topic, the files follow when missing. `<partition>.log`: see embedded-frame.ts. Both go with the topic.

import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { partitionOfKey } from '../schema/partitioner.ts';
import { EmbeddedLogFile, type Stretch } from './embedded-log-file.ts';
import type { LogRange, OutgoingRecord, TopicDescription, TopicSpec } from './event-log.ts';
import { logUnavailable } from './log-unavailable.ts';

/** A compacted partition is compacted when it has grown to twice its size after the last time, from here on. */
const COMPACTION_BYTES_MIN = 4 * 1024 * 1024;

type Place = { readonly partition: number; readonly offset: number };

export interface TopicEvents {
  /** The range of a partition has changed. */
  onChange(partition: number): void;
  /** Damaged bytes were cut off a partition. */
  onCut(partition: number, bytes: number): void;
}

export class EmbeddedTopic {
  readonly spec: TopicSpec;
  readonly #files: readonly EmbeddedLogFile[];
  readonly #events: TopicEvents;
  /** Size of each partition after its last compaction. */
  readonly #compactedBytes: number[];

  private constructor(spec: TopicSpec, files: readonly EmbeddedLogFile[], events: TopicEvents) {
    this.spec = spec;
    this.#files = files;
    this.#events = events;
    this.#compactedBytes = files.map(() => 0);
  }

  static async create(folder: string, spec: TopicSpec, events: TopicEvents): Promise<EmbeddedTopic> {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    const { partitions, replicationFactor, config } = spec;
    const path = join(folder, 'topic.json');
    await writeFile(`${path}.new`, JSON.stringify({ partitions, replicationFactor, config }));
    await rename(`${path}.new`, path);
    return await EmbeddedTopic.#withFiles(folder, spec, events);
  }

  /** The topic in `folder`, or undefined where there is none. */
  static async open(folder: string, topic: string, events: TopicEvents): Promise<EmbeddedTopic | undefined> {
    const json = await readFile(join(folder, 'topic.json'), 'utf8').catch(() => undefined);
    if (json === undefined) return undefined;
    const spec = { topic, ...(JSON.parse(json) as Omit<TopicSpec, 'topic'>) };
    return await EmbeddedTopic.#withFiles(folder, spec, events);
  }

  static async #withFiles(folder: string, spec: TopicSpec, events: TopicEvents): Promise<EmbeddedTopic> {
    const opening = Array.from({ length: spec.partitions }, (_, partition) =>
      EmbeddedLogFile.open(join(folder, `${partition}.log`), (bytes) => events.onCut(partition, bytes)),
    );
    return new EmbeddedTopic(spec, await Promise.all(opening), events);
  }

  get description(): TopicDescription {
    const { partitions, replicationFactor, config } = this.spec;
    return {
      partitions,
      replicationFactor,
      cleanupPolicy: config['cleanup.policy'] ?? 'delete',
      retentionMs: Number(config['retention.ms'] ?? -1),
      retentionBytes: Number(config['retention.bytes'] ?? -1),
    };
  }

  get ranges(): readonly LogRange[] {
    return this.#files.map(({ range }) => range);
  }

  read(partition: number, fromOffset: number): Promise<Stretch | undefined> {
    return this.#file(partition).read(fromOffset);
  }

  /** In order per partition; the places are aligned with the records. */
  async append(records: readonly OutgoingRecord[]): Promise<readonly Place[]> {
    const byPartition = new Map<number, { record: OutgoingRecord; index: number }[]>();
    for (const [index, record] of records.entries()) {
      const partition = record.partition ?? partitionOfKey(record.key, this.#files.length);
      const list = byPartition.get(partition);
      if (list === undefined) byPartition.set(partition, [{ record, index }]);
      else list.push({ record, index });
    }
    const places: Place[] = [];
    const appending = [...byPartition].map(async ([partition, list]) => {
      const first = await this.#file(partition).append(list.map(({ record }) => toStored(record)));
      for (const [i, { index }] of list.entries()) places[index] = { partition, offset: first + i };
      this.#events.onChange(partition);
      await this.#compactIfGrown(partition);
    });
    await Promise.all(appending);
    return places;
  }

  async appendGap(partition: number, count: number): Promise<void> {
    await this.#file(partition).appendGap(count);
    this.#events.onChange(partition);
  }

  async deleteBefore(partition: number, offset: number): Promise<void> {
    await this.#file(partition).deleteBefore(offset);
    this.#events.onChange(partition);
  }

  async compact(): Promise<void> {
    for (const partition of this.#files.keys()) await this.#compact(partition);
  }

  async sync(): Promise<void> {
    for (const file of this.#files) await file.sync();
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()));
  }

  async #compactIfGrown(partition: number): Promise<void> {
    if (!this.description.cleanupPolicy.includes('compact')) return;
    const limit = Math.max(COMPACTION_BYTES_MIN, 2 * (this.#compactedBytes[partition] ?? 0));
    if (this.#file(partition).bytes >= limit) await this.#compact(partition);
  }

  async #compact(partition: number): Promise<void> {
    const file = this.#file(partition);
    await file.compact();
    this.#compactedBytes[partition] = file.bytes;
  }

  #file(partition: number): EmbeddedLogFile {
    const file = this.#files[partition];
    if (file === undefined) {
      throw logUnavailable(
        `use partition ${partition}`,
        new Error(`${this.spec.topic} has ${this.#files.length} partitions`),
      );
    }
    return file;
  }
}

function toStored({ key, value, headers, timestamp }: OutgoingRecord) {
  return {
    timestamp: timestamp ?? Date.now(),
    key: Buffer.from(key, 'utf8'),
    value: value === null ? null : Buffer.from(value, 'utf8'),
    ...(headers === undefined ? {} : { headers }),
  };
}
