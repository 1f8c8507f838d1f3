import { isProvenByMoreThanSha1 } from '../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
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
