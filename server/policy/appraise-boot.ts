import { failed, passed, unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';
import type { BootOutcome, VerifiedBoot } from '../verifier/verify-boot.ts';
import { BOOT_CHECKS } from './boot-checks.ts';
import type { BootCheck, BootFailure, RuleFinding } from './boot-checks.ts';
import type { BootRule, BootRules } from './boot-rules.ts';
import { APPROVED, APPROVED_AT_BOOT, CONTRAINDICATED, ELEMENTS_MISSING, NOT_APPROVED } from './claims.ts';
import type { Claims } from './claims.ts';

/** What is known of the present boot of a host. */
export type BootEvidence =
  | BootOutcome
  /** PCRs no longer hold what the log was replayed against. */
  | { readonly kind: 'moved'; readonly finding: Finding }
  /** The logs and the values of every bank did not come together yet. */
  | { readonly kind: 'none' };

/** Whether the log can be believed, and what each boot rule of the policy says of it. */
export function appraiseBoot(evidence: BootEvidence, rules: BootRules | null, claims: Claims): readonly Finding[] {
  if (rules === null) return [checkWithoutRules(evidence, claims)];
  const log = checkLog(evidence, claims);
  if (evidence.kind !== 'verified') return [log, ...everyRule(rules).map(([check]) => unverified(check))];
  return [log, ...everyRule(rules).map(([check, rule]) => checkRule(check, rule, { boot: evidence.boot, claims }))];
}

type RuleName = keyof BootRules;

function everyRule(rules: BootRules): readonly (readonly [BootCheck, BootRule])[] {
  return (Object.keys(BOOT_CHECKS) as RuleName[]).flatMap((name) => {
    const rule = rules[name];
    return rule === null ? [] : [[BOOT_CHECKS[name], rule] as const];
  });
}

/** Nothing is asked of the log; but a false one is a lie of the host, and it is not affirmed while it stands. */
function checkWithoutRules(evidence: BootEvidence, claims: Claims): Finding {
  switch (evidence.kind) {
    case 'verified':
      return passed('boot-log', 'The boot log explains the PCR values of every active bank.');
    case 'unverified':
      claims.lower('configuration', ELEMENTS_MISSING);
      return evidence.finding;
    case 'missing':
      return passed(
        'boot-log',
        'The host has no boot log that it can read, and the policy asks for none.',
        evidence.finding.observed,
      );
    default:
      return passed('boot-log', 'No boot log was replayed, and the policy asks for none.');
  }
}

function checkLog(evidence: BootEvidence, claims: Claims): Finding {
  switch (evidence.kind) {
    case 'verified':
      return checkContradictions(evidence.boot, claims);
    case 'unverified':
      claims.lower('configuration', CONTRAINDICATED);
      return evidence.finding;
    case 'missing':
    case 'moved':
      return evidence.finding;
    case 'none':
      return unevaluated('boot-log', {
        reason: 'BOOT_LOG_MISSING',
        observed: 'no boot log for this boot',
        expected: 'the boot log with a quote of every active bank',
        message: 'The boot log of this boot has not come yet. It is being asked for.',
      });
  }
}

function checkContradictions({ contradictions }: VerifiedBoot, claims: Claims): Finding {
  if (contradictions.length === 0) {
    return passed('boot-log', 'The boot log explains the PCR values of every active bank.');
  }
  claims.lower('configuration', CONTRAINDICATED);
  return failed('boot-log', {
    reason: 'BOOT_LOG_INCONSISTENT',
    observed: contradictions.join(', '),
    expected: 'a boot log as firmware writes it',
    message: 'The boot log explains the PCRs and tells of something that no sound boot does.',
  });
}

function unverified({ id }: BootCheck): Finding {
  return unevaluated(id, {
    reason: 'BOOT_UNVERIFIED',
    observed: 'no verified boot log',
    expected: 'a boot log that explains the proven PCR values',
    message: 'What booted is not proven, so this rule cannot be judged.',
  });
}

function checkRule(
  check: BootCheck,
  rule: BootRule,
  { boot, claims }: { readonly boot: VerifiedBoot; readonly claims: Claims },
): Finding {
  const finding = evaluate(check, rule, boot);
  if (finding.kind === 'passed') {
    claims.raise(check.claim, check.claim === 'executables' ? APPROVED_AT_BOOT : APPROVED);
    return passed(check.id, finding.message, finding.observed);
  }
  if (finding.kind === 'error') return unevaluated(check.id, wordsOf(finding));
  claims.lower(check.claim, rule.severity === 'warning' ? NOT_APPROVED : CONTRAINDICATED);
  const why = rule.message === '' ? '' : ` ${rule.message}`;
  return failed(check.id, { ...wordsOf(finding), message: `${finding.message}${why}` });
}

function wordsOf({ reason, observed, expected, message }: BootFailure): Omit<Finding, 'id' | 'outcome'> {
  return { reason, observed, expected, message };
}

/** Rules and boots are kept by version and by digest: equal pairs are judged once. */
const judged = new WeakMap<VerifiedBoot, WeakMap<BootRule, RuleFinding>>();

function evaluate(check: BootCheck, rule: BootRule, boot: VerifiedBoot): RuleFinding {
  const byRule = judged.get(boot) ?? new WeakMap<BootRule, RuleFinding>();
  judged.set(boot, byRule);
  const known = byRule.get(rule);
  if (known !== undefined) return known;
  const finding = findDoubt(check, boot) ?? check.evaluate(boot, rule);
  byRule.set(rule, finding);
  return finding;
}

/** Why nothing that the log says to a rule is proven; null where it is. */
function findDoubt({ pcrs }: BootCheck, { sha1Only, unexplained }: VerifiedBoot): RuleFinding | null {
  if (sha1Only) {
    return {
      kind: 'error',
      reason: 'BOOT_BANK_WEAK',
      observed: 'no active bank but sha1',
      expected: 'an active bank of sha256 or more',
      message:
        'The TPM measures with SHA-1 alone, so that other contents may have the same digests. Switch the SHA-256 bank on.',
    };
  }
  const hidden = pcrs.filter((pcr) => unexplained.includes(pcr));
  if (hidden.length === 0) return null;
  return {
    kind: 'error',
    reason: 'BOOT_CLAIM_UNVERIFIED',
    observed: `PCR ${hidden.join(', ')} extended by more than the log says`,
    expected: 'events for every extension',
    message: 'The log does not say what was measured into a PCR that this rule rests on.',
  };
}
