import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { TPM_ALG_SHA1 } from '../../tpm/structures/constants.ts';
import type { RuntimeEvidence } from '../policy/appraise-runtime.ts';
import type { RuntimeTally } from '../policy/runtime-tally.ts';
import type { KnownBoot } from '../verifier/boot-cache.ts';
import type { Finding } from '../verifier/finding.ts';
import { checkBootOfList } from './boot-of-list.ts';
import { ambiguousFormat } from './format-of-list.ts';
import { explainFollowed } from './list-findings.ts';

/**
 * What the proven part of a list is to a policy. Where SHA-1 alone proves it, other entries with the same hashes can be made, and where
 * the kernel writes a format of the host's choice, entries can be shown as others: it speaks against its host, and for nothing.
 */
export function evidenceOf(checkpoint: ImaCheckpoint, tally: RuntimeTally, boot: KnownBoot | null): RuntimeEvidence {
  const unproven = (finding: Finding): RuntimeEvidence => ({ kind: 'unproven', absent: false, finding, tally });
  if (!isProvenByMoreThanSha1(checkpoint)) return unproven(explainFollowed.weakBank());
  const format = ambiguousFormat(boot);
  if (format !== null) return unproven(explainFollowed.ambiguousFormat(format));
  return { kind: 'proven', tally, entries: checkpoint.entries, boot: checkBootOfList(tally.bootAggregate, boot) };
}

/** Every PCR that a list extends needs a bank of another hash, into which the kernel put hashes of that kind. */
export function isProvenByMoreThanSha1({ pcrs }: ImaCheckpoint): boolean {
  const strong = pcrs.filter(({ bank, modes }) => bank.alg !== TPM_ALG_SHA1 && modes.includes('bankHash'));
  return pcrs.every(({ pcr }) => strong.some((state) => state.pcr === pcr));
}
