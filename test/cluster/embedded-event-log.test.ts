// The event log on local disk: the port's suite, and what only it can do.
import { spawnSync } from 'node:child_process';
import { appendFile, open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EmbeddedEventLog } from '../../cluster/embedded-event-log.ts';
import type { OutgoingRecord } from '../../cluster/event-log.ts';
import { eventLogSuite } from '../suites/event-log.suite.ts';
import { eventually } from '../support/eventually.ts';
import { LogRecorder } from '../support/log-recorder.ts';
import { tempDir } from '../support/temp-dir.ts';

const TIMEOUT_MS = 10_000;
const at = { topic: 'sales', partition: 0 };

eventLogSuite('embedded', async (options = {}) => {
  const folder = await tempDir('event-log');
  const log = await EmbeddedEventLog.open({ directory: folder.path, ...options });
  return {
    log,
    appendGap: (place) => log.appendGap(place, 2),
    deleteRecords: (place, beforeOffset) => log.deleteRecords(place, beforeOffset),
    recreateTopic: (topic) => log.recreateTopic(topic),
    compactedConfig: { 'cleanup.policy': 'compact' },
    compact: (topic) => log.compact(topic),
    async [Symbol.asyncDispose]() {
      await log.close();
      await folder[Symbol.asyncDispose]();
    },
  };
});

describe('EmbeddedEventLog after a restart', () => {
  it('holds topics, records, gaps and starts as they were', async () => {
    await using folder = await tempDir('event-log');
    const first = await openWithTopic(folder.path);
    await append(first, records(10));
    await first.appendGap(at, 3);
    await first.deleteRecords(at, 4);
    await append(first, records(1));
    await first.close();

    const second = await EmbeddedEventLog.open({ directory: folder.path });
    expect(await second.describeTopic('sales')).toMatchObject({ partitions: 2, cleanupPolicy: 'delete' });
    expect(await second.ranges('sales')).toEqual([
      { startOffset: 4, endOffset: 14 },
      { startOffset: 0, endOffset: 0 },
    ]);
    expect(await readOffsets(second, 4)).toEqual([4, 5, 6, 7, 8, 9, 13]);
    expect(await append(second, records(1))).toEqual([{ partition: 0, offset: 14 }]);
    await second.close();
  });

  it('holds the records of a process that ended without closing', async () => {
    await using folder = await tempDir('event-log');
    const script = `
      import { EmbeddedEventLog } from ${JSON.stringify(join(import.meta.dirname, '../../cluster/embedded-event-log.ts'))};
      const log = await EmbeddedEventLog.open({ directory: ${JSON.stringify(folder.path)} });
      await log.createTopic({ topic: 'sales', partitions: 2, replicationFactor: 1, config: {} });
      const writer = await log.openWriter();
      for (let i = 0; i < 50; i += 1) {
        await writer.append([{ topic: 'sales', partition: 0, key: 'k', value: String(i) }], { timeoutMs: 5000 });
      }
      process.kill(process.pid, 'SIGKILL');`;
    const ended = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      cwd: join(import.meta.dirname, '../..'),
    });
    expect(ended.signal).toBe('SIGKILL');

    const log = await EmbeddedEventLog.open({ directory: folder.path });
    expect(await readOffsets(log, 0)).toEqual(Array.from({ length: 50 }, (_, offset) => offset));
    await log.close();
  });

  it.each([
    [
      'a length that says more than there is',
      (path: string) => appendFile(path, Buffer.from([0, 0, 1, 0, 9, 9, 9, 9, 0])),
    ],
    ['less than the head of a record', (path: string) => appendFile(path, Buffer.from([0, 0, 0]))],
    ['zeroes that the file system left', (path: string) => appendFile(path, Buffer.alloc(4_096))],
  ])('cuts off what a torn write left: %s', async (_, tear) => {
    await using folder = await tempDir('event-log');
    const first = await openWithTopic(folder.path);
    await append(first, records(5));
    await first.close();
    const file = join(folder.path, 'topics', 'sales', '0.log');
    const { size } = await stat(file);
    await tear(file);
    const torn = (await stat(file)).size - size;

    const faults: unknown[] = [];
    const log = await EmbeddedEventLog.open({
      directory: folder.path,
      log: (level, message, extra) => faults.push({ level, message, ...extra }),
    });
    expect(faults).toEqual([expect.objectContaining({ level: 'error', topic: 'sales', partition: 0, bytes: torn })]);
    expect((await stat(file)).size).toBe(size);
    expect(await append(log, records(1))).toEqual([{ partition: 0, offset: 5 }]);
    expect(await readOffsets(log, 0)).toEqual([0, 1, 2, 3, 4, 5]);
    await log.close();
  });

  it('cuts off the torn last record, and only that', async () => {
    await using folder = await tempDir('event-log');
    const first = await openWithTopic(folder.path);
    await append(first, records(5));
    await first.close();
    const file = join(folder.path, 'topics', 'sales', '0.log');
    await truncate(file, (await stat(file)).size - 1);
    const log = await EmbeddedEventLog.open({ directory: folder.path });
    expect(await log.ranges('sales')).toContainEqual({ startOffset: 0, endOffset: 4 });
    await log.close();
  });

  it('keeps a copy of a file that was damaged before its end', async () => {
    await using folder = await tempDir('event-log');
    const first = await openWithTopic(folder.path);
    await append(first, records(5));
    await first.close();
    const path = join(folder.path, 'topics', 'sales', '0.log');
    const file = await open(path, 'r+');
    await file.write(Buffer.from('!'), 0, 1, 30);
    await file.close();
    const damaged = await readFile(path);
    const log = await EmbeddedEventLog.open({ directory: folder.path });
    expect(await log.ranges('sales')).toContainEqual({ startOffset: 0, endOffset: 0 });
    expect(await readFile(`${path}.damaged`)).toEqual(damaged);
    await log.close();
  });
});

