/** Text that a claim never has: beside it a comparison holds of no host, and its opposite of every one. */
import type { ClaimField } from './claims-model.ts';
import { ExpressionProblem } from './expression-syntax.ts';
import type { ASTNode } from './expression-syntax.ts';

const SHOWN = 80;

/** What is wrong with the literals that a claim is compared with: `node` is one, or a list of them. */
export function foreignTexts({ texts }: Pick<ClaimField, 'texts'>, node: ASTNode): readonly ExpressionProblem[] {
  if (texts === undefined) return [];
  if (node.op === 'list') return node.args.flatMap((element) => foreignTexts({ texts }, element));
  if (node.op !== 'value' || typeof node.args !== 'string') return [];
  const message = texts === 'digests' ? digestProblem(node.args) : wordProblem(node.args, texts);
  return message === null ? [] : [new ExpressionProblem(message, node.start)];
}

/** That a text is not empty may be asked of every claim. */
function wordProblem(text: string, words: readonly string[]): string | null {
  if (text === '' || words.includes(text)) return null;
  return `${JSON.stringify(text.slice(0, SHOWN))} is none of ${words.join(', ')}`;
}

const DIGEST = /^(?:sha\d{1,3}:)?((?:[0-9a-f]{2}){20,64})$/;

/** A digest as another tool writes it. */
function digestProblem(text: string): string | null {
  const [, digest] = DIGEST.exec(text.toLowerCase().replaceAll(/[: ](?=[0-9a-f]{2}(?:[: ]|$))/g, '')) ?? [];
  if (digest === undefined || digest === text) return null;
  return `a digest is its hexadecimal digits in lower case alone: ${digest.slice(0, 8)}…`;
}
