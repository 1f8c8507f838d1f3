import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import { checkBootOfList } from '../../../server/attestation/boot-of-list.ts';
import type { KnownBoot } from '../../../server/verifier/boot-cache.ts';
import { unevaluated } from '../../../server/verifier/finding.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA3_256, TPM_ALG_SM3_256 } from '../../../tpm/structures/constants.ts';

/** The values of PCR 0 to `last` of a bank whose PCRs hold their own index. */
const values = (size: number, last: number) =>
  Array.from({ length: last + 1 }, (_, pcr): readonly [number, string] => [
    pcr,
    Buffer.alloc(size, pcr).toString('hex'),
  ]);
const aggregate = (name: string, size: number, last: number): string =>
  `${name}:${hash(name, Buffer.concat(values(size, last).map(([, value]) => Buffer.from(value, 'hex'))), 'hex')}`;

function boot(banks: readonly (readonly [number, number])[], last = 9): KnownBoot {
  const none = { sha256: '', size: 0, unreadable: 'not found' };
  const text = { reason: 'BOOT_LOG_UNREADABLE', observed: '', expected: '', message: '' };
  return {
    record: {
      bootLog: none,
      userspaceLog: none,
      pcrs: banks.map(([algorithm, size]) => ({ algorithm, values: values(size, last) })),
    },
    outcome: { kind: 'missing', finding: unevaluated('boot-log', text) },
  };
}

const BOTH = [
  [TPM_ALG_SHA1, 20],
  [TPM_ALG_SHA256, 32],
] as const;

describe('boot_aggregate', () => {
  it.each([
    ['sha256', 32, 9, 'sha256 PCR0-9'],
    ['sha256', 32, 7, 'sha256 PCR0-7'],
    ['sha1', 20, 7, 'sha1 PCR0-7'],
  ])('%s of %i bytes over PCR 0 to %i is of this boot', (name, size, last, observed) => {
    expect(checkBootOfList(aggregate(name, size, last), boot(BOTH))).toMatchObject({ outcome: 'passed', observed });
  });

  it.each([
    ['sm3', TPM_ALG_SM3_256, 'sm3_256 PCR0-9'],
    ['sha3-256', TPM_ALG_SHA3_256, 'sha3_256 PCR0-9'],
  ])('%s, which kernels and TPMs call differently, is of its bank', (name, algorithm, observed) => {
    const known = boot([...BOTH, [algorithm, 32]]);
    expect(checkBootOfList(aggregate(name, 32, 9), known)).toMatchObject({ outcome: 'passed', observed });
  });

  it.each([
    ['over other values', aggregate('sha256', 32, 8), boot(BOTH), 'failed', 'IMA_BOOT_AGGREGATE_MISMATCH'],
    ['of a kernel without a TPM', `sha256:${'00'.repeat(32)}`, boot(BOTH), 'failed', 'IMA_BOOT_AGGREGATE_EMPTY'],
    ['of a bank that is not active', aggregate('sha512', 64, 9), boot(BOTH), 'error', 'IMA_BOOT_AGGREGATE_UNCHECKED'],
    [
      'over PCRs that are not proven',
      aggregate('sha256', 32, 9),
      boot(BOTH, 7),
      'error',
      'IMA_BOOT_AGGREGATE_UNCHECKED',
    ],
    ['of a boot that is not proven yet', aggregate('sha256', 32, 9), null, 'error', 'IMA_BOOT_AGGREGATE_UNCHECKED'],
    ['that is no first entry', '', boot(BOTH), 'failed', 'IMA_BOOT_AGGREGATE_MISSING'],
  ] as const)('%s is not', (_name, held, known, outcome, reason) => {
    expect(checkBootOfList(held, known)).toMatchObject({ outcome, reason });
  });
});