describe('the directory of an EmbeddedEventLog', () => {
  it('belongs to one log at a time', async () => {
    await using folder = await tempDir('event-log');
    const first = await EmbeddedEventLog.open({ directory: folder.path });
    await expect(EmbeddedEventLog.open({ directory: folder.path })).rejects.toMatchObject({ code: 'BAD_CONFIG' });
    await first.close();
    const second = await EmbeddedEventLog.open({ directory: folder.path });
    await second.close();
  });

  it('is taken over from a process that is gone, or whose number another one has', async () => {
    await using folder = await tempDir('event-log');
    const gone = spawnSync(process.execPath, ['--version']).pid;
    const lock = join(folder.path, 'lock');
    for (const content of [`{"pid":${gone},"birth":""}`, `{"pid":${process.pid},"birth":"another boot/1"}`, '{"pi']) {
      await writeFile(lock, content);
      const log = await EmbeddedEventLog.open({ directory: folder.path });
      expect(JSON.parse(await readFile(lock, 'utf8'))).toMatchObject({ pid: process.pid });
      await log.close();
    }
  });
});

describe('a compacted topic of an EmbeddedEventLog', () => {
  it('is compacted by itself as it grows, and its readers miss no key', async () => {
    await using folder = await tempDir('event-log');
    const log = await EmbeddedEventLog.open({ directory: folder.path });
    await log.createTopic({
      topic: 'sales',
      partitions: 1,
      replicationFactor: 1,
      config: { 'cleanup.policy': 'compact' },
    });
    await using recorder = await LogRecorder.open(log, ['sales']);
    recorder.reader.assign(at, 0);
    const value = 'x'.repeat(10_000);
    for (let round = 0; round < 12; round += 1) {
      await append(
        log,
        Array.from({ length: 100 }, (_, i) => ({ ...at, key: `k${i}`, value: `${round} ${value}` })),
      );
    }
    const { size } = await stat(join(folder.path, 'topics', 'sales', '0.log'));
    expect(size).toBeLessThan(8 * 1024 * 1024);
    await eventually('the end is reached', () => recorder.nextOffsetOf(at) === 1_200);
    const last = new Map(
      recorder.records.map((record) => [record.key?.toString(), record.value?.toString().slice(0, 2)]),
    );
    expect([...last.values()]).toEqual(Array.from({ length: 100 }, () => '11'));
    await log.close();
  });
});

function records(count: number): OutgoingRecord[] {
  return Array.from({ length: count }, (_, i) => ({ ...at, key: 'k', value: `${i}` }));
}

async function openWithTopic(directory: string): Promise<EmbeddedEventLog> {
  const log = await EmbeddedEventLog.open({ directory });
  await log.createTopic({ topic: 'sales', partitions: 2, replicationFactor: 1, config: {} });
  return log;
}

async function append(log: EmbeddedEventLog, outgoing: readonly OutgoingRecord[]) {
  const writer = await log.openWriter();
  return await writer.append(outgoing, { timeoutMs: TIMEOUT_MS });
}

async function readOffsets(log: EmbeddedEventLog, fromOffset: number): Promise<number[]> {
  await using recorder = await LogRecorder.open(log, [at.topic]);
  recorder.reader.assign(at, fromOffset);
  const end = (await log.ranges(at.topic))[at.partition]?.endOffset;
  await eventually('the end is reached', () => recorder.nextOffsetOf(at) === end);
  return recorder.offsetsOf(at);
}
