import { it } from 'vitest';
import { startCluster } from '../support/cluster.ts';
import { describeWithServices, sharedConsul, sharedKafka } from '../support/services.ts';

describeWithServices('a cluster', ['kafka', 'consul'], () => {
  it('starts', async () => {
    await using cluster = await startCluster({ kafka: sharedKafka(), consul: sharedConsul() });
    await cluster.produce([
      { role: 'shipments', key: '10/CA', count: 200 },
      { role: 'sales', key: '10/CA', count: 20 },
      { role: 'sales', key: '10/CB', count: 20 },
    ]);
    await cluster.allKeysCorrect();
  });
});
