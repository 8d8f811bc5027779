// The scalars of inventory.graphql: how a value leaves as JSON and how an argument comes in.

import { GraphQLError, GraphQLScalarType, Kind, type ValueNode } from 'graphql';
import { InventoryError } from './errors.ts';

/** Whole numbers within ±(2^53−1). A sum that has grown past that is COUNT_OUT_OF_RANGE, never rounded. */
export const SafeInt = new GraphQLScalarType<number, number>({
  name: 'SafeInt',
  serialize(value) {
    if (Number.isSafeInteger(value)) return value as number;
    if (typeof value === 'bigint') {
      throw new InventoryError('COUNT_OUT_OF_RANGE', `the sum ${value} is beyond ±(2^53−1)`);
    }
    throw new TypeError(`SafeInt cannot show ${String(value)}`);
  },
  parseValue: (value) => safeInteger(value),
  parseLiteral: (node) => safeInteger(node.kind === Kind.INT ? Number(node.value) : undefined, node),
});

/** An instant in milliseconds since 1970, as RFC 3339 in UTC. */
export const DateTime = new GraphQLScalarType<number, string>({
  name: 'DateTime',
  serialize: (value) => new Date(value as number).toISOString(),
});

/** A Kafka offset as decimal text. */
export const Offset = new GraphQLScalarType<number, string>({
  name: 'Offset',
  serialize: String,
});

function safeInteger(value: unknown, nodes?: ValueNode): number {
  if (Number.isSafeInteger(value)) return value as number;
  throw new GraphQLError('SafeInt must be a whole number within ±(2^53−1)', nodes === undefined ? {} : { nodes });
}
