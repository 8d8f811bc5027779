// Before the system tests: finds out which real services this machine can run, fetching what is missing, starts one
// Kafka and one Consul that the test files share, and ends exactly those two afterwards.
import type { TestProject } from 'vitest/node';
import { type Availability, reasonOf, unavailable } from './availability.ts';
import { findConsul } from './consul-binary.ts';
import { type ConsulServer, startConsul } from './consul-server.ts';
import { findKafka } from './kafka-jars.ts';
import { type KafkaServer, startKafka } from './kafka-server.ts';
import { findChromium, findDockerCompose, findJdk, findKcat } from './programs.ts';
import type { ServiceReport } from './services.ts';

/** Called by vitest once per run of the `system` project; what it returns is called at the end. */
export async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  const [kafka, consul] = await Promise.all([tryToStart(findKafka, startKafka), tryToStart(findConsul, startConsul)]);
  const report: ServiceReport = {
    kafka: kafka.available ? { available: true, brokers: kafka.server.brokers } : kafka,
    consul: consul.available ? { available: true, address: consul.server.address } : consul,
    java: await findJavaClient(),
    kcat: findKcat(),
    chromium: findChromium(),
    'docker-compose': findDockerCompose(),
  };
  provide('services', report);
  announceMissing(report);
  return async () => {
    const servers = [kafka, consul].flatMap((found) => (found.available ? [found.server] : []));
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()));
  };
}

async function tryToStart<Server extends KafkaServer | ConsulServer>(
  find: () => Promise<Availability<object>>,
  start: () => Promise<Server>,
): Promise<Availability<{ server: Server }>> {
  const found = await find();
  if (!found.available) return found;
  try {
    return { available: true, server: await start() };
  } catch (error) {
    return unavailable(reasonOf(error));
  }
}

async function findJavaClient(): Promise<ServiceReport['java']> {
  const jdk = await findJdk();
  if (!jdk.available) return jdk;
  const jars = await findKafka();
  return jars.available ? { ...jdk, classPath: jars.classPath } : jars;
}

/** The default reporter does not print why a test was skipped; these lines do. */
function announceMissing(report: ServiceReport): void {
  for (const [name, found] of Object.entries(report) as [string, Availability<object>][]) {
    if (!found.available) console.warn(`system tests that need ${name} cannot run: ${found.reason}`);
  }
}
