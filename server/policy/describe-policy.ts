import { BOOT_CHECKS } from './boot-checks.ts';
import type { BootRules } from './boot-rules.ts';
import { describeBootRules } from './describe-boot-rules.ts';
import type { ExpressionRule } from './expression-rules.ts';
import { describeRule, nameValues } from './describe-rule.ts';
import { checksOfRuntimeRules, describeRuntimeRules } from './describe-runtime-rules.ts';
import { bootRulesOf, runtimeRulesOf } from './policy.ts';
import type { PcrRule, TrustPolicy } from './policy.ts';

/** Each kind of rule has a row: what it requires of a host, a sentence for each. */
const DESCRIPTIONS: readonly ((policy: TrustPolicy) => readonly string[])[] = [
  describeEndorsement,
  describeBanks,
  describeTimes,
  ({ pcrRules }) => pcrRules.map(describePcrRule),
  (policy) => describeBootRules(bootRulesOf(policy)),
  (policy) => describeRuntimeRules(runtimeRulesOf(policy)),
  ({ expressions = [] }) => expressions.map(describeExpression),
];

/** What a policy requires, in words, for people who do not read policies. */
export function describePolicy(policy: TrustPolicy): readonly string[] {
  return DESCRIPTIONS.flatMap((describe) => describe(policy));
}

/** What a policy requires, with the id of the check that answers it; '' where none does. */
export interface Requirement {
  readonly description: string;
  readonly check: string;
}

/** Ids of the checks behind the sentences of {@link describePolicy} that each row makes, in the same order. */
const CHECKS: readonly ((policy: TrustPolicy) => readonly string[])[] = [
  () => ['endorsement'],
  () => ['pcr-banks'],
  () => [''],
  ({ pcrRules }) => pcrRules.map(({ bank, index }) => `pcr.${bank}.${index}`),
  (policy) => bootChecks(bootRulesOf(policy)),
  (policy) => checksOfRuntimeRules(runtimeRulesOf(policy)),
  ({ expressions = [] }) => expressions.map(({ id }) => `expression.${id}`),
];

/** The same with the checks that answer. */
export function requirementsOf(policy: TrustPolicy): readonly Requirement[] {
  return DESCRIPTIONS.flatMap((describe, row) => {
    const checks = CHECKS[row]?.(policy) ?? [];
    return describe(policy).map((description, at) => ({ description, check: checks[at] ?? '' }));
  });
}

function bootChecks(boot: BootRules | null): readonly string[] {
  if (boot === null) return [];
  const names = (Object.keys(BOOT_CHECKS) as (keyof BootRules)[]).filter((name) => boot[name] !== null);
  return ['boot-log', ...names.map((name) => BOOT_CHECKS[name].id)];
}

function describeEndorsement({ quote }: TrustPolicy): readonly string[] {
  return [
    quote.allowUnendorsed
      ? 'The TPM is certified by its manufacturer, listed in the inventory, or approved by an operator on first use.'
      : 'The TPM is certified by its manufacturer or listed in the inventory.',
  ];
}

function describeBanks({ quote }: TrustPolicy): readonly string[] {
  return [
    quote.allowUnprovenBanks
      ? 'It need not be proven which PCR banks of the TPM are active.'
      : 'The TPM has proven which of its PCR banks are active.',
  ];
}

function describeTimes({ quote }: TrustPolicy): readonly string[] {
  const { interval, validity, disconnectGrace } = quote;
  return [
    `Evidence is asked for every ${inWords(interval)}; a verdict holds for ${inWords(validity)} from its challenge, and for ${inWords(disconnectGrace)} once the host is no longer connected.`,
  ];
}

function describePcrRule(rule: PcrRule): string {
  const { bank, index, allowed } = rule;
  const values =
    allowed.length === 1 ? nameValues(allowed) : `one of ${allowed.length} values (${nameValues(allowed)})`;
  return describeRule(`PCR ${index} of the ${bank} bank holds ${values}`, rule);
}

function describeExpression(rule: ExpressionRule): string {
  return describeRule(`This holds (${rule.id}): ${rule.expression.replaceAll(/\s+/g, ' ').trim()}`, rule);
}

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
];

const SMALLEST = ['ms', 1] as const;

/** The largest unit that the time is a whole number of. */
function inWords(milliseconds: number): string {
  const [unit, size] = UNITS.find(([, each]) => milliseconds >= each && milliseconds % each === 0) ?? SMALLEST;
  return `${milliseconds / size} ${unit}`;
}
