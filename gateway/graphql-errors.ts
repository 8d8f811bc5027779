// How a failure looks to a GraphQL client: `extensions.code`, `retryable`, `retryAfterMs`, and never a stack. What was
// not foreseen is INTERNAL to the client; its cause goes to the log only.

import { unwrapResolverError } from '@apollo/server/errors';
import { GraphQLError, type GraphQLFormattedError } from 'graphql';
import { RETRY_AFTER_MS, toPublicError } from '../cluster/rest-count.ts';
import { InventoryError } from '../schema/errors.ts';

/** Codes of the GraphQL layer itself, with texts that are safe to show. None is worth a retry of the same request. */
const GRAPHQL_CODES: readonly string[] = [
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'OPERATION_RESOLUTION_FAILURE',
  'PERSISTED_QUERY_NOT_FOUND',
  'PERSISTED_QUERY_NOT_SUPPORTED',
  'BAD_REQUEST',
  'BAD_USER_INPUT',
];

/** Apollo's `formatError`: what of a failure reaches the client. */
export function formatError(formatted: GraphQLFormattedError, error: unknown): GraphQLFormattedError {
  const code = graphqlCode(formatted, error);
  if (code !== undefined) return { ...formatted, extensions: { code, retryable: false } };
  const { message: _, extensions: __, ...place } = formatted;
  const known = publicErrorOf(error);
  const retryAfterMs = known.retryAfterMs ?? RETRY_AFTER_MS;
  return {
    message: known.message,
    ...place,
    extensions: {
      ...known.details,
      code: known.code,
      retryable: known.retryable,
      ...(known.retryable ? { retryAfterMs } : {}),
    },
  };
}

/** The failure behind an error of the execution, with a code that clients may see. */
export function publicErrorOf(error: unknown): InventoryError {
  return toPublicError(unwrapResolverError(error));
}

/** The code of an error that the GraphQL layer found in the request, undefined for every other error. */
export function graphqlCode(
  { extensions }: { extensions?: Record<string, unknown> },
  error: unknown,
): string | undefined {
  const original = unwrapResolverError(error);
  if (original instanceof InventoryError || !(original instanceof GraphQLError)) return undefined;
  // A variable that is null where the argument is not: graphql-js finds out while executing, and gives it no code.
  if (original.message.startsWith('Argument "')) return 'BAD_USER_INPUT';
  const code = extensions?.['code'];
  return typeof code === 'string' && GRAPHQL_CODES.includes(code) ? code : undefined;
}
