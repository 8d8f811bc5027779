import { isEnumType, isInputObjectType, isObjectType, isSpecifiedScalarType } from 'graphql';
import { expect, test } from 'vitest';
import { createGraphqlSchema } from '../../gateway/graphql-schema.ts';

test('describes every type, field, argument and enum value', () => {
  const bare: string[] = [];
  const note = (name: string, { description }: { description?: string | null | undefined }): void => {
    if (description == null || description.trim() === '') bare.push(name);
  };
  for (const type of Object.values(createGraphqlSchema().getTypeMap())) {
    if (type.name.startsWith('__') || isSpecifiedScalarType(type)) continue;
    if (type.name !== 'Query') note(type.name, type);
    if (isEnumType(type)) for (const value of type.getValues()) note(`${type.name}.${value.name}`, value);
    if (isInputObjectType(type)) {
      for (const field of Object.values(type.getFields())) note(`${type.name}.${field.name}`, field);
    }
    if (!isObjectType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      note(`${type.name}.${field.name}`, field);
      for (const arg of field.args) note(`${type.name}.${field.name}(${arg.name})`, arg);
    }
  }
  expect(bare).toEqual([]);
});

test('offers no field that nothing answers: each root field has a resolver', () => {
  const fields = Object.values(createGraphqlSchema().getQueryType()?.getFields() ?? {});
  expect(fields.map(({ name }) => name)).toEqual(['inventory', 'inventories', 'store', 'item', 'totals', 'cluster']);
  for (const field of fields) expect(field.resolve).toBeTypeOf('function');
});
