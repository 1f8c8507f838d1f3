import { IMPLEMENTATION_PCR, hashAlgorithmByName } from '../../tpm/structures/constants.ts';
import { bootContradictions } from './boot-contradictions.ts';
import { bootRuleProblems, NO_BOOT_RULES, resolveBootRules } from './boot-rules.ts';
import type { BootRules, BootRulesDraft } from './boot-rules.ts';
import { bootPcrsOfExpressions, expressionProblems, looksAtRuntime, resolveExpressions } from './expression-rules.ts';
import type { ExpressionRule, ExpressionRuleDraft } from './expression-rules.ts';
import type { PolicyProblem } from './policy-problem.ts';
import { NO_RUNTIME_RULES, referencesOfRules, resolveRuntimeRules, runtimeRuleProblems } from './runtime-rules.ts';
import type { RuntimeRules, RuntimeRulesDraft } from './runtime-rules.ts';

/** What one PCR must hold. */
export interface PcrRule {
  /** Bank by the name of its hash. */
  readonly bank: string;
  readonly index: number;
  /** Allowed values, lower-case hex. */
  readonly allowed: readonly string[];
  readonly severity: 'warning' | 'contraindicated';
  /** The operator's sentence; may be empty. */
  readonly message: string;
}

/** Times in milliseconds. */
export interface QuoteRequirements {
  readonly interval: number;
  readonly validity: number;
  readonly disconnectGrace: number;
  readonly allowUnprovenBanks: boolean;
  readonly allowUnendorsed: boolean;
}

/** What a host must satisfy to be affirmed. */
export interface TrustPolicy {
  readonly id: string;
  readonly description: string;
  readonly selector: { readonly matchLabels: Readonly<Record<string, string>>; readonly allHosts: boolean } | null;
  readonly precedence: number;
  readonly quote: QuoteRequirements;
  readonly pcrRules: readonly PcrRule[];
  /** Left out in what was kept before there were boot rules. */
  readonly boot?: BootRules | null;
  /** Left out in what was kept before there were run-time rules. */
  readonly runtime?: RuntimeRules | null;
  /** Left out in what was kept before there were expressions. */
  readonly expressions?: readonly ExpressionRule[];
}

/** A policy without rules affirms nothing. */
export function hasRules({
  pcrRules,
  boot,
  runtime,
  expressions = [],
}: Pick<TrustPolicy, 'pcrRules' | 'boot' | 'runtime' | 'expressions'>): boolean {
  return pcrRules.length > 0 || (boot ?? null) !== null || (runtime ?? null) !== null || expressions.length > 0;
}

/** What the policy asks of the boot log; null where it asks for none. An expression that looks at the boot asks for one. */
export function bootRulesOf(policy: Pick<TrustPolicy, 'boot' | 'expressions'>): BootRules | null {
  return policy.boot ?? (bootPcrsOfExpressions(policy) === null ? null : NO_BOOT_RULES);
}

/** What the policy asks of the list of run-time measurements; null where it asks for none. An expression over it asks for one. */
export function runtimeRulesOf(policy: Pick<TrustPolicy, 'runtime' | 'expressions'>): RuntimeRules | null {
  return policy.runtime ?? (looksAtRuntime(policy) ? NO_RUNTIME_RULES : null);
}

/** Resource names of the sets and keyrings that a policy names, ascending, each once. */
export function referencesOf({ runtime }: Pick<TrustPolicy, 'runtime'>): readonly string[] {
  return [...new Set(referencesOfRules(runtime ?? null))].toSorted();
}

/** A policy as it was written: what was left out is undefined, times in milliseconds. */
export interface PolicyDraft {
  readonly id: string;
  readonly description: string;
  readonly selector: { readonly matchLabels: Readonly<Record<string, string>>; readonly allHosts: boolean } | undefined;
  readonly precedence: number;
  readonly quote: {
    readonly interval: number | undefined;
    readonly validity: number | undefined;
    readonly disconnectGrace: number | undefined;
    readonly allowUnprovenBanks: boolean;
    readonly allowUnendorsed: boolean;
  };
  readonly pcrRules: readonly (Omit<PcrRule, 'severity'> & {
    readonly severity: PcrRule['severity'] | undefined | 'unknown';
  })[];
  readonly boot?: BootRulesDraft | undefined;
  readonly runtime?: RuntimeRulesDraft | undefined;
  readonly expressions?: readonly ExpressionRuleDraft[];
}

