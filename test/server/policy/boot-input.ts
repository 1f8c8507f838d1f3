/** Boot rules, and a real boot that satisfies every one of them; a test changes what it is about. */
import { appraise } from '../../../server/policy/appraise.ts';
import type { BootEvidence } from '../../../server/policy/appraise-boot.ts';
import { resolveBootRules } from '../../../server/policy/boot-rules.ts';
import type { BootRulesDraft } from '../../../server/policy/boot-rules.ts';
import type { PcrRule } from '../../../server/policy/policy.ts';
import type { Verdict } from '../../../server/store/records.ts';
import type { BootClaims } from '../../../server/verifier/boot-claims.ts';
import type { VerifiedBoot } from '../../../server/verifier/verify-boot.ts';
import {
  bootedTpm,
  bootLog,
  COMMAND_LINE,
  IMAGES,
  NO_RULES,
  proveBootOf,
  RULE,
  SECURE_BOOT,
  SIGNERS,
} from '../../support/booted-machine.ts';
import { BASE, policy } from './appraisal-input.ts';

export const NO_DIGEST = '00'.repeat(32);

/** What the policy of a test asks, and what it makes of a boot. */
export function judge(rules: Partial<BootRulesDraft>, boot: BootEvidence, pcrRules: readonly PcrRule[] = []): Verdict {
  const judged = { ...policy([{}]), pcrRules, boot: resolveBootRules({ ...NO_RULES, ...rules }) };
  return appraise({ ...BASE, applicable: { kind: 'policy', policy: judged, version: 1, references: [] }, boot });
}

export function findingOf(verdict: Verdict, id: string) {
  return verdict.checks.find((check) => check.id === id);
}

export const EVERY_RULE: BootRulesDraft = {
  secureBoot: RULE,
  allowedSigners: { ...RULE, certificates: SIGNERS },
  forbiddenSigners: { ...RULE, certificates: [NO_DIGEST] },
  allowedImages: { ...RULE, digests: IMAGES },
  forbiddenImages: { ...RULE, digests: [NO_DIGEST] },
  sbatLevel: { ...RULE, minimum: { shim: 4, grub: 5 } },
  commandLine: { ...RULE, allowed: [COMMAND_LINE], required: ['ima_policy=tcb'], forbidden: ['init', 'debug'] },
};

/** A real boot, some of whose claims a test sets. */
export function bootOf(change: (boot: VerifiedBoot) => Partial<BootClaims> = () => ({})): BootEvidence {
  const { outcome } = proveBootOf(bootedTpm(SECURE_BOOT), [bootLog(SECURE_BOOT)]);
  if (outcome.kind !== 'verified') throw new Error('the capture does not verify');
  return { kind: 'verified', boot: { ...outcome.boot, ...change(outcome.boot) } };
}

export const secureBoot = (change: Partial<BootClaims['secureBoot']>): BootEvidence =>
  bootOf((boot) => ({ secureBoot: { ...boot.secureBoot, ...change } }));
export const line = (...texts: readonly (string | null)[]): BootEvidence =>
  bootOf(() => ({ commandLines: texts.map((text) => ({ text })) }));
