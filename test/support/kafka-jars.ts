// The jars of the pinned Kafka: broker, tools and the Java client in one class path. From KAFKA_HOME where it is set,
// else fetched once by Maven from java/pom.xml, which names the version. The entry is named by that file's content.
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Availability, reasonOf, unavailable } from './availability.ts';
import { findJava, findOnPath } from './programs.ts';
import { runCommand } from './run-command.ts';
import { cached, cacheRoot, contentHash } from './service-cache.ts';

const POM = join(import.meta.dirname, 'java/pom.xml');
const MAVEN_TIMEOUT_MS = 180_000;

/** `classPath` may be given to `java -cp` as it is: its wildcard is Java's, not the shell's. */
export async function findKafka(): Promise<Availability<{ java: string; classPath: string }>> {
  const runtime = await findJava();
  if (!runtime.available) return runtime;
  const { java } = runtime;
  const home = process.env['KAFKA_HOME'];
  if (home !== undefined && home !== '') {
    return existsSync(join(home, 'libs'))
      ? { available: true, java, classPath: join(home, 'libs', '*') }
      : unavailable(`KAFKA_HOME=${home} has no folder libs`);
  }
  try {
    return { available: true, java, classPath: join(await fetchJars(), '*') };
  } catch (error) {
    return unavailable(reasonOf(error));
  }
}

async function fetchJars(): Promise<string> {
  const name = `kafka-jars-${contentHash(await readFile(POM, 'utf8'))}`;
  return cached({ name, build: copyDependencies });
}

async function copyDependencies(folder: string): Promise<void> {
  const maven = findOnPath('mvn');
  if (maven === undefined)
    throw new Error("no mvn on the PATH to fetch Kafka's jars with; install Maven or set KAFKA_HOME");
  const args = ['--quiet', '--batch-mode', '--file', POM, 'dependency:copy-dependencies'];
  const folders = [`-DoutputDirectory=${folder}`, `-Dmaven.repo.local=${join(cacheRoot(), 'maven')}`];
  await runCommand(maven, [...args, ...folders], { timeoutMs: MAVEN_TIMEOUT_MS });
}