const SECOND = 1_000;
const DAY = 24 * 3_600 * SECOND;
const DEFAULT_INTERVAL = 60 * SECOND;
const MAX_RULES = 256;
const MAX_ALLOWED = 64;
const MAX_LABELS = 16;

/** How a host without a policy is challenged: it is still watched, so that its evidence is there when a policy comes. */
export const NO_POLICY_QUOTE: QuoteRequirements = {
  interval: DEFAULT_INTERVAL,
  validity: 3 * DEFAULT_INTERVAL,
  disconnectGrace: DEFAULT_INTERVAL,
  allowUnprovenBanks: false,
  allowUnendorsed: false,
};

/** Resolves defaults and checks every rule; all problems are reported together. */
export function resolvePolicyDraft(
  draft: PolicyDraft,
): { readonly policy: TrustPolicy } | { readonly problems: readonly PolicyProblem[] } {
  const interval = draft.quote.interval ?? DEFAULT_INTERVAL;
  const policy: TrustPolicy = {
    id: draft.id,
    description: draft.description,
    selector: draft.selector ?? null,
    precedence: draft.precedence,
    quote: {
      interval,
      validity: draft.quote.validity ?? 3 * interval,
      disconnectGrace: draft.quote.disconnectGrace ?? interval,
      allowUnprovenBanks: draft.quote.allowUnprovenBanks,
      allowUnendorsed: draft.quote.allowUnendorsed,
    },
    pcrRules: draft.pcrRules.map((rule) => ({
      ...rule,
      allowed: rule.allowed.map((value) => value.toLowerCase()),
      severity: rule.severity === 'warning' ? 'warning' : 'contraindicated',
    })),
    boot: draft.boot === undefined ? null : resolveBootRules(draft.boot),
    runtime: draft.runtime === undefined ? null : resolveRuntimeRules(draft.runtime),
    expressions: resolveExpressions(draft.expressions ?? []),
  };
  const problems = [
    ...identityProblems(policy),
    ...quoteProblems(policy.quote),
    ...ruleProblems(draft),
    ...(draft.boot === undefined ? [] : [...bootRuleProblems(draft.boot), ...bootContradictions(draft.boot)]),
    ...(draft.runtime === undefined ? [] : runtimeRuleProblems(draft.runtime)),
    ...expressionProblems(draft.expressions ?? [], !hasOtherRules(draft)),
  ];
  return problems.length === 0 ? { policy } : { problems };
}

const POLICY_ID = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

export function isPolicyId(text: string): boolean {
  return POLICY_ID.test(text);
}

function identityProblems(policy: TrustPolicy): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  if (!isPolicyId(policy.id)) {
    problems.push({ field: 'name', message: 'must be trustPolicies/ and 1 to 63 of a-z, 0-9 and -' });
  }
  if (Buffer.byteLength(policy.description) > 1024)
    problems.push({ field: 'description', message: 'is longer than 1024 bytes' });
  const labels = Object.entries(policy.selector?.matchLabels ?? {});
  if (labels.length > MAX_LABELS)
    problems.push({ field: 'selector.match_labels', message: `has more than ${MAX_LABELS} labels` });
  for (const [key, value] of labels) {
    const message = labelProblem(key, value);
    if (message !== null) problems.push({ field: `selector.match_labels[${JSON.stringify(key)}]`, message });
  }
  if (policy.selector !== null && !policy.selector.allHosts && labels.length === 0) {
    problems.push({
      field: 'selector',
      message: 'selects no host: give match_labels, or all_hosts, or leave the selector out',
    });
  }
  if (policy.selector?.allHosts === true && labels.length > 0) {
    problems.push({
      field: 'selector.all_hosts',
      message: 'stands beside match_labels, which would count for nothing',
    });
  }
  return problems;
}

