/** The functions and macros of expressions, a row for each. */
import { CLAIM_ROOTS, shapeOf } from './claims-model.ts';
import type { ClaimField, ClaimShape } from './claims-model.ts';
import { ExpressionProblem } from './expression-syntax.ts';
import type { ASTNode } from './expression-syntax.ts';
import { needBoolean, needList, needText, needValue } from './expression-value.ts';
import type { ClaimValue, Frame } from './expression-value.ts';

/** A part of an expression, ready to run. */
export interface Part {
  readonly run: (frame: Frame) => ClaimValue;
  readonly shape: ClaimShape;
  /** Whose text it is, or that of its elements, where that is one claim. */
  readonly claim?: ClaimField;
  /** The whole name of a claim, where it is one: `boot.images`. */
  readonly path?: string;
  /** What `has` looks at: undefined where what it is in is there, and it is not. */
  readonly peek?: (frame: Frame) => ClaimValue | undefined;
}

/** The variables around a part: where each stands among them, and what it is. */
export type Scope = ReadonlyMap<string, { readonly position: number } & Pick<Part, 'shape' | 'claim'>>;

export interface Compiler {
  readonly compile: (node: ASTNode, scope: Scope) => Part;
}

export const SCALAR: ClaimShape = { kind: 'scalar', element: null };
const LIST: ClaimShape = { kind: 'list', element: null };

export function compileCall(
  node: ASTNode,
  [name, args]: readonly [string, readonly ASTNode[]],
  scope: Scope,
  compiler: Compiler,
): Part {
  const [argument] = args;
  if (argument === undefined || args.length !== 1) throw noFunction(name, node);
  const part = compiler.compile(argument, scope);
  if (name === 'size') return sizeOf(part);
  if (name !== 'has') throw noFunction(name, node);
  const { peek, path = 'a field' } = part;
  if (peek === undefined) throw new ExpressionProblem('has() takes a field', argument.start);
  const run = (frame: Frame): boolean => {
    const value = peek(frame);
    // That a claim is not there must be proven as well.
    return value !== undefined && needValue(value, path) !== undefined;
  };
  return { shape: SCALAR, run };
}

export function compileMethod(
  node: ASTNode,
  [name, receiver, args]: readonly [string, ASTNode, readonly ASTNode[]],
  scope: Scope,
  compiler: Compiler,
): Part {
  const target = compiler.compile(receiver, scope);
  if (name === 'size' && args.length === 0) return sizeOf(target);
  if (Object.hasOwn(MACROS, name)) return compileMacro(node, { name, target, args }, scope, compiler);
  const method = Object.hasOwn(TEXT_METHODS, name) ? TEXT_METHODS[name] : undefined;
  const [argument] = args.map((each) => compiler.compile(each, scope).run);
  if (method === undefined || argument === undefined || args.length !== 1) throw noFunction(name, node);
  const { run } = target;
  return {
    shape: SCALAR,
    run: (frame) => {
      const text = needText(run(frame));
      frame.spend(Math.ceil(text.length / CHARACTERS_OF_A_STEP));
      return method(text, needText(argument(frame)));
    },
  };
}

const CHARACTERS_OF_A_STEP = 64;

/** No regular expressions: one that takes forever is written too easily, and these say the same to people who read policies. */
const TEXT_METHODS: Readonly<Record<string, (text: string, argument: string) => string | boolean>> = {
  contains: (text, argument) => text.includes(argument),
  startsWith: (text, argument) => text.startsWith(argument),
  endsWith: (text, argument) => text.endsWith(argument),
};

function sizeOf({ run }: Part): Part {
  return {
    shape: SCALAR,
    run: (frame) => {
      const value = run(frame);
      if (value instanceof Map) return BigInt(value.size);
      if (typeof value !== 'string') return BigInt(needList(value).length);
      frame.spend(Math.ceil(value.length / CHARACTERS_OF_A_STEP));
      return BigInt([...value].length);
    },
  };
}

/** How many elements hold what the predicate says, or which. Every element is asked: an error is not passed over. */
interface Macro {
  readonly shape: 'scalar' | 'same' | 'list';
  readonly result: (items: readonly ClaimValue[], answer: (item: ClaimValue) => ClaimValue) => ClaimValue;
}

const holding = (items: readonly ClaimValue[], answer: (item: ClaimValue) => ClaimValue): readonly ClaimValue[] =>
  items.filter((item) => needBoolean(answer(item)));

const MACROS: Readonly<Record<string, Macro>> = {
  all: { shape: 'scalar', result: (items, answer) => holding(items, answer).length === items.length },
  exists: { shape: 'scalar', result: (items, answer) => holding(items, answer).length > 0 },
  exists_one: { shape: 'scalar', result: (items, answer) => holding(items, answer).length === 1 },
  filter: { shape: 'same', result: holding },
  map: { shape: 'list', result: (items, answer) => items.map(answer) },
};

function compileMacro(
  node: ASTNode,
  { name, target, args }: { readonly name: string; readonly target: Part; readonly args: readonly ASTNode[] },
  scope: Scope,
  compiler: Compiler,
): Part {
  const macro = MACROS[name];
  const [variable, body] = args;
  if (macro === undefined || variable?.op !== 'id' || body === undefined || args.length !== 2)
    throw noFunction(name, node);
  if (target.shape.kind !== 'list') throw new ExpressionProblem(`${name}() goes over a list`, node.start);
  if (scope.has(variable.args) || Object.hasOwn(CLAIM_ROOTS, variable.args))
    throw new ExpressionProblem(`${variable.args} has a meaning here: take another name`, variable.start);
  const { element } = target.shape;
  const position = scope.size;
  const shape = element === null ? SCALAR : shapeOf(element);
  const claim = target.claim === undefined ? {} : { claim: target.claim };
  const inner = new Map(scope).set(variable.args, { position, shape, ...claim });
  const { run } = compiler.compile(body, inner);
  const result = (frame: Frame): ClaimValue =>
    macro.result(needList(target.run(frame)), (item) => {
      frame.variables[position] = item;
      return run(frame);
    });
  return {
    run: result,
    shape: { scalar: SCALAR, same: target.shape, list: LIST }[macro.shape],
    ...(macro.shape === 'same' ? claim : {}),
  };
}

function noFunction(name: string, node: ASTNode): ExpressionProblem {
  return new ExpressionProblem(`${name}() is not part of the language of policies`, node.start);
}
