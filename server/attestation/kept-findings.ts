import { algorithmName } from '../../tpm/structures/constants.ts';
import type { ResultRecord } from '../store/records.ts';
import { unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';

const ID = 'kept-evidence';

/** Why what is kept of a host gives no verdict, in words. */
export const explainKept = {
  missing({ checks }: Pick<ResultRecord, 'checks'>): Finding {
    return unevaluated(ID, {
      reason: 'KEPT_EVIDENCE_MISSING',
      observed: checks.find(({ outcome }) => outcome !== 'passed')?.reason ?? 'evidence of another boot',
      expected: 'a verdict on a quote of the present boot',
      message: 'The present verdict of this host does not rest on a quote whose values are kept.',
    });
  },

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

  unknownPcr({ hash, pcr }: { readonly hash: number; readonly pcr: number }, moved: boolean): Finding {
    return unevaluated(ID, {
      reason: 'KEPT_PCR_UNKNOWN',
      observed: moved ? 'moved since the first quote of this boot' : 'not quoted in this boot',
      expected: `PCR ${pcr} of the ${algorithmName(hash)} bank`,
      message: 'A rule looks at a PCR whose present value no kept evidence tells. The next quote will.',
    });
  },

  /** What a quote says of the TPM besides its clock and its PCRs is not kept. */
  unknownTpm(): Finding {
    return unevaluated(ID, {
      reason: 'KEPT_EVIDENCE_MISSING',
      observed: 'an expression that looks at the TPM',
      expected: 'claims that are kept between rounds',
      message:
        'An expression of the policy looks at what a quote says of the TPM, which is not kept. The next quote will tell.',
    });
  },

  unknownBoot(observed: string): Finding {
    return unevaluated(ID, {
      reason: 'KEPT_BOOT_UNKNOWN',
      observed,
      expected: 'a boot log of the present boot, and PCRs that it explains',
      message: 'What is kept does not say what this host booted. It would be asked for.',
    });
  },

  unknownRuntime(observed: string): Finding {
    return unevaluated(ID, {
      reason: 'KEPT_RUNTIME_UNKNOWN',
      observed,
      expected: 'a list of run-time measurements that the last quote proved',
      message: 'The policy asks what ran, and no kept list says what ran on this host. It would be asked for.',
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
