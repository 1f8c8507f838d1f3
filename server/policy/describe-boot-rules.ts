import type { BootRules } from './boot-rules.ts';
import { describeRule, nameValues } from './describe-rule.ts';

type Requirement<Name extends keyof BootRules> = (rule: NonNullable<BootRules[Name]>) => string;

/** A row for each rule: what it requires of the boot. */
const REQUIREMENTS: { readonly [Name in keyof BootRules]: Requirement<Name> } = {
  secureBoot: () => 'Secure Boot was on when the host booted',
  allowedSigners: ({ certificates }) => `Only these signers vouch for what booted: ${nameValues(certificates)}`,
  forbiddenSigners: ({ certificates }) => `None of these signers vouches for what booted: ${nameValues(certificates)}`,
  allowedImages: ({ digests }) => `Only ${digests.length} listed images boot (${nameValues(digests)})`,
  forbiddenImages: ({ digests }) => `None of ${digests.length} listed images boots (${nameValues(digests)})`,
  sbatLevel: ({ minimum }) => {
    const components = Object.entries(minimum).map(([component, generation]) => `${component} ${generation}`);
    return `shim's revocation level is at least ${nameValues(components)}`;
  },
  commandLine: ({ allowed, required, forbidden }) => {
    const parts = [
      ...(allowed.length === 0 ? [] : [`is one of ${allowed.length} listed lines`]),
      ...(required.length === 0 ? [] : [`has ${nameValues(required)}`]),
      ...(forbidden.length === 0 ? [] : [`does not have ${nameValues(forbidden)}`]),
    ];
    return `The kernel's command line ${parts.join(' and ')}`;
  },
};

/** What the boot rules of a policy require, a sentence for each. */
export function describeBootRules(rules: BootRules | null): readonly string[] {
  if (rules === null) return [];
  const names = Object.keys(REQUIREMENTS) as (keyof BootRules)[];
  const sentences = names.flatMap((name) => describeOne(name, rules));
  return ['A boot log explains the PCR values that the TPM signed, in every active bank.', ...sentences];
}

function describeOne<Name extends keyof BootRules>(name: Name, rules: BootRules): readonly string[] {
  const rule = rules[name];
  return rule === null ? [] : [describeRule(REQUIREMENTS[name](rule), rule)];
}
