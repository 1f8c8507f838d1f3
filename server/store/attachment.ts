import type { HostRecord, PolicyRecord } from './records.ts';

/** What of a policy decides whom it judges. */
export type AttachedPolicy = Pick<PolicyRecord, 'id' | 'version' | 'attachment'>;

/** Which policy judges a host; 'none' and 'ambiguous' can never affirm (docs/policy.md). */
export type PolicyResolution<P extends AttachedPolicy = PolicyRecord> =
  | { readonly kind: 'policy'; readonly policy: P }
  | { readonly kind: 'none' }
  /** Several attached policies share the highest precedence; their ids, ascending. */
  | { readonly kind: 'ambiguous'; readonly ids: readonly string[] };

/**
 * The policy that an operator named for the host, else the attached policy of highest precedence. A name without a policy
 * resolves to none: falling back to selectors would judge the host by something that nobody chose for it.
 */
export function resolvePolicy<P extends AttachedPolicy>(
  host: Pick<HostRecord, 'labels' | 'trustPolicy'>,
  policies: readonly P[],
): PolicyResolution<P> {
  if (host.trustPolicy !== '') {
    const named = policies.find((policy) => policy.id === host.trustPolicy);
    return named === undefined ? { kind: 'none' } : { kind: 'policy', policy: named };
  }
  let best: P[] = [];
  for (const policy of policies) {
    if (!attaches(policy, host.labels)) continue;
    const precedence = best[0]?.attachment.precedence ?? -Infinity;
    if (policy.attachment.precedence > precedence) best = [policy];
    else if (policy.attachment.precedence === precedence) best.push(policy);
  }
  const [first, second] = best;
  if (first === undefined) return { kind: 'none' };
  if (second === undefined) return { kind: 'policy', policy: first };
  return { kind: 'ambiguous', ids: best.map((policy) => policy.id).sort() };
}

/** Whether two resolutions come to the same: the same policy at the same version, the same collision, or none. */
export function sameResolution(a: PolicyResolution<AttachedPolicy>, b: PolicyResolution<AttachedPolicy>): boolean {
  if (a.kind === 'policy' && b.kind === 'policy') {
    return a.policy.id === b.policy.id && a.policy.version === b.policy.version;
  }
  if (a.kind === 'ambiguous' && b.kind === 'ambiguous') return a.ids.join('\n') === b.ids.join('\n');
  return a.kind === b.kind;
}

/** Whether every wanted label stands among the labels, with that value. */
export function matchesLabels(
  labels: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);
}

/** Whether the selector of a policy takes a host with these labels. */
export function attaches(policy: AttachedPolicy, labels: Readonly<Record<string, string>>): boolean {
  const { allHosts, matchLabels } = policy.attachment;
  if (allHosts) return true;
  // An empty selector is a mistake far more often than a wish for every host: that wish has a name of its own.
  return Object.keys(matchLabels).length > 0 && matchesLabels(labels, matchLabels);
}
