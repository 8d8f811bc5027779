// How large a query may be. Anything that a client can write under the body limit must be parsed, checked and answered
// without upsetting others: no exhausted stack, no quadratic validation, no answer that explodes (I9).
//
// Bracket nesting is checked on the text, before a parser that recurses sees it; depth, aliases and fields on the document,
// by validation. Fragments are weighed once each, however often they are spread.

import {
  type ASTVisitor,
  type DocumentNode,
  type FragmentDefinitionNode,
  GraphQLError,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
  type ValidationContext,
} from 'graphql';

/** Tokens of a document. */
export const TOKENS_MAX = 5_000;
/** Selections within selections, fragments resolved. */
export const DEPTH_MAX = 12;
/** The same below `__schema` and `__type`: what the usual tools ask has 15. */
export const INTROSPECTION_DEPTH_MAX = 16;
/** Fields with an alias, fragments resolved. */
export const ALIASES_MAX = 100;
/** Brackets within brackets, of any kind. */
export const NESTING_MAX = 100;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const HASH = 0x23;

/** Whether brackets nest deeper than NESTING_MAX anywhere in a query's text. Strings and comments do not count. */
export function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x7b: // {
      case 0x5b: // [
      case 0x28: // (
        if (++depth > NESTING_MAX) return true;
        break;
      case 0x7d: // }
      case 0x5d: // ]
      case 0x29: // )
        depth--;
        break;
      case QUOTE:
        i = endOfString(text, i);
        break;
      case HASH:
        i = endOfLine(text, i);
        break;
    }
  }
  return false;
}

/** Index of the last character of the string that begins at `start`; the text's end if it is never closed. */
function endOfString(text: string, start: number): number {
  const isBlock = text.startsWith('"""', start);
  for (let i = start + (isBlock ? 3 : 1); i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (isBlock) {
      if (text.startsWith('\\"""', i)) i += 3;
      else if (code === QUOTE && text.startsWith('"""', i)) return i + 2;
    } else if (code === BACKSLASH) {
      i++;
    } else if (code === QUOTE || code === 0x0a || code === 0x0d) {
      return i;
    }
  }
  return text.length;
}

function endOfLine(text: string, start: number): number {
  for (let i = start; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x0a || code === 0x0d) return i;
  }
  return text.length;
}

/** What a selection set weighs, its fragments included. */
interface Weight {
  readonly depth: number;
  readonly introspectionDepth: number;
  readonly aliases: number;
}

/** Validation rule: each operation within DEPTH_MAX, INTROSPECTION_DEPTH_MAX and ALIASES_MAX. */
export function queryLimitsRule(context: ValidationContext): ASTVisitor {
  const weigh = documentWeigher(context.getDocument());
  return {
    OperationDefinition(operation: OperationDefinitionNode) {
      for (const fault of faultsOf(weigh(operation.selectionSet))) {
        context.reportError(new GraphQLError(fault, { nodes: operation }));
      }
      return false;
    },
  };
}

function faultsOf({ depth, introspectionDepth, aliases }: Weight): string[] {
  const faults: string[] = [];
  if (depth > DEPTH_MAX) faults.push(`the query is ${depth} levels deep; at most ${DEPTH_MAX} are answered`);
  if (introspectionDepth > INTROSPECTION_DEPTH_MAX) {
    faults.push(
      `the introspection is ${introspectionDepth} levels deep; at most ${INTROSPECTION_DEPTH_MAX} are answered`,
    );
  }
  if (aliases > ALIASES_MAX) faults.push(`the query has ${aliases} aliases; at most ${ALIASES_MAX} are answered`);
  return faults;
}

const NOTHING: Weight = { depth: 0, introspectionDepth: 0, aliases: 0 };

function documentWeigher(document: DocumentNode): (set: SelectionSetNode) => Weight {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const node of document.definitions) {
    if (node.kind === Kind.FRAGMENT_DEFINITION) fragments.set(node.name.value, node);
  }
  const weights = new Map<string, Weight>();

  function weighSet(set: SelectionSetNode): Weight {
    return set.selections.map(weighSelection).reduce(addWeights, NOTHING);
  }

  function weighSelection(selection: SelectionNode): Weight {
    if (selection.kind === Kind.FRAGMENT_SPREAD) return weighFragment(selection.name.value);
    if (selection.kind === Kind.INLINE_FRAGMENT) return weighSet(selection.selectionSet);
    const below = selection.selectionSet === undefined ? NOTHING : weighSet(selection.selectionSet);
    const aliases = below.aliases + (selection.alias === undefined ? 0 : 1);
    return isIntrospection(selection.name.value)
      ? { depth: 1, introspectionDepth: below.depth + 1, aliases }
      : { depth: below.depth + 1, introspectionDepth: below.introspectionDepth, aliases };
  }

  /** Each fragment once. A cycle, which another rule reports, and an unknown fragment weigh nothing. */
  function weighFragment(name: string): Weight {
    const known = weights.get(name);
    if (known !== undefined) return known;
    weights.set(name, NOTHING);
    const fragment = fragments.get(name);
    const weight = fragment === undefined ? NOTHING : weighSet(fragment.selectionSet);
    weights.set(name, weight);
    return weight;
  }

  return weighSet;
}

function isIntrospection(fieldName: string): boolean {
  return fieldName === '__schema' || fieldName === '__type';
}

function addWeights(a: Weight, b: Weight): Weight {
  return {
    depth: Math.max(a.depth, b.depth),
    introspectionDepth: Math.max(a.introspectionDepth, b.introspectionDepth),
    aliases: a.aliases + b.aliases,
  };
}
