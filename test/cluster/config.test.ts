import { mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { shownDefault, shownSettings } from '../../cluster/config.ts';
import { Fault, hostPorts, integer, isLoopbackHost, isWildcardHost, share } from '../../cluster/setting-parsers.ts';
import { GATEWAY_TABLE, readGatewaySettings } from '../../gateway/config.ts';
import { NODE_TABLE, readNodeSettings } from '../../node/config.ts';
import { InventoryError } from '../../schema/errors.ts';
import { tempDir } from '../support/temp-dir.ts';

const LOOPBACK = { KAFKA_BROKERS: '127.0.0.1:9092' };
const TOKEN = '0123456789abcdef';

/** The faults that reading `env` is refused with, one line each. */
function faultsOf(read: () => unknown): string[] {
  try {
    read();
  } catch (error) {
    if (!(error instanceof InventoryError) || error.code !== 'BAD_CONFIG') throw error;
    const lines = error.message.split('\n');
    return lines.slice(1).map((line) => line.trim());
  }
  throw new Error('the settings were accepted');
}
const nodeFaults = (env: Record<string, string>): string[] => faultsOf(() => readNodeSettings({ ...LOOPBACK, ...env }));
const gatewayFaults = (env: Record<string, string>): string[] =>
  faultsOf(() => readGatewaySettings({ ...LOOPBACK, ...env }));

describe('settings of a node', () => {
  it('have a default for everything but the brokers', () => {
    expect(readNodeSettings(LOOPBACK)).toEqual({
      kafka: {
        brokers: ['127.0.0.1:9092'],
        ssl: undefined,
        sasl: undefined,
        clientId: `inventory-${hostname()}`,
      },
      consul: { address: '127.0.0.1:8500', ssl: false },
      applicationId: 'inventory',
      topics: { shipments: 'shipments', sales: 'sales' },
      clusterToken: undefined,
      logLevel: 'info',
      httpHost: '127.0.0.1',
      httpPort: 4001,
      drainTimeoutMs: 25_000,
      nodeId: hostname(),
      advertisedUrl: 'http://127.0.0.1:4001',
      dataDir: join(process.cwd(), 'data'),
      rowCacheBytes: 67_108_864,
      startAt: 'zero',
      topologyWaitMs: 5_000,
      dedupeWindow: 100_000,
    });
    expect(faultsOf(() => readNodeSettings({}))).toEqual([
      'KAFKA_BROKERS: expected a comma-separated list of host:port, got nothing',
    ]);
  });

  it('never change once read', () => {
    const settings = readNodeSettings(LOOPBACK);
    expect(Object.isFrozen(settings)).toBe(true);
    expect(Object.isFrozen(settings.kafka.brokers)).toBe(true);
    expect(Object.isFrozen(settings.topics)).toBe(true);
  });

  it('take an empty variable for an unset one', () => {
    expect(readNodeSettings({ ...LOOPBACK, CLUSTER_TOKEN: '', HTTP_PORT: '' })).toMatchObject({
      httpPort: 4001,
      clusterToken: undefined,
    });
    expect(nodeFaults({ KAFKA_BROKERS: '' })).toHaveLength(1);
  });

  it('report all faults at once, each with its variable, what was expected and what came', () => {
    const faults = nodeFaults({
      KAFKA_BROKERS: 'kafka:9092,kafka2',
      HTTP_PORT: '70000',
      LOG_LEVEL: 'loud',
      ROW_CACHE_BYTES: '64MB',
      START_AT: 'end',
      ADVERTISED_URL: 'http://node-1:4001/path',
      CLUSTER_TOKEN: 'short',
    });
    expect(faults.map((fault) => fault.slice(0, fault.indexOf(':')))).toEqual([
      'KAFKA_BROKERS',
      'CLUSTER_TOKEN',
      'LOG_LEVEL',
      'HTTP_PORT',
      'ADVERTISED_URL',
      'ROW_CACHE_BYTES',
      'START_AT',
    ]);
    for (const fault of faults) expect(fault).toMatch(/: expected .+, got .+/);
    expect(faults[0]).toContain('"kafka2"');
    expect(faults[3]).toBe('HTTP_PORT: expected a whole number from 1 to 65535, in plain digits, got "70000"');
  });

  it('never show a secret, neither in a fault nor in a log', () => {
    const secret = 'hunter2 with a blank';
    const env = { ...LOOPBACK, CLUSTER_TOKEN: secret, CONSUL_HTTP_TOKEN: secret, KAFKA_SASL_PASSWORD: secret };
    expect(nodeFaults(env).join('\n')).not.toContain('hunter2');
    expect(shownSettings(NODE_TABLE, env)).toMatchObject({
      KAFKA_BROKERS: '127.0.0.1:9092',
      HTTP_PORT: '4001',
      CLUSTER_TOKEN: '(secret)',
      CONSUL_HTTP_TOKEN: '(secret)',
      KAFKA_SASL_PASSWORD: '(secret)',
    });
  });

  it('need ADVERTISED_URL behind a wildcard, and no wildcard in it', () => {
    const wildcard = { HTTP_HOST: '0.0.0.0', CLUSTER_TOKEN: TOKEN };
    expect(nodeFaults(wildcard)).toEqual([expect.stringMatching(/^ADVERTISED_URL: .*HTTP_HOST is 0\.0\.0\.0/)]);
    expect(nodeFaults({ ...wildcard, HTTP_HOST: '::' })).toEqual([expect.stringMatching(/^ADVERTISED_URL: /)]);
    expect(nodeFaults({ ...wildcard, ADVERTISED_URL: 'http://0.0.0.0:4001' })).toEqual([
      expect.stringMatching(/^ADVERTISED_URL: .*no wildcard/),
    ]);
    expect(readNodeSettings({ ...LOOPBACK, ...wildcard, ADVERTISED_URL: 'http://node-1:4001/' })).toMatchObject({
      advertisedUrl: 'http://node-1:4001',
    });
  });

  it('advertise an IPv6 address in brackets', () => {
    expect(readNodeSettings({ ...LOOPBACK, HTTP_HOST: '::1' }).advertisedUrl).toBe('http://[::1]:4001');
  });

  it.each([
    ['HTTP_HOST', { HTTP_HOST: '10.0.0.5' }],
    ['ADVERTISED_URL', { ADVERTISED_URL: 'http://node-1:4001' }],
    ['CONSUL_HTTP_ADDR', { CONSUL_HTTP_ADDR: 'https://consul.example' }],
    ['KAFKA_BROKERS', { KAFKA_BROKERS: 'localhost:9092,kafka-2:9092' }],
  ])('need CLUSTER_TOKEN once %s is not loopback', (variable, env) => {
    expect(nodeFaults(env)).toEqual([
      expect.stringMatching(new RegExp(`^CLUSTER_TOKEN: .*${variable} is not loopback`)),
    ]);
    expect(readNodeSettings({ ...LOOPBACK, ...env, CLUSTER_TOKEN: TOKEN }).clusterToken).toBe(TOKEN);
  });

  it('need the whole login to Kafka or none of it', () => {
    expect(nodeFaults({ KAFKA_SASL_USERNAME: 'stockroom' })).toEqual([
      expect.stringMatching(/^KAFKA_SASL_MECHANISM: expected all or none/),
      expect.stringMatching(/^KAFKA_SASL_PASSWORD: expected all or none/),
    ]);
    expect(nodeFaults({ KAFKA_SASL_MECHANISM: 'gssapi', KAFKA_SASL_USERNAME: 'a', KAFKA_SASL_PASSWORD: 'b' })).toEqual([
      expect.stringMatching(/^KAFKA_SASL_MECHANISM: expected one of plain, scram-sha-256, scram-sha-512, got "gssapi"/),
    ]);
    const login = { KAFKA_SASL_MECHANISM: 'scram-sha-512', KAFKA_SASL_USERNAME: 'a', KAFKA_SASL_PASSWORD: 'b' };
    expect(readNodeSettings({ ...LOOPBACK, ...login }).kafka.sasl).toEqual({
      mechanism: 'scram-sha-512',
      username: 'a',
      password: 'b',
    });
  });

  it('read certificates and the Consul token from files', async () => {
    await using files = await tempDir('config');
    const ca = join(files.path, 'ca.pem');
    writeFileSync(ca, '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n');
    const token = join(files.path, 'token');
    writeFileSync(token, 'from-the-file\n');
    const settings = readNodeSettings({
      ...LOOPBACK,
      KAFKA_SSL: 'true',
      KAFKA_SSL_CA_FILE: ca,
      CONSUL_CACERT: ca,
      CONSUL_HTTP_SSL: '1',
      CONSUL_HTTP_TOKEN: 'from-the-variable',
      CONSUL_HTTP_TOKEN_FILE: token,
    });
    expect(settings.kafka.ssl).toEqual({ caPem: expect.stringContaining('BEGIN CERTIFICATE') });
    expect(settings.consul).toMatchObject({ ssl: true, token: 'from-the-file', caPem: settings.kafka.ssl?.caPem });

    const missing = join(files.path, 'missing');
    expect(nodeFaults({ KAFKA_SSL: 'true', KAFKA_SSL_CA_FILE: missing, CONSUL_CACERT: token })).toEqual([
      expect.stringMatching(/^KAFKA_SSL_CA_FILE: expected a readable file, got ".*missing" \(ENOENT\)$/),
      expect.stringMatching(/^CONSUL_CACERT: expected a PEM file/),
    ]);
    expect(nodeFaults({ KAFKA_SSL_CA_FILE: ca })).toEqual([expect.stringMatching(/^KAFKA_SSL: expected true/)]);
  });

  it.each([
    ['127.0.0.1:8500', { address: '127.0.0.1:8500', ssl: false }],
    ['http://localhost:8500', { address: 'localhost:8500', ssl: false }],
    ['https://127.0.0.1', { address: '127.0.0.1:443', ssl: true }],
    ['https://[::1]:8501/', { address: '[::1]:8501', ssl: true }],
  ])('take CONSUL_HTTP_ADDR=%s', (CONSUL_HTTP_ADDR, consul) => {
    expect(readNodeSettings({ ...LOOPBACK, CONSUL_HTTP_ADDR }).consul).toEqual(consul);
  });

  it.each([
    '127.0.0.1',
    'unix:///run/consul.sock',
    'http://a@127.0.0.1:8500',
    'http://127.0.0.1:8500/v1',
    ':8500',
    'a:0',
  ])('refuse CONSUL_HTTP_ADDR=%s', (CONSUL_HTTP_ADDR) => {
    expect(nodeFaults({ CONSUL_HTTP_ADDR })).toEqual([expect.stringMatching(/^CONSUL_HTTP_ADDR: /)]);
  });

  it.each([' ', '.', '..', '-a', 'a/b', 'ä', 'x'.repeat(65)])('refuse APPLICATION_ID=%j', (APPLICATION_ID) => {
    expect(nodeFaults({ APPLICATION_ID })).toEqual([expect.stringMatching(/^APPLICATION_ID: /)]);
  });

  it('refuse one topic in two roles', () => {
    expect(nodeFaults({ SHIPMENTS_TOPIC: 'events', SALES_TOPIC: 'events' })).toEqual([
      expect.stringMatching(/^SALES_TOPIC: expected another topic/),
    ]);
    expect(nodeFaults({ SALES_TOPIC: 'inventory-dead-letters' })).toEqual([
      expect.stringMatching(/^SALES_TOPIC: .*dead letters/),
    ]);
  });

  it('refuse a DATA_DIR that is a file', async () => {
    await using files = await tempDir('config');
    const file = join(files.path, 'file');
    writeFileSync(file, '');
    mkdirSync(join(files.path, 'folder'));
    expect(nodeFaults({ DATA_DIR: file })).toEqual([expect.stringMatching(/^DATA_DIR: expected a folder/)]);
    expect(readNodeSettings({ ...LOOPBACK, DATA_DIR: join(files.path, 'folder') }).dataDir).toBe(
      join(files.path, 'folder'),
    );
    expect(readNodeSettings({ ...LOOPBACK, DATA_DIR: join(files.path, 'new') }).dataDir).toBe(join(files.path, 'new'));
  });
});

describe('settings of a gateway', () => {
  it('have a default for everything but the brokers', () => {
    expect(readGatewaySettings(LOOPBACK)).toMatchObject({ httpPort: 4000, corsOrigins: [], pageScanRowsMax: 10_000 });
  });

  it('take origins as browsers send them, and nothing else', () => {
    expect(
      readGatewaySettings({ ...LOOPBACK, CORS_ORIGINS: 'https://shop.example, http://localhost:3000' }).corsOrigins,
    ).toEqual(['https://shop.example', 'http://localhost:3000']);
    for (const wrong of [
      '*',
      'shop.example',
      'https://shop.example/',
      'https://shop.example/a',
      'https://SHOP.example',
    ]) {
      expect(gatewayFaults({ CORS_ORIGINS: wrong })).toEqual([expect.stringMatching(/^CORS_ORIGINS: /)]);
    }
  });
});

describe('the tables', () => {
  const settings = [...Object.values(NODE_TABLE), ...Object.values(GATEWAY_TABLE)];

  it.each(settings.map((setting) => [setting.env, setting] as const))(
    '%s has a description and a sound default',
    (_, setting) => {
      expect(setting.description).toMatch(/^[A-Z].*\.$/s);
      expect(typeof setting.default === 'string' && setting.parse(setting.default)).not.toBeInstanceOf(Fault);
      expect(typeof shownDefault(setting)).toBe('string');
    },
  );

  it('name each variable once', () => {
    for (const table of [NODE_TABLE, GATEWAY_TABLE]) {
      const names = Object.values(table).map(({ env }) => env);
      expect(new Set(names).size).toBe(names.length);
    }
  });
});

describe('the parsers', () => {
  it('give a whole number within its bounds back, and refuse every other spelling', () => {
    const parse = integer({ min: 0, max: 1_000 });
    fc.assert(
      fc.property(fc.integer({ min: -2_000, max: 2_000 }), (value) => {
        const parsed = parse(String(value));
        return value >= 0 && value <= 1_000 ? parsed === value : parsed instanceof Fault;
      }),
    );
    for (const wrong of ['1e3', '0x10', '1.0', '+1', '01', ' 1', '1_000', '64MB', 'NaN', '٣']) {
      expect(parse(wrong)).toBeInstanceOf(Fault);
    }
  });

  it('never throw, whatever the text', () => {
    const parsers = [
      ...new Set([...Object.values(NODE_TABLE), ...Object.values(GATEWAY_TABLE)].map(({ parse }) => parse)),
    ];
    const texts = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.webUrl(),
      fc.ipV6().map((ip) => `[${ip}]:80`),
    );
    expect(() =>
      fc.assert(fc.property(texts, (text) => parsers.every((parse) => parse(text) !== undefined))),
    ).not.toThrow();
  });

  it('take a share between 0 and 1', () => {
    expect([share('0'), share('1'), share('0.8'), share('.5'), share('1.00')]).toEqual([0, 1, 0.8, 0.5, 1]);
    for (const wrong of ['-0.1', '1.1', '80%', '', '1e-1', '.']) expect(share(wrong)).toBeInstanceOf(Fault);
  });

  it('take broker lists with names, addresses and blanks', () => {
    expect(hostPorts('a:1, 127.0.0.1:65535 ,[::1]:9092')).toEqual(['a:1', '127.0.0.1:65535', '[::1]:9092']);
    for (const wrong of ['', ',', 'a', 'a:', 'a:0', 'a:65536', '::1:9092', 'http://a:1', 'a b:1']) {
      expect(hostPorts(wrong)).toBeInstanceOf(Fault);
    }
  });

  it('tell loopback and wildcard hosts from others', () => {
    for (const host of ['localhost', '127.0.0.1', '127.8.9.1', '::1']) expect(isLoopbackHost(host)).toBe(true);
    for (const host of ['0.0.0.0', '10.0.0.1', '::', 'localhost.example', '128.0.0.1']) {
      expect(isLoopbackHost(host)).toBe(false);
    }
    for (const host of ['0.0.0.0', '::', '0', '0:0:0:0:0:0:0:0']) expect(isWildcardHost(host)).toBe(true);
    for (const host of ['::1', '10.0.0.0', 'a']) expect(isWildcardHost(host)).toBe(false);
  });
});
