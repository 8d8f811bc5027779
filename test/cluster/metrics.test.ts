import { describe, expect, it } from 'vitest';
import { createRegistry } from '../../cluster/metrics.ts';
import { VERSION } from '../../cluster/version.ts';

describe('a registry', () => {
  it('tells the build and the process’s own figures, all with our prefix', async () => {
    const text = await createRegistry({ version: VERSION, node: 'node-1' }).metrics();
    expect(text).toContain(`stockroom_build_info{version="${VERSION}",node="node-1"} 1`);
    expect(text).toMatch(/^stockroom_process_cpu_seconds_total \d/m);
    const strangers = text.split('\n').filter((line) => line !== '' && !/^(# (HELP|TYPE) )?stockroom_/.test(line));
    expect(strangers).toEqual([]);
  });

  it('is its own: two processes’ worth of figures fit into one', async () => {
    const [first, second] = ['a', 'b'].map((node) => createRegistry({ version: '1', node }));
    expect(await first?.metrics()).not.toContain('node="b"');
    expect(await second?.metrics()).toContain('node="b"');
  });
});
