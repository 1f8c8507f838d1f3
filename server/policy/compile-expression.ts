/**
 * Makes an evaluator of a checked syntax tree. What is not in the tables here is refused: of CEL there is what a policy needs, without
 * arithmetic, regular expressions, conversions and clocks. And it is stricter in one thing: an error is never swallowed by `||`, `&&`,
 * `exists` or `all`, so that a claim which is not there cannot pass.
 */
import { CLAIM_ROOTS, CLAIM_TYPES, shapeOf } from './claims-model.ts';
import { compileCall, compileMethod, SCALAR } from './expression-calls.ts';
import type { Compiler, Part, Scope } from './expression-calls.ts';
import { foreignTexts } from './foreign-text.ts';
import { placeIn, ExpressionProblem, parseExpression } from './expression-syntax.ts';
import type { ASTNode } from './expression-syntax.ts';
import {
  areEqual,
  ExpressionFault,
  Frame,
  needBoolean,
  needInteger,
  needList,
  needMap,
  needValue,
} from './expression-value.ts';
import type { ClaimValue } from './expression-value.ts';
import { checkVendorLiterals } from './vendor-literals.ts';

/** A PCR that an expression names. */
export interface NamedPcr {
  readonly bank: string;
  readonly index: number;
}

/** A claim that an expression names as a whole, such as `boot.secure_boot.mode`. */
export interface NamedClaim {
  readonly path: string;
  readonly read: (frame: Frame) => ClaimValue;
}

export interface Expression {
  /** Throws {@link ExpressionFault}; never anything but true or false. */
  readonly evaluate: (claims: ReadonlyMap<string, ClaimValue>) => boolean;
  /** In the order in which they stand, each once. */
  readonly claims: readonly NamedClaim[];
  /** The names that it starts from: `boot`, `host`. */
  readonly roots: ReadonlySet<string>;
  /** Quoted in each round. */
  readonly pcrs: readonly NamedPcr[];
  /** PCRs that its claims of the boot rest on; null where it does not look at the boot. */
  readonly bootPcrs: readonly number[] | null;
  /** Texts beside claims that never have them. */
  readonly foreign: readonly ExpressionProblem[];
}

/** Throws {@link ExpressionProblem}. */
export function compileExpression(text: string): Expression {
  const found: Found = { claims: new Map(), roots: new Set(), pcrs: new Map(), bootPcrs: new Set(), foreign: [] };
  const compiler: Compiler = { compile: (node, scope) => compile(node, scope, found, compiler) };
  const { run } = compiler.compile(parseExpression(text), new Map());
  if (found.roots.size === 0) throw new ExpressionProblem('names no claim, so it says nothing of a host', 0);
  return {
    evaluate: (claims) => needBoolean(run(new Frame(claims))),
    claims: [...found.claims].map(([path, read]) => ({ path, read })),
    roots: found.roots,
    pcrs: [...found.pcrs.values()],
    bootPcrs: found.roots.has('boot') ? [...found.bootPcrs].toSorted((left, right) => left - right) : null,
    foreign: found.foreign,
  };
}

/** What is wrong with an expression and where; null for a good one. */
export function expressionProblem(text: string): string | null {
  try {
    const [foreign] = compileExpression(text).foreign;
    // Only of what is applied anew: a policy that is kept is judged as it was.
    checkVendorLiterals(parseExpression(text));
    if (foreign !== undefined) throw foreign;
    return null;
  } catch (error) {
    if (!(error instanceof ExpressionProblem)) throw error;
    return `${placeIn(text, error.offset)}: ${error.message}`;
  }
}

interface Found {
  readonly claims: Map<string, NamedClaim['read']>;
  readonly roots: Set<string>;
  readonly pcrs: Map<string, NamedPcr>;
  readonly bootPcrs: Set<number>;
  readonly foreign: ExpressionProblem[];
}

function compile(node: ASTNode, scope: Scope, found: Found, compiler: Compiler): Part {
  const part = compileNode(node, scope, found, compiler);
  const { run } = part;
  const counted = (frame: Frame): ClaimValue => {
    frame.spend(1);
    return run(frame);
  };
  return { ...part, run: counted };
}

