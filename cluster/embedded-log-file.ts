// One topic partition of the embedded event log: a file that is only appended to. What was appended has reached the
// operating system when the promise resolves, so it survives the death of the process; `sync` makes it survive a power
// cut. A torn tail is cut off on opening, a copy of the
// whole file kept as `<file>.damaged`. One operation at a time, in the order called.
//
// Compaction and deleteBefore write the file anew beside the old one and rename it: whichever a crash leaves is whole.

import { copyFile, type FileHandle, open, rename } from 'node:fs/promises';
import type { LogRecord } from '../schema/events.ts';
import { decodeFrame, encodeFrame, type FoundFrame, type Frame, frameEnd, frameOffset } from './embedded-frame.ts';
import { OffsetIndex } from './embedded-offset-index.ts';
import type { LogRange } from './event-log.ts';

const READ_BYTES = 128 * 1024;
/** Where sequential readers stopped, so that they need not look through the index interval again. */
const RESUME_POINTS_MAX = 16;
/** Keys that one compaction remembers; records of others are kept until the next one. */
const COMPACTION_KEYS_MAX = 1_000_000;

export interface Stretch {
  readonly records: readonly LogRecord[];
  readonly firstOffset: number;
  readonly nextOffset: number;
}

export class EmbeddedLogFile {
  readonly #path: string;
  #file: FileHandle;
  #index = new OffsetIndex();
  readonly #resumePoints = new Map<number, number>();
  #bytes = 0;
  #startOffset = 0;
  #endOffset = 0;
  #dirty = false;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** `onCut` hears how many damaged bytes were cut off the end. */
  static async open(path: string, onCut: (bytes: number) => void): Promise<EmbeddedLogFile> {
    const log = new EmbeddedLogFile(path, await openForAppend(path));
    const { size } = await log.#file.stat();
    for await (const frames of log.#frames(0, size)) for (const frame of frames) log.#note(frame, log.#bytes);
    if (log.#bytes < size) {
      onCut(size - log.#bytes);
      // Nearly always the torn end of the last write; damage further up would take whole records along.
      await copyFile(path, `${path}.damaged`);
      await log.#file.truncate(log.#bytes);
    }
    return log;
  }

  get range(): LogRange {
    return { startOffset: this.#startOffset, endOffset: this.#endOffset };
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Resolves with the offset of the first record. When it rejects, nothing was appended. */
  append(records: readonly Omit<LogRecord, 'offset'>[]): Promise<number> {
    return this.#exclusively(async () => {
      const first = this.#endOffset;
      await this.#write(records.map((record, i) => ({ kind: 'record', record: { ...record, offset: first + i } })));
      return first;
    });
  }

  /** `count` offsets that hold nothing. */
  appendGap(count: number): Promise<void> {
    return this.#exclusively(() => this.#write([{ kind: 'gap', offset: this.#endOffset, count }]));
  }

  /** What lies from `fromOffset` (within the range) on, about READ_BYTES of it; undefined at the end. */
  read(fromOffset: number): Promise<Stretch | undefined> {
    return this.#exclusively(async () => {
      const records: LogRecord[] = [];
      let firstOffset: number | undefined;
      let nextOffset = fromOffset;
      const from = this.#resumePoints.get(fromOffset) ?? this.#index.floor(fromOffset);
      let until = from;
      for await (const frames of this.#frames(from, this.#bytes)) {
        for (const frame of frames) {
          until += frame.bytes;
          if (frameEnd(frame) <= fromOffset) continue;
          firstOffset ??= Math.max(fromOffset, frameOffset(frame));
          nextOffset = frameEnd(frame);
          if (frame.kind === 'record') records.push(frame.record);
        }
        if (firstOffset !== undefined) break;
      }
      if (firstOffset === undefined) return undefined;
      this.#rememberResumePoint(fromOffset, nextOffset, until);
      return { records, firstOffset, nextOffset };
    });
  }

  /** Moves the start of the log to `offset`, at most its end. */
  deleteBefore(offset: number): Promise<void> {
    return this.#exclusively(async () => {
      const startOffset = Math.min(Math.max(offset, this.#startOffset), this.#endOffset);
      await this.#rewrite(startOffset, () => true);
    });
  }

