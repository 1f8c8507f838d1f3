import { algorithmName } from '../../tpm/structures/constants.ts';
import type { ResultRecord } from '../store/records.ts';
import { unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';

const ID = 'kept-evidence';

/** Why what is kept of a host gives no verdict, in words. */
export const explainKept = {
  stale({ challengeTime }: Pick<ResultRecord, 'challengeTime'>): Finding {
    return unevaluated(ID, {
      reason: 'KEPT_EVIDENCE_STALE',
      observed: `last challenge ${new Date(challengeTime).toISOString()}`,
      expected: 'evidence that still holds',
      message: 'The last evidence of this host is too old, so nothing is known of what it is now.',
    });
  },

  /** A simulation tells such a verdict with its condition; a result has no conditions. */
  assumed(pcrs: readonly { readonly hash: number; readonly pcr: number }[]): Finding {
    const names = pcrs.slice(0, 8).map(({ hash, pcr }) => `${algorithmName(hash)}:${pcr}`);
    return unevaluated(ID, {
      reason: 'KEPT_PCR_UNQUOTED',
      observed: `not kept of the last quote: ${names.join(', ')}${pcrs.length > names.length ? ', …' : ''}`,
      expected: 'a quote of every PCR that the policy looks at',
      message: 'The policy looks at PCRs whose values are not kept of the last quote. The next quote will tell.',
    });
  },

  fault(): Finding {
    return unevaluated(ID, {
      reason: 'KEPT_EVIDENCE_UNJUDGED',
      observed: 'a fault of the service',
      expected: 'a verdict from what is kept',
      message: 'The service could not judge what it keeps of this host. The next evidence is judged by itself.',
    });
  },
} as const;
