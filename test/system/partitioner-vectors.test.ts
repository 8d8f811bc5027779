// The vectors that the partitioner is tested against are what Kafka's Java client says today, not what someone once
// typed: they are made again here, with the jars that run the broker, and compared with the file.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { runJava } from '../support/java-program.ts';
import { describeWithServices } from '../support/services.ts';

const FILE = join(import.meta.dirname, '../schema/partitioner-vectors.json');

describeWithServices('the partitioner vectors', ['java'], () => {
  it('are those of the Java client', async () => {
    const lines = (await runJava('PartitionerVectors', [])).trim().split('\n');
    const made = `[\n${lines.join(',\n')}\n]\n`;
    if (process.env['UPDATE_VECTORS'] === '1') await writeFile(FILE, made);
    expect(lines.length).toBeGreaterThan(2_000);
    // By line, so that a difference names its key.
    expect(made.split('\n')).toEqual((await readFile(FILE, 'utf8')).split('\n'));
  });
});
