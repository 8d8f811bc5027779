import { pino } from 'pino';
import { Registry } from 'prom-client';
import { describe, expect, test } from 'vitest';
import { createGateway, type GatewayOptions } from '../../gateway/gateway.ts';
import type { InventoryError } from '../../schema/errors.ts';
import { FakeCluster, TOPICS } from '../support/fake-nodes.ts';

function gatewayOver(cluster: FakeCluster, options: Partial<GatewayOptions['settings']>, misfits: InventoryError[]) {
  return createGateway({
    directory: cluster.directory,
    openShardApi: cluster.openShardApi,
    settings: {
      applicationId: 'inventory',
      topics: TOPICS,
      httpHost: '127.0.0.1',
      httpPort: 0,
      drainTimeoutMs: 5_000,
      pageScanRowsMax: 10_000,
      corsOrigins: [],
      ...options,
    },
    logger: pino({ level: 'silent' }),
    registry: new Registry(),
    onMisfit: (error) => misfits.push(error),
  });
}

describe('a gateway', () => {
  test('refuses a directory that describes another deployment, says so once, and never becomes ready', async () => {
    const cluster = new FakeCluster();
    const misfits: InventoryError[] = [];
    const gateway = gatewayOver(cluster, { topics: { shipments: 'arrivals', sales: 'sales' } }, misfits);
    const { url } = await gateway.listen();
    cluster.publish();
    expect(misfits).toMatchObject([{ code: 'BAD_CONFIG', message: expect.stringContaining('arrivals') }]);
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    await gateway.close();
  });

  test('says which port is taken', async () => {
    const cluster = new FakeCluster();
    const first = gatewayOver(cluster, {}, []);
    const { url } = await first.listen();
    const second = gatewayOver(cluster, { httpPort: Number(new URL(url).port) }, []);
    await expect(second.listen()).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await second.close();
    await first.close();
  });

  test('may be closed twice, while it begins to listen, and without ever listening', async () => {
    const gateway = gatewayOver(new FakeCluster(), {}, []);
    await gateway.listen();
    await gateway.close();
    await gateway.close();
    const hasty = gatewayOver(new FakeCluster(), {}, []);
    const listening = hasty.listen();
    await hasty.close();
    await expect(fetch(`${(await listening).url}/healthz`)).rejects.toThrow('fetch failed');
    await gatewayOver(new FakeCluster(), {}, []).close();
  });
});
