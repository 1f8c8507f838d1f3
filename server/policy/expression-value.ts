/** Values of an expression while it is evaluated. A message is a map of its fields; integers are bigints, keys of maps too. */
export type ClaimValue =
  | string
  | boolean
  | bigint
  | Unproven
  | readonly ClaimValue[]
  | ReadonlyMap<string | bigint, ClaimValue>;

/** Stands where the evidence does not say what a claim is. That it is absent cannot be said either. */
export class Unproven {
  readonly why: string;

  constructor(why: string) {
    this.why = why;
  }
}

/** Fields of a message; those that are undefined are absent. */
export function message(fields: Readonly<Record<string, ClaimValue | undefined>>): ReadonlyMap<string, ClaimValue> {
  return new Map(Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

/** Why an expression has no value. */
export type FaultCode = 'EXPRESSION_CLAIM_MISSING' | 'EXPRESSION_LIMIT' | 'EXPRESSION_ERROR';

/** Ends an evaluation: whatever stands around it, the expression has no value then. */
export class ExpressionFault extends Error {
  override readonly name = 'ExpressionFault';
  readonly code: FaultCode;

  constructor(code: FaultCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Steps of one evaluation: a node of the expression is one, and so are 64 characters or one element that an operator looks at. */
export const MAX_STEPS = 10_000;

/** One evaluation. */
export class Frame {
  readonly claims: ReadonlyMap<string, ClaimValue>;
  /** Of the variables of `all`, `exists` and the like, the outermost first. */
  readonly variables: ClaimValue[] = [];
  #left = MAX_STEPS;

  constructor(claims: ReadonlyMap<string, ClaimValue>) {
    this.claims = claims;
  }

  spend(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) throw new ExpressionFault('EXPRESSION_LIMIT', `more than ${MAX_STEPS} steps`);
  }
}

/** Throws where a claim is not there, or not proven. `path` names it to people. */
export function needValue(value: ClaimValue | undefined, path: string): ClaimValue {
  if (value === undefined) throw new ExpressionFault('EXPRESSION_CLAIM_MISSING', `${path}: not there`);
  if (value instanceof Unproven) throw new ExpressionFault('EXPRESSION_CLAIM_MISSING', `${path}: ${value.why}`);
  return value;
}

export function needBoolean(value: ClaimValue): boolean {
  if (typeof value === 'boolean') return value;
  throw wrongType('true or false');
}

export function needText(value: ClaimValue): string {
  if (typeof value === 'string') return value;
  throw wrongType('text');
}

export function needInteger(value: ClaimValue): bigint {
  if (typeof value === 'bigint') return value;
  throw wrongType('an integer');
}

export function needList(value: ClaimValue): readonly ClaimValue[] {
  if (Array.isArray(value)) return value as readonly ClaimValue[];
  throw wrongType('a list');
}

export function needMap(value: ClaimValue): ReadonlyMap<string | bigint, ClaimValue> {
  if (value instanceof Map) return value as ReadonlyMap<string | bigint, ClaimValue>;
  throw wrongType('a map');
}

/** Only what has an order of equality that nobody disputes is compared. */
export function areEqual(left: ClaimValue, right: ClaimValue): boolean {
  if (typeof left === 'object' || typeof left !== typeof right) throw wrongType('two values of one simple type');
  return left === right;
}

function wrongType(wanted: string): ExpressionFault {
  return new ExpressionFault('EXPRESSION_ERROR', `a value that is not ${wanted}`);
}
