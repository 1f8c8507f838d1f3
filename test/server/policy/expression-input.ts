/** Expressions, and a host that a test changes for them. */
import { appraise } from '../../../server/policy/appraise.ts';
import type { AppraisalInput } from '../../../server/policy/appraise.ts';
import type { ExpressionRule } from '../../../server/policy/expression-rules.ts';
import type { CheckRecord, Verdict } from '../../../server/store/records.ts';
import { BASE, policy } from './appraisal-input.ts';

export const RULE: Omit<ExpressionRule, 'expression'> = {
  id: 'rule',
  claim: 'configuration',
  severity: 'contraindicated',
  message: '',
};

/** The verdict on a good host whose policy has this expression beside one good PCR rule. */
export function judge(
  expression: string,
  change: Partial<AppraisalInput> = {},
  rule: Partial<ExpressionRule> = {},
): Verdict {
  const judging = { ...policy([{}]), expressions: [{ ...RULE, ...rule, expression }] };
  const applicable = { kind: 'policy', policy: judging, version: 1, references: [] } as const;
  return appraise({ ...BASE, ...change, applicable });
}

export function checkOf(verdict: Verdict, id = 'expression.rule'): CheckRecord {
  const check = verdict.checks.find((candidate) => candidate.id === id);
  if (check === undefined) throw new Error(`no check ${id}`);
  return check;
}
