import { failed, unevaluated } from '../verifier/finding.ts';
import type { Finding } from '../verifier/finding.ts';
import type { FollowedList } from '../verifier/follow-list.ts';

const ID = 'runtime.list';
const EXPECTED = 'a list of run-time measurements that explains the PCR values that the TPM signed';

const MAX_FORMAT = 120;

/** Why a list does not speak for its host, in words. */
export const explainFollowed = {
  missingReferences(names: readonly string[]): Finding {
    return unevaluated(ID, {
      reason: 'REFERENCE_MISSING',
      observed: `not there: ${names.join(', ')}`,
      expected: 'every reference set and keyring that the policy names',
      message: 'The policy names a reference set or keyring that cannot be read, so nothing can be judged by it.',
    });
  },

  notQuoted(): Finding {
    return unevaluated(ID, {
      reason: 'RUNTIME_PCR_NOT_QUOTED',
      observed: 'no proven value of PCR 10',
      expected: 'a quote of PCR 10',
      message: 'PCR 10 is not proven, so nothing of the list of run-time measurements can be believed.',
    });
  },

  weakBank(): Finding {
    return unevaluated(ID, {
      reason: 'RUNTIME_BANK_WEAK',
      observed: 'no active bank but such as hold SHA-1 hashes of the entries',
      expected: 'an active bank of a stronger hash that the kernel has',
      message:
        'The list of run-time measurements is proven by SHA-1 alone, so that other entries may have the same hashes. Switch the SHA-256 bank on.',
    });
  },

  ambiguousFormat(format: string): Finding {
    return unevaluated(ID, {
      reason: 'RUNTIME_FORMAT_AMBIGUOUS',
      observed: `ima_template_fmt=${format.slice(0, MAX_FORMAT)}`,
      expected: "a template of the kernel's own, or digest, name, signature and owner in this order",
      message:
        "The kernel's command line has it write the list of run-time measurements in a format of which one field can be shown as another, so that nobody knows what was measured.",
    });
  },

  damaged(): Finding {
    return unevaluated(ID, {
      reason: 'RUNTIME_LIST_DAMAGED',
      observed: 'a kept list that is not what the host sent',
      expected: EXPECTED,
      message:
        'What the service kept of the list of run-time measurements is damaged. The list is being asked for anew.',
    });
  },

  unreadable(why: string): Finding {
    return unevaluated(ID, {
      reason: 'RUNTIME_LIST_UNREADABLE',
      observed: why,
      expected: EXPECTED,
      message: 'The host cannot read its list of run-time measurements, so nothing is known of what ran.',
    });
  },

  empty(): Finding {
    return unevaluated(ID, {
      reason: 'RUNTIME_LIST_EMPTY',
      observed: 'PCR 10 at its reset value',
      expected: EXPECTED,
      message: 'Nothing was measured since the boot: the kernel runs without IMA.',
    });
  },

  finding(
    followed: Exclude<FollowedList, { readonly kind: 'proven' }>,
    came: { readonly unreadable: string; readonly nothingCame: boolean },
  ): Finding {
    const { unreadable, nothingCame } = came;
    if (unreadable !== '' && followed.kind !== 'uncovered') return explainFollowed.unreadable(unreadable);
    switch (followed.kind) {
      case 'empty':
        return explainFollowed.empty();
      case 'uncovered':
        return unevaluated(ID, {
          reason: 'RUNTIME_PCRS_UNCOVERED',
          observed: `the list extends PCR ${followed.pcrs.join(', ')}`,
          expected: 'a quote of every PCR that the list extends',
          message: 'The list extends other PCRs than were quoted. They are being asked for.',
        });
      case 'incomplete':
        return failed(ID, {
          reason: 'IMA_LOG_INCOMPLETE',
          observed: followed.fault?.message ?? followed.finding.message,
          expected: EXPECTED,
          message: nothingCame
            ? 'PCR 10 went on and the list did not: it is shorter than what was proven before, or began anew.'
            : 'The list of run-time measurements does not lead to the PCR values that the TPM signed.',
        });
    }
  },
} as const;
