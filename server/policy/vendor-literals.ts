/** Text that a claim never has: the maker of a TPM is read out of the id that its certificate holds. */
import { readManufacturer } from '../../tpm/endorsement/ek-certificate.ts';
import { ExpressionProblem } from './expression-syntax.ts';
import type { ASTNode } from './expression-syntax.ts';

const COMPARISONS: readonly string[] = ['==', '!=', 'in'];

/**
 * Refuses a comparison of `identity.manufacturer` with an id, such as `id:53544D20`, that reads as text: it would hold of no TPM, and
 * its opposite of every one. Throws {@link ExpressionProblem}.
 */
export function checkVendorLiterals(node: ASTNode): void {
  const children = childrenOf(node.args);
  if (COMPARISONS.includes(node.op) && children.some(isManufacturer)) {
    for (const child of children) checkLiteral(child);
  }
  for (const child of children) checkVendorLiterals(child);
}

/** A value, or each element of a list. */
function checkLiteral(node: ASTNode): void {
  if (node.op === 'list') for (const element of node.args) checkLiteral(element);
  if (node.op !== 'value' || typeof node.args !== 'string') return;
  const read = readManufacturer(node.args);
  if (!/^id:/i.test(node.args) || read === node.args) return;
  const message = `identity.manufacturer is the text of the id: write "${read}" for "${node.args}"`;
  throw new ExpressionProblem(message, node.start);
}

function isManufacturer(node: ASTNode): boolean {
  if (node.op !== '.') return false;
  const [target, name] = node.args;
  return name === 'manufacturer' && target.op === 'id' && target.args === 'identity';
}

/** Nodes anywhere in the arguments of a node: one, a list, or a list within it. */
function childrenOf(args: unknown): readonly ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(childrenOf);
  return typeof args === 'object' && args !== null && 'op' in args ? [args as ASTNode] : [];
}