function compileNode(node: ASTNode, scope: Scope, found: Found, compiler: Compiler): Part {
  const part = (child: ASTNode): Part => compiler.compile(child, scope);
  const operand = (child: ASTNode): Part['run'] => part(child).run;
  switch (node.op) {
    case 'value':
      return compileLiteral(node);
    case 'id':
      return compileName(node, node.args, scope, found);
    case '.': {
      const field = compileField(node, node.args, scope, compiler, found);
      if (BANK.test(field.path ?? '')) throw new ExpressionProblem(`name one PCR, as ${field.path}[7]`, node.start);
      return named(field, found);
    }
    case '[]':
      return named(compileIndex(node, node.args, scope, compiler, found), found);
    case 'list': {
      const elements = node.args.map(operand);
      return { run: (frame) => elements.map((element) => element(frame)), shape: { kind: 'list', element: null } };
    }
    case 'call':
      return compileCall(node, node.args, scope, compiler);
    case 'rcall':
      return compileMethod(node, node.args, scope, compiler);
    case '!_': {
      const inner = operand(node.args);
      return scalar((frame) => !needBoolean(inner(frame)));
    }
    case '?:': {
      const [condition, then, otherwise] = node.args.map(operand);
      if (condition === undefined || then === undefined || otherwise === undefined) throw refused(node);
      return scalar((frame) => (needBoolean(condition(frame)) ? then(frame) : otherwise(frame)));
    }
    default:
      return compileBinary(node, part, found);
  }
}

function compileLiteral(node: ASTNode & { readonly op: 'value' }): Part {
  const value = node.args;
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'bigint') return scalar(() => value);
  throw new ExpressionProblem('only text, integers, true and false may stand here', node.start);
}

function compileName(node: ASTNode, name: string, scope: Scope, found: Found): Part {
  const variable = scope.get(name);
  if (variable !== undefined) {
    const { position, ...known } = variable;
    return { ...known, run: (frame) => needValue(frame.variables[position], name) };
  }
  const type = Object.hasOwn(CLAIM_ROOTS, name) ? CLAIM_ROOTS[name] : undefined;
  if (type === undefined) throw new ExpressionProblem(`unknown variable: ${name}`, node.start);
  found.roots.add(name);
  return { shape: shapeOf(type), path: name, run: (frame) => needValue(frame.claims.get(name), name) };
}

/** A field of a message. Claims of the boot bring the PCRs that they rest on. */
function compileField(
  node: ASTNode,
  [target, name]: readonly [ASTNode, string],
  scope: Scope,
  compiler: Compiler,
  found: Found,
): Part {
  const { run, shape, path } = compiler.compile(target, scope);
  if (shape.kind === 'map') throw new ExpressionProblem(`a key is written ["${name}"]`, node.pos);
  const type = shape.kind === 'message' && shape.element !== null ? CLAIM_TYPES[shape.element] : undefined;
  const field = type !== undefined && Object.hasOwn(type, name) ? type[name] : undefined;
  if (field === undefined) throw new ExpressionProblem(`no such field: ${name}`, node.pos);
  for (const pcr of field.pcrs ?? []) found.bootPcrs.add(pcr);
  const at = path === undefined ? name : `${path}.${name}`;
  return {
    shape: shapeOf(field.type),
    claim: field,
    ...(path === undefined ? {} : { path: at }),
    peek: (frame) => needMap(run(frame)).get(name),
    run: (frame) => needValue(needMap(run(frame)).get(name), at),
  };
}

const BANK = /^pcrs\.(\w+)$/;
const LAST_PCR = 23n;

/** An element of a list, or a value of a map. A PCR is named by a constant, so that it can be quoted. */
function compileIndex(
  node: ASTNode,
  [target, key]: readonly [ASTNode, ASTNode],
  scope: Scope,
  compiler: Compiler,
  found: Found,
): Part {
  const { run, shape, path, claim } =
    target.op === '.' ? compileField(target, target.args, scope, compiler, found) : compiler.compile(target, scope);
  const known = claim === undefined ? {} : { claim };
  const index = compiler.compile(key, scope).run;
  const bank = BANK.exec(path ?? '')?.[1];
  const literal = key.op === 'value' ? key.args : undefined;
  if (bank !== undefined) {
    if (typeof literal !== 'bigint' || literal < 0n || literal > LAST_PCR)
      throw new ExpressionProblem('a PCR is named by a number from 0 to 23, so that it is quoted', key.start);
    found.pcrs.set(`${bank}:${literal}`, { bank, index: Number(literal) });
  }
  const at = typeof literal === 'string' || typeof literal === 'bigint' ? `[${quoted(literal)}]` : undefined;
  const whole = path === undefined || at === undefined ? {} : { path: `${path}${at}` };
  const shown = `${path ?? ''}${at ?? '[…]'}`;
  if (shape.kind === 'map') {
    const peek = (frame: Frame): ClaimValue | undefined => needMap(run(frame)).get(needKey(index(frame)));
    return { shape: SCALAR, ...known, ...whole, peek, run: (frame) => needValue(peek(frame), shown) };
  }
  if (shape.kind !== 'list') throw new ExpressionProblem('only lists and maps have elements', node.start);
  const elements = shape.element === null ? SCALAR : shapeOf(shape.element);
  return {
    shape: elements,
    ...known,
    ...whole,
    run: (frame) => needValue(needList(run(frame)).at(positionOf(needInteger(index(frame)))), shown),
  };
}

