/** The expressions of a policy: what they may say, and what is wrong with a draft of them. */
import type { VectorRecord } from '../store/records.ts';
import { compileExpression, expressionProblem } from './compile-expression.ts';
import type { Expression, NamedPcr } from './compile-expression.ts';
import { ExpressionProblem } from './expression-syntax.ts';
import type { PolicyProblem } from './policy-problem.ts';

export interface ExpressionRule {
  readonly id: string;
  /** CEL over the claims of claims-model.ts. */
  readonly expression: string;
  /** The claim of the vector that it speaks for. */
  readonly claim: keyof VectorRecord;
  readonly severity: 'warning' | 'contraindicated';
  /** The operator's sentence; may be empty. */
  readonly message: string;
}

/** The same as it was written. */
export type ExpressionRuleDraft = Omit<ExpressionRule, 'claim' | 'severity'> & {
  readonly claim: ExpressionRule['claim'] | undefined | 'unknown';
  readonly severity: ExpressionRule['severity'] | undefined | 'unknown';
};

export const MAX_EXPRESSIONS = 64;
const MAX_EXPRESSION_BYTES = 2048;
const MAX_MESSAGE_BYTES = 512;
const RULE_ID = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export function resolveExpressions(drafts: readonly ExpressionRuleDraft[]): readonly ExpressionRule[] {
  return drafts.map(({ claim, severity, ...rule }) => ({
    ...rule,
    claim: claim === undefined || claim === 'unknown' ? 'configuration' : claim,
    severity: severity === 'warning' ? 'warning' : 'contraindicated',
  }));
}

/** Every problem, with the path of its field and the place in the expression. `alone`: the policy has no other rule. */
export function expressionProblems(drafts: readonly ExpressionRuleDraft[], alone: boolean): readonly PolicyProblem[] {
  if (drafts.length > MAX_EXPRESSIONS)
    return [{ field: 'expressions', message: `has more than ${MAX_EXPRESSIONS} rules` }];
  const problems = drafts.flatMap((draft, position) => [
    ...ruleProblems(draft, `expressions[${position}]`),
    ...(drafts.findIndex(({ id }) => id === draft.id) < position
      ? [{ field: `expressions[${position}].id`, message: 'is the id of a rule before' }]
      : []),
  ]);
  if (problems.length > 0 || !alone || drafts.length === 0) return problems;
  const measured = drafts.some(({ expression }) => looksAtMeasurements(compileExpression(expression)));
  if (measured) return [];
  return [
    {
      field: 'expressions',
      message: 'look at no measurement, and there is no other rule: one must name pcrs, boot or runtime',
    },
  ];
}

function looksAtMeasurements({ roots }: Expression): boolean {
  return roots.has('pcrs') || roots.has('boot') || roots.has('runtime');
}

function ruleProblems(draft: ExpressionRuleDraft, field: string): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  if (!RULE_ID.test(draft.id)) problems.push({ field: `${field}.id`, message: 'must be 1 to 63 of a-z, 0-9 and -' });
  if (draft.claim === undefined) problems.push({ field: `${field}.claim`, message: 'is required' });
  if (draft.claim === 'unknown') problems.push({ field: `${field}.claim`, message: 'is not a known claim' });
  if (draft.severity === 'unknown') problems.push({ field: `${field}.severity`, message: 'is not a known severity' });
  if (Buffer.byteLength(draft.message) > MAX_MESSAGE_BYTES)
    problems.push({ field: `${field}.message`, message: `is longer than ${MAX_MESSAGE_BYTES} bytes` });
  const wrong =
    Buffer.byteLength(draft.expression) > MAX_EXPRESSION_BYTES
      ? `is longer than ${MAX_EXPRESSION_BYTES} bytes`
      : expressionProblem(draft.expression);
  if (wrong !== null) problems.push({ field: `${field}.expression`, message: wrong });
  return problems;
}

/** A rule ready to judge; without an expression where this release does not take what an earlier one kept. */
export interface CompiledRule {
  readonly rule: ExpressionRule;
  readonly expression: Expression | null;
}

interface WithExpressions {
  /** Left out in what was kept before there were expressions. */
  readonly expressions?: readonly ExpressionRule[];
}

/** A version of a policy is parsed once, so its list of rules stands for it. */
const compiled = new WeakMap<readonly ExpressionRule[], readonly CompiledRule[]>();

export function compiledRules({ expressions }: WithExpressions): readonly CompiledRule[] {
  if (expressions === undefined) return [];
  const known = compiled.get(expressions);
  if (known !== undefined) return known;
  const rules = expressions.map((rule) => ({ rule, expression: compileOrNull(rule.expression) }));
  compiled.set(expressions, rules);
  return rules;
}

function compileOrNull(text: string): Expression | null {
  try {
    return compileExpression(text);
  } catch (error) {
    if (error instanceof ExpressionProblem) return null;
    throw error;
  }
}

/** The PCRs that the expressions of a policy name. */
export function pcrsOfExpressions(policy: WithExpressions): readonly NamedPcr[] {
  return compiledRules(policy).flatMap(({ expression }) => expression?.pcrs ?? []);
}

/** The PCRs that what they say of the boot rests on; null where none looks at the boot. */
export function bootPcrsOfExpressions(policy: WithExpressions): readonly number[] | null {
  const named = compiledRules(policy).flatMap(({ expression }) => expression?.bootPcrs ?? []);
  const looks = compiledRules(policy).some(({ expression }) => (expression?.bootPcrs ?? null) !== null);
  return looks ? named : null;
}

/** Whether what the list of run-time measurements came to decides. */
export function looksAtRuntime(policy: WithExpressions): boolean {
  return compiledRules(policy).some(({ expression }) => expression?.roots.has('runtime') === true);
}

/** Whether what a quote says of the TPM decides: version, counters, banks. */
export function looksAtTpm(policy: WithExpressions): boolean {
  return compiledRules(policy).some(({ expression }) => expression?.roots.has('tpm') === true);
}

/** Whether labels or the name of a host decide: they are no evidence, and change by themselves. */
export function looksAtHost(policy: WithExpressions): boolean {
  return compiledRules(policy).some(({ expression }) => expression?.roots.has('host') === true);
}

/** The rules but for those that look at what is not known of a TPM that is not asked: what only a quote says, or one of these PCRs. */
export function knownRules(policy: WithExpressions, isUnknown: (pcr: NamedPcr) => boolean): readonly ExpressionRule[] {
  const known = compiledRules(policy).filter(
    ({ expression }) => expression === null || !(expression.roots.has('tpm') || expression.pcrs.some(isUnknown)),
  );
  return known.map(({ rule }) => rule);
}
