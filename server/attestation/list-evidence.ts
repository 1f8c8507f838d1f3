import { isProvenByMoreThanSha1 } from '../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import type { RuntimeEvidence } from '../policy/appraise-runtime.ts';
import type { RuntimeTally } from '../policy/runtime-tally.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import type { Finding } from '../verifier/finding.ts';
import { checkBootOfList } from './boot-of-list.ts';
import { ambiguousFormatOf } from './format-of-list.ts';
import { explainFollowed } from './list-findings.ts';

/**
 * What the proven part of a list is to a policy. Where SHA-1 alone proves it, other entries with the same hashes can be made, and where
 * the kernel writes a format of the host's choice, entries can be shown as others: it speaks against its host, and for nothing.
 */
export function evidenceOf(checkpoint: ImaCheckpoint, tally: RuntimeTally, boot: KnownBoot | null): RuntimeEvidence {
  const began = checkBootOfList(tally.bootAggregate, boot);
  const against = began.outcome === 'failed' ? began : null;
  const unproven = (finding: Finding): RuntimeEvidence => {
    return { kind: 'unproven', absent: false, finding, tally, boot: against };
  };
  if (!isProvenByMoreThanSha1(checkpoint)) return unproven(explainFollowed.weakBank());
  const format = ambiguousFormatOf(boot);
  if (format !== null) return unproven(explainFollowed.ambiguousFormat(format));
  return { kind: 'proven', tally, entries: checkpoint.entries, boot: began };
}
