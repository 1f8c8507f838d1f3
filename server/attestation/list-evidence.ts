import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { TPM_ALG_SHA1 } from '../../tpm/structures/constants.ts';
import type { RuntimeEvidence } from '../policy/appraise-runtime.ts';
import { explainFollowed } from './list-findings.ts';

/**
 * What the proven part of a list is to a policy. Where SHA-1 alone proves it, other entries with the same hashes can be made: it
 * speaks against its host, and for nothing.
 */
export function evidenceOf(
  checkpoint: ImaCheckpoint,
  found: Pick<RuntimeEvidence & { readonly kind: 'proven' }, 'tally' | 'entries' | 'boot'>,
): RuntimeEvidence {
  if (isProvenByMoreThanSha1(checkpoint)) return { kind: 'proven', ...found };
  return { kind: 'unproven', absent: false, finding: explainFollowed.weakBank(), tally: found.tally };
}

/** Every PCR that a list extends needs a bank of another hash, into which the kernel put hashes of that kind. */
export function isProvenByMoreThanSha1({ pcrs }: ImaCheckpoint): boolean {
  const strong = pcrs.filter(({ bank, modes }) => bank.alg !== TPM_ALG_SHA1 && modes.includes('bankHash'));
  return pcrs.every(({ pcr }) => strong.some((state) => state.pcr === pcr));
}
