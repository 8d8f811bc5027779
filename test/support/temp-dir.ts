// A folder of a test's own, gone when the test's scope ends.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface TempDir extends AsyncDisposable {
  readonly path: string;
}

/** `await using folder = await tempDir('shard')`: made now, removed with everything in it at the end of the scope. */
export async function tempDir(purpose = 'test'): Promise<TempDir> {
  const path = await mkdtemp(join(tmpdir(), `stockroom-${purpose}-`));
  return {
    path,
    // A process that has just been killed may still be letting go of its files: hence the retries.
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }),
  };
}
