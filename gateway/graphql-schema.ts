// The executable schema: inventory.graphql with its scalars and resolvers. A resolver for a field that the schema does
// not have is a bug, and stops the start.

import { ok } from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { buildSchema, GraphQLObjectType, type GraphQLScalarType, type GraphQLSchema, isScalarType } from 'graphql';
import { DateTime, Offset, SafeInt } from '../schema/scalars.ts';
import { type Resolver, resolvers } from './resolvers.ts';

/** A fresh schema: Apollo and compilers may keep things on it. */
export function createGraphqlSchema(): GraphQLSchema {
  const sdl = readFileSync(new URL('../schema/inventory.graphql', import.meta.url), 'utf8');
  const schema = buildSchema(sdl);
  for (const scalar of [SafeInt, DateTime, Offset]) useScalar(schema, scalar);
  for (const [typeName, fields] of Object.entries(resolvers)) {
    for (const [fieldName, resolver] of Object.entries(fields)) useResolver(schema, { typeName, fieldName }, resolver);
  }
  return schema;
}

function useResolver(schema: GraphQLSchema, at: { typeName: string; fieldName: string }, resolver: unknown): void {
  const type = schema.getType(at.typeName);
  ok(type instanceof GraphQLObjectType, `no object type ${at.typeName}`);
  const field = type.getFields()[at.fieldName];
  ok(field !== undefined, `no field ${at.typeName}.${at.fieldName}`);
  field.resolve = resolver as Resolver;
}

/** The type in the schema stays, with its description; it takes over how values travel. */
function useScalar(schema: GraphQLSchema, scalar: GraphQLScalarType): void {
  const type = schema.getType(scalar.name);
  ok(isScalarType(type), `no scalar ${scalar.name}`);
  type.serialize = scalar.serialize;
  type.parseValue = scalar.parseValue;
  type.parseLiteral = scalar.parseLiteral;
}
