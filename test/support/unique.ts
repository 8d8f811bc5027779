// Names that no other test, and no earlier run against the same servers, has used.
import { randomBytes } from 'node:crypto';

/** `prefix-1f3a…`: legal as topic, application id, node id, transactional id and Consul key. */
export function uniqueId(prefix: string): string {
  return `${prefix}-${randomBytes(6).toString('hex')}`;
}

/** The names of one deployment of the view: an application id and its two source topics. */
export function uniqueDeployment(): { applicationId: string; shipmentsTopic: string; salesTopic: string } {
  const suffix = randomBytes(6).toString('hex');
  return {
    applicationId: `inventory-${suffix}`,
    shipmentsTopic: `shipments-${suffix}`,
    salesTopic: `sales-${suffix}`,
  };
}
