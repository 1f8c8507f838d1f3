/** The expression language: CEL as the library parses and checks it, over the claims of claims-model.ts. */
import { Environment } from '@marcbachmann/cel-js';
import type { ASTNode } from '@marcbachmann/cel-js';

import { CLAIM_ROOTS, CLAIM_TYPES } from './claims-model.ts';

export type { ASTNode };

const MAX_NODES = 512;
const MAX_DEPTH = 32;
const MAX_ELEMENTS = 256;

/** What is wrong with an expression, and where: an offset into its text. */
export class ExpressionProblem extends Error {
  override readonly name = 'ExpressionProblem';
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

const environment = makeEnvironment();

function makeEnvironment(): Environment {
  const made = new Environment({
    limits: {
      maxAstNodes: MAX_NODES,
      maxDepth: MAX_DEPTH,
      maxListElements: MAX_ELEMENTS,
      maxMapEntries: 0,
      maxCallArguments: 4,
    },
  });
  // A type is made of types that are known already: the table has them in the order of their use, so from its end.
  for (const [name, fields] of Object.entries(CLAIM_TYPES).toReversed()) {
    const types = Object.fromEntries(Object.entries(fields).map(([field, { type }]) => [field, type]));
    made.registerType(name, { fields: types });
  }
  for (const [name, type] of Object.entries(CLAIM_ROOTS)) made.registerVariable(name, type);
  return made;
}

/** The syntax tree of an expression that is true or false by its types. Throws {@link ExpressionProblem}. */
export function parseExpression(text: string): ASTNode {
  const parsed = attempt(() => environment.parse(text));
  const checked = attempt(() => parsed.check());
  if (checked.error !== undefined) throw problemOf(checked.error);
  if (checked.type !== 'bool') throw new ExpressionProblem(`is of type ${checked.type}, not bool`, 0);
  return parsed.ast;
}

function attempt<Value>(act: () => Value): Value {
  try {
    return act();
  } catch (error) {
    throw problemOf(error);
  }
}

/** The library's own errors have a range and a summary; whatever else it throws at an expression is a refusal of it too. */
function problemOf(error: unknown): ExpressionProblem {
  const { summary, range } = error as { readonly summary?: string; readonly range?: { readonly start: number } };
  const message = typeof summary === 'string' && summary !== '' ? summary : 'cannot be read';
  return new ExpressionProblem(`${message.charAt(0).toLowerCase()}${message.slice(1)}`, range?.start ?? 0);
}

/** `line 2, column 5`, both from 1. */
export function placeIn(text: string, offset: number): string {
  const before = text.slice(0, offset).split('\n');
  return `line ${before.length}, column ${[...(before.at(-1) ?? '')].length + 1}`;
}
