import { expect, it } from 'vitest';

import { evidenceOf } from '../../../server/attestation/list-evidence.ts';
import { EMPTY_TALLY } from '../../../server/policy/runtime-tally.ts';
import { hashAlgorithm } from '../../../tpm/crypto/digest.ts';
import { EMPTY_CHECKPOINT } from '../../../tpm/ima/checkpoint.ts';
import type { ImaPcrState } from '../../../tpm/ima/checkpoint.ts';
import type { ImaExtendMode } from '../../../tpm/ima/pcr-chain.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';

function state(alg: number, pcr: number, ...modes: readonly ImaExtendMode[]): ImaPcrState {
  const bank = hashAlgorithm(alg);
  return { bank, pcr, value: Buffer.alloc(bank.size, 1), modes };
}

it.each<[string, readonly ImaPcrState[], 'proven' | 'unproven']>([
  ['SHA-256', [state(TPM_ALG_SHA256, 10, 'bankHash')], 'proven'],
  [
    'SHA-256 beside a padded bank',
    [state(TPM_ALG_SHA256, 10, 'bankHash'), state(TPM_ALG_SHA384, 10, 'paddedSha1')],
    'proven',
  ],
  ['SHA-1', [state(TPM_ALG_SHA1, 10, 'bankHash')], 'unproven'],
  ['a padded bank', [state(TPM_ALG_SHA384, 10, 'paddedSha1', 'paddedViolations')], 'unproven'],
  [
    'a padded bank beside SHA-1',
    [state(TPM_ALG_SHA1, 10, 'bankHash'), state(TPM_ALG_SHA384, 10, 'paddedSha1')],
    'unproven',
  ],
  [
    'SHA-256 for one PCR and SHA-1 for another',
    [state(TPM_ALG_SHA256, 10, 'bankHash'), state(TPM_ALG_SHA1, 11, 'bankHash')],
    'unproven',
  ],
])('a list that %s proves is proven or not', (_name, pcrs, kind) => {
  const evidence = evidenceOf({ ...EMPTY_CHECKPOINT, entries: 3, pcrs }, EMPTY_TALLY, null);
  expect(evidence.kind).toBe(kind);
  // What was found stands either way.
  expect(evidence.tally).toBe(EMPTY_TALLY);
  if (evidence.kind === 'unproven') {
    expect(evidence).toMatchObject({ absent: false, finding: { outcome: 'error', reason: 'RUNTIME_BANK_WEAK' } });
  }
});

it('a list that SHA-1 alone proves says all the same that it began in no boot', () => {
  const checkpoint = { ...EMPTY_CHECKPOINT, entries: 3, pcrs: [state(TPM_ALG_SHA1, 10, 'bankHash')] };
  const began = (bootAggregate: string) => evidenceOf(checkpoint, { ...EMPTY_TALLY, bootAggregate }, null);
  expect(began('')).toMatchObject({
    kind: 'unproven',
    boot: { outcome: 'failed', reason: 'IMA_BOOT_AGGREGATE_MISSING' },
  });
  // Nothing to compare with: it says nothing.
  expect(began(`sha1:${'11'.repeat(20)}`)).toMatchObject({ kind: 'unproven', boot: null });
});
