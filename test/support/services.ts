// Which real services a system test needs, and what happens where one is missing: its suite is reported as skipped with
// the reason, or as failed under REQUIRE_SERVICES=1, so that no run can look complete that was not.
/* oxlint-disable vitest/no-conditional-tests, vitest/valid-title, vitest/valid-describe-callback, vitest/expect-expect --
   this file wraps `describe`: its names, callbacks and conditions come from the suites. */
import { describe, inject, it } from 'vitest';
import type { Availability } from './availability.ts';

/** `kafka` and `consul` are the shared servers; `java` is a JDK with Kafka's jars; the others are programs. */
export type ServiceName = 'kafka' | 'consul' | 'java' | 'kcat' | 'chromium' | 'docker-compose';

/** Found out once for the whole run by global-setup.ts. */
export interface ServiceReport {
  readonly kafka: Availability<{ brokers: string }>;
  readonly consul: Availability<{ address: string }>;
  readonly java: Availability<{ java: string; javac: string; classPath: string }>;
  readonly kcat: Availability<{ command: string }>;
  readonly chromium: Availability<{ command: string }>;
  readonly 'docker-compose': Availability<{ command: string }>;
}

declare module 'vitest' {
  interface ProvidedContext {
    services: ServiceReport;
  }
}

/** `describe` for a suite of the `system` project that can run only with all of `needed`. */
export function describeWithServices(name: string, needed: readonly ServiceName[], define: () => void): void {
  const report = inject('services');
  const missing = needed.flatMap((need) => {
    const found = report[need];
    return found.available ? [] : [`${need} is missing: ${found.reason}`];
  });
  if (missing.length === 0) {
    describe(name, define);
    return;
  }
  const reason = missing.join('; ');
  describe(name, () => {
    it(`needs ${needed.join(', ')}`, ({ skip }) => {
      if (process.env['REQUIRE_SERVICES'] === '1') throw new Error(`REQUIRE_SERVICES=1, but ${reason}`);
      skip(reason);
    });
  });
}

/** `host:port` of the run's shared Kafka: use topics, groups and transactional ids of your own (unique.ts). */
export function sharedKafka(): string {
  return service('kafka').brokers;
}

/** `host:port` of the run's shared Consul: use an application id of your own (unique.ts). */
export function sharedConsul(): string {
  return service('consul').address;
}

/** Facts of a service that the suite has named as needed; throws the reason where it is missing. */
export function service<Name extends ServiceName>(name: Name): Extract<ServiceReport[Name], { available: true }> {
  const found: ServiceReport[Name] = inject('services')[name];
  if (!found.available) throw new Error(`${name} is missing: ${found.reason}`);
  return found as Extract<ServiceReport[Name], { available: true }>;
}
