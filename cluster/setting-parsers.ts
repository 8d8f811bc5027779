// From the text of a setting to its value, or to a Fault that says what was expected. Pure but for the three parsers that
// look at a file or folder. None throws: all faults of a process are reported together (see config.ts).

import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { BlockList, isIP } from 'node:net';
import { resolve } from 'node:path';

/** Why a text is no value of a setting: completes the sentence "expected …". */
export class Fault {
  readonly expected: string;
  /** What was found wrong, where the text itself does not show it, e.g. `ENOENT` for a file name. */
  readonly found: string | undefined;

  constructor(expected: string, found?: string) {
    this.expected = expected;
    this.found = found;
  }
}

export type Parse<Value> = (text: string) => Value | Fault;

const HOST_NAME =
  /^(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?)*$/;
const HOST_PORT = /^(?<host>\[[^\]]+\]|[^:]+):(?<port>[0-9]{1,5})$/;
const PORT_MAX = 65_535;
const FILE_BYTES_MAX = 1_048_576;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** An integer in plain digits within the bounds, both included; `unit` is for the message. */
export function integer({ min, max, unit }: { min: number; max: number; unit?: string }): Parse<number> {
  const expected = `a whole number${unit === undefined ? '' : ` of ${unit}`} from ${min} to ${max}, in plain digits`;
  return (text) => {
    const value = /^(0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? value : new Fault(expected);
  };
}

/** A decimal fraction from 0 to 1. */
export const share: Parse<number> = (text) => {
  const value = /^(0|1|0?\.[0-9]{1,9}|1\.0{1,9})$/.test(text) ? Number(text) : Number.NaN;
  return value <= 1 ? value : new Fault('a number from 0 to 1, e.g. 0.8');
};

export const port: Parse<number> = integer({ min: 1, max: PORT_MAX });

export const flag: Parse<boolean> = (text) => {
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0') return false;
  return new Fault('true or false');
};

/** One of `choices`, spelled exactly so. */
export function oneOf<Choice extends string>(...choices: readonly Choice[]): Parse<Choice> {
  return (text) => choices.find((choice) => choice === text) ?? new Fault(`one of ${choices.join(', ')}`);
}

/** A text that `pattern` matches whole; `expected` is the pattern in words. */
export function matching(pattern: RegExp, expected: string): Parse<string> {
  return (text) => (pattern.test(text) ? text : new Fault(expected));
}

/** The name of a host or its address; an IPv6 address without brackets. */
export const host: Parse<string> = (text) =>
  isHost(text) ? text : new Fault('a host name or IP address, without a port');

/** `host:port`, an IPv6 host in brackets. */
export const hostPort: Parse<string> = (text) =>
  splitHostPort(text) === undefined ? new Fault('host:port, e.g. 127.0.0.1:8500') : text;

/** Comma-separated `host:port`, at least one. */
export const hostPorts: Parse<readonly string[]> = (text) => {
  const entries = splitList(text);
  const wrong = entries.find((entry) => splitHostPort(entry) === undefined);
  if (wrong === undefined && entries.length > 0) return entries;
  return new Fault('a comma-separated list of host:port', wrong === undefined ? undefined : JSON.stringify(wrong));
};

/** Consul's address as its own tools take it: `host:port`, or a URL whose port may be left out. */
export const consulAddress: Parse<{ readonly address: string; readonly ssl: boolean }> = (text) => {
  const expected = 'host:port or http(s)://host:port, without a path';
  if (!text.includes('://'))
    return splitHostPort(text) === undefined ? new Fault(expected) : { address: text, ssl: false };
  const url = parseBareUrl(text);
  if (url === undefined) return new Fault(expected);
  const ssl = url.protocol === 'https:';
  return { address: `${url.hostname}:${url.port === '' ? (ssl ? 443 : 80) : url.port}`, ssl };
};

/** `http(s)://host[:port]` that others can call: no path, query, user or wildcard host. The value has no slash at its end. */
export const baseUrl: Parse<string> = (text) => {
  const url = parseBareUrl(text);
  if (url === undefined) return new Fault('http(s)://host:port, without path, query or user');
  return isWildcardHost(unbracket(url.hostname)) ? new Fault('a host that others can reach, no wildcard') : url.origin;
};

/** Comma-separated origins as browsers send them. */
export const origins: Parse<readonly string[]> = (text) => {
  const entries = splitList(text);
  const wrong = entries.find((entry) => parseBareUrl(entry)?.origin !== entry);
  if (wrong === undefined) return entries;
  return new Fault('a comma-separated list of origins like https://shop.example:8443', JSON.stringify(wrong));
};

/** The text of a PEM file with at least one certificate. */
export const certificateFile: Parse<string> = (path) => {
  const content = readSmallFile(path);
  if (content instanceof Fault) return content;
  return content.includes('-----BEGIN CERTIFICATE-----') ? content : new Fault('a PEM file with a certificate');
};

/** The text of a file that holds one secret, without the line end. */
export const secretFile: Parse<string> = (path) => {
  const content = readSmallFile(path);
  if (content instanceof Fault) return content;
  return content.trim() === '' ? new Fault('a file that holds a token', 'an empty file') : content.trim();
};

/** A folder, as an absolute path: one that exists and can be written to, or one that does not exist yet. */
export const folder: Parse<string> = (text) => {
  const path = resolve(text);
  try {
    if (!statSync(path).isDirectory()) return new Fault('a folder', 'something else at that path');
    accessSync(path, constants.R_OK | constants.W_OK);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') return new Fault('a folder that can be read and written', codeOf(error));
  }
  return path;
};

/** Whether only this machine can reach `hostName` (without brackets). */
export function isLoopbackHost(hostName: string): boolean {
  if (hostName === 'localhost') return true;
  const version = isIP(hostName);
  return version !== 0 && LOOPBACK.check(hostName, version === 4 ? 'ipv4' : 'ipv6');
}

/** Whether listening on `hostName` means every interface, so that it names no address to call. */
export function isWildcardHost(hostName: string): boolean {
  return /^[0.]+$/.test(hostName) || (isIP(hostName) === 6 && /^[0:]+$/.test(hostName));
}

/** Of `host:port` or a URL; without brackets. */
export function hostOf(address: string): string {
  if (address.includes('://')) return unbracket(new URL(address).hostname);
  return unbracket(splitHostPort(address)?.host ?? address);
}

/** `http://host:port` of a listening address. */
export function httpUrl({ host: hostName, port: number }: { host: string; port: number }): string {
  return `http://${isIP(hostName) === 6 ? `[${hostName}]` : hostName}:${number}`;
}

function splitHostPort(text: string): { host: string; port: number } | undefined {
  const { host: hostName = '', port: digits = '' } = HOST_PORT.exec(text)?.groups ?? {};
  const number = Number(digits);
  if (number < 1 || number > PORT_MAX) return undefined;
  const bracketed = hostName.startsWith('[');
  const valid = bracketed ? isIP(unbracket(hostName)) === 6 : isHost(hostName);
  return valid ? { host: hostName, port: number } : undefined;
}

function isHost(text: string): boolean {
  return isIP(text) !== 0 || HOST_NAME.test(text);
}

function unbracket(hostName: string): string {
  return hostName.replace(/^\[(.*)\]$/, '$1');
}

/** A URL of nothing but scheme, host and port. */
function parseBareUrl(text: string): URL | undefined {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) return undefined;
  const url = new URL(text);
  const bare = url.username + url.password + url.search + url.hash === '' && url.pathname === '/';
  return bare && !/[?#]/.test(text) ? url : undefined;
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

function readSmallFile(path: string): string | Fault {
  try {
    if (statSync(path).size > FILE_BYTES_MAX) return new Fault(`a file of at most ${FILE_BYTES_MAX} bytes`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    return new Fault('a readable file', codeOf(error));
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}
