import type { PolicyAttachment } from '../store/records.ts';
import { looksAtHost } from './expression-rules.ts';
import type { TrustPolicy } from './policy.ts';

/** What the store must know of a policy: which hosts it judges, and by what besides their evidence. */
export function attachmentOf(policy: TrustPolicy): PolicyAttachment {
  const { selector, precedence } = policy;
  return {
    matchLabels: selector?.matchLabels ?? {},
    allHosts: selector?.allHosts ?? false,
    precedence,
    ...(looksAtHost(policy) ? { judgesNames: true } : {}),
  };
}