const LABEL_KEY = /^[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?$/;
const LABEL_VALUE = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/;

/** What is wrong with a label, or null. */
export function labelProblem(key: string, value: string): string | null {
  if (!LABEL_KEY.test(key))
    return 'label names are 1 to 63 of A-Z, a-z, 0-9, ".", "_", "/" and "-", with a letter or digit at either end';
  if (!LABEL_VALUE.test(value))
    return 'label values are up to 63 of A-Z, a-z, 0-9, ".", "_" and "-", with a letter or digit at either end';
  return null;
}

function quoteProblems(quote: QuoteRequirements): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  if (!(quote.interval >= SECOND && quote.interval <= DAY)) {
    problems.push({ field: 'quote.interval', message: 'must be from 1 s to 24 h' });
  }
  if (!(quote.validity >= quote.interval && quote.validity <= 7 * DAY)) {
    problems.push({ field: 'quote.validity', message: 'must be at least the interval and at most 7 d' });
  }
  if (!(quote.disconnectGrace >= 0 && quote.disconnectGrace <= quote.validity)) {
    problems.push({ field: 'quote.disconnect_grace', message: 'must be from 0 to the validity' });
  }
  return problems;
}

function hasOtherRules({ pcrRules, boot, runtime }: PolicyDraft): boolean {
  return pcrRules.length > 0 || boot !== undefined || runtime !== undefined;
}

function ruleProblems(draft: PolicyDraft): readonly PolicyProblem[] {
  if (!hasOtherRules(draft) && (draft.expressions ?? []).length === 0) {
    const message = 'is empty, and so are boot, runtime and expressions: a policy without rules would affirm nothing';
    return [{ field: 'pcr_rules', message }];
  }
  if (draft.pcrRules.length > MAX_RULES) return [{ field: 'pcr_rules', message: `has more than ${MAX_RULES} rules` }];
  const problems: PolicyProblem[] = [];
  const seen = new Set<string>();
  for (const [position, rule] of draft.pcrRules.entries()) {
    const field = `pcr_rules[${position}]`;
    const key = `${rule.bank}:${rule.index}`;
    if (seen.has(key))
      problems.push({
        field,
        message: `is a second rule for ${rule.bank} PCR ${rule.index}: list all allowed values in one`,
      });
    seen.add(key);
    problems.push(...oneRuleProblems(rule, field));
  }
  return problems;
}

const BANKS = ['sha1', 'sha256', 'sha384', 'sha512'];

function oneRuleProblems(rule: PolicyDraft['pcrRules'][number], field: string): readonly PolicyProblem[] {
  const problems: PolicyProblem[] = [];
  const hash = BANKS.includes(rule.bank) ? hashAlgorithmByName(rule.bank) : undefined;
  if (hash === undefined) problems.push({ field: `${field}.bank`, message: `must be one of ${BANKS.join(', ')}` });
  if (!Number.isInteger(rule.index) || rule.index < 0 || rule.index >= IMPLEMENTATION_PCR) {
    problems.push({ field: `${field}.index`, message: 'must be from 0 to 23' });
  }
  if (rule.allowed.length === 0 || rule.allowed.length > MAX_ALLOWED) {
    problems.push({ field: `${field}.allowed`, message: `must hold 1 to ${MAX_ALLOWED} values` });
  }
  if (rule.severity === 'unknown') problems.push({ field: `${field}.severity`, message: 'is not a known severity' });
  if (Buffer.byteLength(rule.message) > 512)
    problems.push({ field: `${field}.message`, message: 'is longer than 512 bytes' });
  for (const [position, value] of rule.allowed.entries()) {
    if (hash !== undefined && (!/^[0-9a-fA-F]*$/.test(value) || value.length !== hash.size * 2)) {
      problems.push({
        field: `${field}.allowed[${position}]`,
        message: `must be ${hash.size * 2} hex digits, a ${rule.bank} value`,
      });
    }
  }
  return problems;
}
