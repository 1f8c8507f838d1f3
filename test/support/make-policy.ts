/** Policies that differ from the simplest one in what a test is about. */
import { resolvePolicyDraft } from '../../server/policy/policy.ts';
import type { PolicyDraft, TrustPolicy } from '../../server/policy/policy.ts';

export type PolicyDeviation = Partial<Omit<PolicyDraft, 'quote'>> & { readonly quote?: Partial<PolicyDraft['quote']> };

/** A policy for every host: PCR 7 of sha256 must be zero, unless told otherwise. */
export function makePolicy(change: PolicyDeviation = {}): TrustPolicy {
  const outcome = resolvePolicyDraft({
    id: 'base',
    description: '',
    selector: { matchLabels: {}, allHosts: true },
    precedence: 0,
    pcrRules: [{ bank: 'sha256', index: 7, allowed: ['00'.repeat(32)], severity: undefined, message: '' }],
    ...change,
    quote: {
      interval: 60_000,
      validity: 180_000,
      disconnectGrace: undefined,
      allowUnprovenBanks: false,
      allowUnendorsed: false,
      ...change.quote,
    },
  });
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  return outcome.policy;
}
