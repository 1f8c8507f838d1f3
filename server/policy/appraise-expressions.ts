import { failed, passed, unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';
import { magnitude } from './appraise-runtime.ts';
import { APPROVED, APPROVED_AT_BOOT, CONTRAINDICATED, NOT_APPROVED } from './claims.ts';
import type { Claims } from './claims.ts';
import type { Expression } from './compile-expression.ts';
import { claimsOf, possibleClaims } from './expression-claims.ts';
import type { ClaimSources } from './expression-claims.ts';
import { compiledRules, pcrsOfExpressions } from './expression-rules.ts';
import type { CompiledRule, ExpressionRule } from './expression-rules.ts';
import { ExpressionFault, Frame } from './expression-value.ts';
import type { ClaimValue } from './expression-value.ts';
import { runtimeRulesOf } from './policy.ts';
import type { TrustPolicy } from './policy.ts';

type ClaimValues = ReadonlyMap<string, ClaimValue>;

/** What each expression of the policy says of the host. */
export function appraiseExpressions(
  policy: Pick<TrustPolicy, 'runtime' | 'expressions'>,
  sources: ClaimSources,
  claims: Claims,
): readonly Finding[] {
  const rules = compiledRules(policy);
  if (rules.length === 0) return [];
  const demand = { pcrs: pcrsOfExpressions(policy), runtimeRules: runtimeRulesOf(policy) };
  const values = claimsOf(sources, demand);
  const possible = possibleClaims(values, sources, demand);
  return rules.map((rule) => checkRule(rule, possible, claims));
}

/** `possible`: what the claims may be. The expression must hold for each of them. */
function checkRule({ rule, expression }: CompiledRule, possible: readonly ClaimValues[], claims: Claims): Finding {
  const id = `expression.${rule.id}`;
  const expected = shortened(rule.expression, MAX_EXPECTED);
  if (expression === null) {
    return unevaluated(id, {
      reason: 'EXPRESSION_INVALID',
      observed: 'an expression that this release does not take',
      expected,
      message: `The expression ${rule.id} cannot be judged: the policy must be applied anew.`,
    });
  }
  const { outcome, values } = worstOf(expression, possible);
  if (outcome instanceof ExpressionFault) {
    const message = `The expression ${rule.id} cannot be judged.`;
    return unevaluated(id, {
      reason: outcome.code,
      observed: shortened(outcome.message, MAX_OBSERVED),
      expected,
      message,
    });
  }
  const observed = observe(expression, values);
  if (outcome) {
    claims.raise(rule.claim, rule.claim === 'executables' ? APPROVED_AT_BOOT : APPROVED);
    return passed(id, `The expression ${rule.id} holds.`, observed);
  }
  claims.lower(rule.claim, rule.severity === 'warning' ? NOT_APPROVED : CONTRAINDICATED);
  return failed(id, { reason: 'EXPRESSION_FALSE', observed, expected, message: sentenceOf(rule) });
}

function sentenceOf({ id, message }: ExpressionRule): string {
  return `The expression ${id} does not hold.${message === '' ? '' : ` ${message}`}`;
}

/** What does not hold decides before what cannot be judged. */
function worstOf(expression: Expression, possible: readonly ClaimValues[]) {
  const outcomes = possible.map((values) => ({ outcome: evaluate(expression, values), values }));
  const worst =
    outcomes.find(({ outcome }) => outcome === false) ??
    outcomes.find(({ outcome }) => outcome !== true) ??
    outcomes[0];
  if (worst === undefined) throw new TypeError('an expression is judged by some claims');
  return worst;
}

function evaluate({ evaluate: run }: Expression, values: ClaimValues): boolean | ExpressionFault {
  try {
    return run(values);
  } catch (error) {
    if (error instanceof ExpressionFault) return error;
    throw error;
  }
}

const MAX_SHOWN = 6;
const MAX_VALUE = 96;
const MAX_ELEMENTS = 4;
const MAX_OBSERVED = 640;
/** A result is kept at each change of it; the policy has the whole. */
const MAX_EXPECTED = 256;

/** The values of the claims that an expression names, for people: the first few, shortened. */
function observe({ claims }: Expression, values: ClaimValues): string {
  const shown = claims.slice(0, MAX_SHOWN).map(({ path, read }) => `${path} = ${valueOf(path, read, values)}`);
  const more = claims.length > MAX_SHOWN ? ` and ${claims.length - MAX_SHOWN} more` : '';
  return shortened(`${shown.join(', ')}${more}`, MAX_OBSERVED);
}

/** The list of run-time measurements grows with every round. */
const GROWING = 'runtime.';

function valueOf(path: string, read: (frame: Frame) => ClaimValue, values: ClaimValues): string {
  try {
    const value = read(new Frame(values));
    return typeof value === 'bigint' && path.startsWith(GROWING) ? magnitude(Number(value)) : shown(value);
  } catch (error) {
    if (error instanceof ExpressionFault) return 'nothing';
    throw error;
  }
}

function shown(value: ClaimValue): string {
  if (typeof value === 'string') return JSON.stringify(shortened(value, MAX_VALUE));
  if (typeof value !== 'object') return String(value);
  if (value instanceof Map) return `${value.size} entries`;
  const list = value as readonly ClaimValue[];
  if (list.length > MAX_ELEMENTS || list.some((element) => typeof element === 'object')) return `${list.length} values`;
  return `[${list.map(shown).join(', ')}]`;
}

function shortened(text: string, limit: number): string {
  return text.length > limit ? `${text.slice(0, limit).toWellFormed()}…` : text;
}