  /** Keeps the last record of each key, tombstones and records without a key included. */
  compact(): Promise<void> {
    return this.#exclusively(async () => {
      const last = new Map<string, number>();
      for await (const frames of this.#frames(0, this.#bytes)) {
        for (const frame of frames) {
          if (frame.kind !== 'record' || frame.record.key === null) continue;
          const key = frame.record.key.toString('latin1');
          if (last.has(key) || last.size < COMPACTION_KEYS_MAX) last.set(key, frame.record.offset);
        }
      }
      await this.#rewrite(this.#startOffset, ({ key, offset }) => {
        return key === null || offset >= (last.get(key.toString('latin1')) ?? 0);
      });
    });
  }

  /** Makes everything appended so far survive a power cut. */
  sync(): Promise<void> {
    return this.#exclusively(async () => {
      if (this.#dirty) await this.#file.datasync();
      this.#dirty = false;
    });
  }

  async close(): Promise<void> {
    await this.sync();
    await this.#exclusively(() => this.#file.close());
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  async #write(frames: readonly Frame[]): Promise<void> {
    if (frames.length === 0) return;
    const encoded = frames.map((frame) => encodeFrame(frame));
    try {
      await writeFully(this.#file, Buffer.concat(encoded), this.#bytes);
    } catch (error) {
      await this.#file.truncate(this.#bytes);
      throw error;
    }
    this.#dirty = true;
    for (const [i, frame] of frames.entries()) {
      this.#note({ ...frame, bytes: (encoded[i] as Buffer).length }, this.#bytes);
    }
  }

  #note(frame: FoundFrame, position: number): void {
    if (frame.kind === 'start') this.#startOffset = frame.offset;
    this.#index.note(frameOffset(frame), position);
    this.#endOffset = frameEnd(frame);
    this.#bytes = position + frame.bytes;
  }

  #rememberResumePoint(fromOffset: number, nextOffset: number, position: number): void {
    this.#resumePoints.delete(fromOffset);
    this.#resumePoints.set(nextOffset, position);
    const [oldest] = this.#resumePoints.keys();
    if (this.#resumePoints.size > RESUME_POINTS_MAX && oldest !== undefined) this.#resumePoints.delete(oldest);
  }

  /** The whole frames of [from, to) in order, some at a time; ends at the first that is torn or damaged. */
  async *#frames(from: number, to: number): AsyncGenerator<readonly FoundFrame[]> {
    let position = from;
    let wanted = READ_BYTES;
    while (position < to) {
      const chunk = Buffer.allocUnsafe(Math.min(wanted, to - position));
      const { bytesRead } = await this.#file.read(chunk, 0, chunk.length, position);
      const bytes = chunk.subarray(0, bytesRead);
      const frames: FoundFrame[] = [];
      let at = 0;
      let found = decodeFrame(bytes, at);
      while (found !== undefined && 'kind' in found) {
        frames.push(found);
        at += found.bytes;
        found = decodeFrame(bytes, at);
      }
      yield frames;
      if (found === undefined || (at === 0 && bytesRead < wanted)) return;
      wanted = Math.max(READ_BYTES, found.needed);
      position += at;
    }
  }

  /** The same log from `startOffset` on without the records that `keep` refuses; its end stays where it is. */
  async #rewrite(startOffset: number, keep: (record: LogRecord) => boolean): Promise<void> {
    const aside = new EmbeddedLogFile(`${this.#path}.new`, await open(`${this.#path}.new`, 'w+'));
    try {
      let pending: Frame[] = [{ kind: 'start', offset: startOffset }];
      for await (const frames of this.#frames(0, this.#bytes)) {
        for (const frame of frames) {
          if (frame.kind === 'record' && frame.record.offset >= startOffset && keep(frame.record)) pending.push(frame);
        }
        await aside.#write(pending);
        pending = [];
      }
      await aside.#write(pending);
      const missing = this.#endOffset - aside.#endOffset;
      if (missing > 0) await aside.#write([{ kind: 'gap', offset: aside.#endOffset, count: missing }]);
      await aside.#file.sync();
      await rename(`${this.#path}.new`, this.#path);
    } catch (error) {
      await aside.#file.close();
      throw error;
    }
    await this.#file.close();
    this.#file = aside.#file;
    this.#index = aside.#index;
    this.#resumePoints.clear();
    this.#bytes = aside.#bytes;
    this.#startOffset = aside.#startOffset;
    this.#endOffset = aside.#endOffset;
  }
}

/** For reading and writing at any place, made when missing. */
async function openForAppend(path: string): Promise<FileHandle> {
  const made = await open(path, 'a');
  await made.close();
  return await open(path, 'r+');
}

async function writeFully(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}
