// How a record lies in a file of the embedded event log. A torn or damaged frame is told from a whole one by its length
// and checksum.
//
// Frame: length u32 | crc32 of the body u32 | body. Body: kind u8 | offset f64 | then, by kind
//   record   timestamp f64 | key | value | number of headers u16 | per header: name | value
//   gap      count f64: offsets from `offset` on that hold nothing, like Kafka's control and compacted records
//   start    nothing: the log begins at `offset`; the first frame of a file that lost its beginning
// A text or byte string is i32 length | bytes, length −1 = null. All big-endian. Written by the owner of the file, never
// changed; deleted when the file is written anew by compaction or deleteRecords.

import { crc32 } from 'node:zlib';
import type { LogRecord, RecordHeaders } from '../schema/events.ts';

export type Frame =
  | { readonly kind: 'record'; readonly record: LogRecord }
  | { readonly kind: 'gap'; readonly offset: number; readonly count: number }
  | { readonly kind: 'start'; readonly offset: number };

/** A frame where it was found; `bytes` is its whole length. */
export type FoundFrame = Frame & { readonly bytes: number };

export const FRAME_HEAD_BYTES = 8;
/** Of one body; a length beyond it is damage, not a record. */
export const FRAME_BODY_BYTES_MAX = 4 * 1024 * 1024;
const KINDS: readonly Frame['kind'][] = ['record', 'gap', 'start'];

/** First offset of the frame, and the first one behind it. */
export function frameOffset(frame: Frame): number {
  return frame.kind === 'record' ? frame.record.offset : frame.offset;
}
export function frameEnd(frame: Frame): number {
  if (frame.kind === 'record') return frame.record.offset + 1;
  return frame.kind === 'gap' ? frame.offset + frame.count : frame.offset;
}

export function encodeFrame(frame: Frame): Buffer {
  const headers = frame.kind === 'record' ? flatHeaders(frame.record.headers) : [];
  const bytes = Buffer.allocUnsafe(FRAME_HEAD_BYTES + bodyLength(frame, headers));
  let at = bytes.writeUInt8(KINDS.indexOf(frame.kind), FRAME_HEAD_BYTES);
  at = bytes.writeDoubleBE(frameOffset(frame), at);
  if (frame.kind === 'gap') bytes.writeDoubleBE(frame.count, at);
  if (frame.kind === 'record') {
    at = bytes.writeDoubleBE(frame.record.timestamp, at);
    at = writeByteString(bytes, frame.record.key, at);
    at = writeByteString(bytes, frame.record.value, at);
    at = bytes.writeUInt16BE(headers.length, at);
    for (const [name, content] of headers) at = writeByteString(bytes, content, writeByteString(bytes, name, at));
  }
  bytes.writeUInt32BE(bytes.length - FRAME_HEAD_BYTES, 0);
  bytes.writeUInt32BE(crc32(bytes.subarray(FRAME_HEAD_BYTES)), 4);
  return bytes;
}

/**
 * The frame at `position` of `bytes`. `needed`: the bytes end within it, so many more than `position` are required.
 * Undefined: no frame of ours begins there.
 */
export function decodeFrame(bytes: Buffer, position: number): FoundFrame | { readonly needed: number } | undefined {
  if (bytes.length - position < FRAME_HEAD_BYTES) return { needed: FRAME_HEAD_BYTES };
  const length = bytes.readUInt32BE(position);
  if (length === 0 || length > FRAME_BODY_BYTES_MAX) return undefined;
  const end = position + FRAME_HEAD_BYTES + length;
  if (bytes.length < end) return { needed: FRAME_HEAD_BYTES + length };
  const body = bytes.subarray(position + FRAME_HEAD_BYTES, end);
  if (crc32(body) !== bytes.readUInt32BE(position + 4)) return undefined;
  return { ...decodeBody(body), bytes: FRAME_HEAD_BYTES + length };
}

function decodeBody(body: Buffer): Frame {
  const offset = body.readDoubleBE(1);
  const kind = KINDS[body.readUInt8(0)];
  if (kind === 'start') return { kind, offset };
  if (kind === 'gap') return { kind, offset, count: body.readDoubleBE(9) };
  const cursor = { at: 17 };
  const key = takeBytes(body, cursor);
  const value = takeBytes(body, cursor);
  const record = { offset, timestamp: body.readDoubleBE(9), key, value };
  const headerCount = body.readUInt16BE(cursor.at);
  if (headerCount === 0) return { kind: 'record', record };
  cursor.at += 2;
  return { kind: 'record', record: { ...record, headers: takeHeaders(body, cursor, headerCount) } };
}

type FlatHeader = readonly [name: Buffer, content: Buffer];

function flatHeaders(headers: RecordHeaders = {}): FlatHeader[] {
  const flat: FlatHeader[] = [];
  for (const [name, content] of Object.entries(headers)) {
    const contents = Array.isArray(content) ? (content as (Buffer | string)[]) : [content as Buffer | string];
    for (const each of contents) if (each !== undefined) flat.push([Buffer.from(name), toBuffer(each)]);
  }
  return flat;
}

function bodyLength(frame: Frame, headers: readonly FlatHeader[]): number {
  if (frame.kind === 'start') return 9;
  if (frame.kind === 'gap') return 17;
  const { key, value } = frame.record;
  let length = 17 + 4 + (key?.length ?? 0) + 4 + (value?.length ?? 0) + 2;
  for (const [name, content] of headers) length += 8 + name.length + content.length;
  return length;
}

/** A header that comes several times is a list, as in a record from Kafka. */
function takeHeaders(body: Buffer, cursor: { at: number }, count: number): RecordHeaders {
  const headers: Record<string, Buffer | Buffer[]> = {};
  for (let i = 0; i < count; i += 1) {
    const name = (takeBytes(body, cursor) as Buffer).toString();
    const content = takeBytes(body, cursor) as Buffer;
    const earlier = Object.hasOwn(headers, name) ? headers[name] : undefined;
    if (earlier === undefined) headers[name] = content;
    else headers[name] = [...(Array.isArray(earlier) ? earlier : [earlier]), content];
  }
  return headers;
}

function takeBytes(body: Buffer, cursor: { at: number }): Buffer | null {
  const length = body.readInt32BE(cursor.at);
  cursor.at += 4;
  if (length < 0) return null;
  cursor.at += length;
  return body.subarray(cursor.at - length, cursor.at);
}

/** The place behind it. */
function writeByteString(bytes: Buffer, content: Buffer | null, at: number): number {
  const begin = bytes.writeInt32BE(content === null ? -1 : content.length, at);
  return content === null ? begin : begin + content.copy(bytes, begin);
}

function toBuffer(content: Buffer | string): Buffer {
  return typeof content === 'string' ? Buffer.from(content) : content;
}