/** Never from the end: `at` takes negative numbers for that. */
function positionOf(index: bigint): number {
  if (index < 0n || index > BigInt(Number.MAX_SAFE_INTEGER))
    throw new ExpressionFault('EXPRESSION_ERROR', 'an index that no list has');
  return Number(index);
}

function needKey(key: ClaimValue): string | bigint {
  if (typeof key === 'string' || typeof key === 'bigint') return key;
  throw new ExpressionFault('EXPRESSION_ERROR', 'a key that is neither text nor an integer');
}

function quoted(key: string | bigint): string {
  return typeof key === 'string' ? JSON.stringify(key) : String(key);
}

/** Remembers a claim that is named as a whole: its value is shown. */
function named(part: Part, found: Found): Part {
  const { path, shape, run } = part;
  if (path !== undefined && shape.kind !== 'message') found.claims.set(path, run);
  return part;
}

type Binary = (left: Part['run'], right: Part['run']) => (frame: Frame) => boolean;

const compared =
  (holds: (left: bigint, right: bigint) => boolean): Binary =>
  (left, right) =>
  (frame) =>
    holds(needInteger(left(frame)), needInteger(right(frame)));

const BINARY: Readonly<Record<string, Binary>> = {
  '||': (left, right) => (frame) => needBoolean(left(frame)) || needBoolean(right(frame)),
  '&&': (left, right) => (frame) => needBoolean(left(frame)) && needBoolean(right(frame)),
  '==': (left, right) => (frame) => areEqual(left(frame), right(frame)),
  '!=': (left, right) => (frame) => !areEqual(left(frame), right(frame)),
  '<': compared((left, right) => left < right),
  '<=': compared((left, right) => left <= right),
  '>': compared((left, right) => left > right),
  '>=': compared((left, right) => left >= right),
  in: (left, right) => (frame) => isIn(left(frame), right(frame), frame),
};

function isIn(value: ClaimValue, among: ClaimValue, frame: Frame): boolean {
  if (among instanceof Map) return needMap(among).has(needKey(value));
  const list = needList(among);
  frame.spend(list.length);
  return list.some((element) => areEqual(element, value));
}

function compileBinary(node: ASTNode, part: (child: ASTNode) => Part, found: Found): Part {
  const binary = Object.hasOwn(BINARY, node.op) ? BINARY[node.op] : undefined;
  const [first, second] = binary !== undefined && Array.isArray(node.args) ? (node.args as readonly ASTNode[]) : [];
  if (binary === undefined || first === undefined || second === undefined) throw refused(node);
  const left = part(first);
  const right = part(second);
  if (node.op.startsWith('<') || node.op.startsWith('>')) checkOrder(node, [first, second]);
  const inSet = node.op === 'in' && (right.shape.kind === 'list' || right.shape.kind === 'map');
  if (left.shape.kind !== 'scalar' || (right.shape.kind !== 'scalar' && !inSet))
    throw new ExpressionProblem(`${node.op} compares single values`, node.start);
  // Keys of a map are none of its texts.
  if (right.shape.kind !== 'map')
    found.foreign.push(...foreignTexts(left.claim ?? {}, second), ...foreignTexts(right.claim ?? {}, first));
  return scalar(binary(left.run, right.run));
}

/** The order of text is that of a language: none is taken. */
function checkOrder({ op, start }: ASTNode, sides: readonly ASTNode[]): void {
  const text = sides.some((side) => side.op === 'value' && typeof side.args === 'string');
  if (text) throw new ExpressionProblem(`${op} orders integers`, start);
}

function scalar(run: Part['run']): Part {
  return { shape: SCALAR, run };
}

function refused({ op, pos }: ASTNode): ExpressionProblem {
  return new ExpressionProblem(`${op.replace('_', '')} is not part of the language of policies`, pos);
}
