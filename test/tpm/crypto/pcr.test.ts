import { describe, expect, it } from 'vitest';

import { digest } from '../../../tpm/crypto/digest.ts';
import { extendPcr, pcrDigest, provePcrValues } from '../../../tpm/crypto/pcr.ts';
import type { PcrValues } from '../../../tpm/crypto/pcr.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { makePcrSelection } from '../../../tpm/structures/pcr-selection.ts';

const sha1Value = Buffer.alloc(20, 0xa1);
const [zero, seven] = [Buffer.alloc(32, 0x10), Buffer.alloc(32, 0x17)];
const values: PcrValues = new Map([
  [
    TPM_ALG_SHA256,
    new Map([
      [7, seven],
      [0, zero],
    ]),
  ],
  [TPM_ALG_SHA1, new Map([[4, sha1Value]])],
]);
const inactive = { hash: TPM_ALG_SHA384, pcrSelect: Buffer.alloc(3) };
const sha256 = makePcrSelection(TPM_ALG_SHA256, [0, 7]);
const sha1 = makePcrSelection(TPM_ALG_SHA1, [4]);
const pcrSelect = [sha1, inactive, sha256];

describe('extendPcr', () => {
  it('hashes the value and the digest', () => {
    const once = extendPcr(TPM_ALG_SHA256, Buffer.alloc(32), Buffer.alloc(32, 1));
    expect(once).toEqual(digest(TPM_ALG_SHA256, Buffer.concat([Buffer.alloc(32), Buffer.alloc(32, 1)])));
  });

  it.each([
    ['a value of another bank', 20, 32],
    ['a digest of another bank', 32, 20],
  ])('refuses %s', (_name, valueSize, dataSize) => {
    expect(() => extendPcr(TPM_ALG_SHA256, Buffer.alloc(valueSize), Buffer.alloc(dataSize))).toThrow(
      expect.objectContaining({ code: 'PCR_VALUE_SIZE' }),
    );
  });
});

describe('pcrDigest', () => {
  it('hashes banks in the order of the list and PCRs ascending, with the signing hash', () => {
    const expected = digest(TPM_ALG_SHA384, Buffer.concat([sha1Value, zero, seven]));
    expect(pcrDigest(pcrSelect, values, TPM_ALG_SHA384)).toEqual(expected);
    expect(pcrDigest([sha256, sha1], values, TPM_ALG_SHA384)).not.toEqual(expected);
  });

  it('of nothing selected is the hash of nothing', () => {
    expect(pcrDigest([inactive], values, TPM_ALG_SHA256)).toEqual(digest(TPM_ALG_SHA256, Buffer.alloc(0)));
  });
});

describe('provePcrValues', () => {
  const quoted = { pcrSelect, pcrDigest: pcrDigest(pcrSelect, values, TPM_ALG_SHA256) };
  const changed = (hash: number, pcr: number, value: Buffer | undefined): PcrValues => {
    const banks = new Map([...values].map(([alg, bank]) => [alg, new Map(bank)]));
    const bank = banks.get(hash) ?? new Map<number, Buffer>();
    if (value === undefined) {
      bank.delete(pcr);
    } else {
      bank.set(pcr, value);
    }
    return banks.set(hash, bank);
  };

  it('returns the values when they make the quoted digest', () => {
    expect(provePcrValues(quoted, values, TPM_ALG_SHA256)).toBe(values);
  });

  it.each<[string, PcrValues, string]>([
    ['a changed value', changed(TPM_ALG_SHA256, 7, zero), 'PCR_DIGEST_MISMATCH'],
    ['a missing value', changed(TPM_ALG_SHA256, 7, undefined), 'PCR_VALUE_MISSING'],
    ['a value of another length', changed(TPM_ALG_SHA256, 7, sha1Value), 'PCR_VALUE_SIZE'],
    ['a PCR outside the quote', changed(TPM_ALG_SHA256, 8, zero), 'PCR_VALUE_UNSELECTED'],
    ['a bank outside the quote', changed(TPM_ALG_SHA384, 0, Buffer.alloc(48)), 'PCR_VALUE_UNSELECTED'],
    ['no values', new Map(), 'PCR_VALUE_MISSING'],
  ])('refuses %s', (_name, given, code) => {
    expect(() => provePcrValues(quoted, given, TPM_ALG_SHA256)).toThrow(expect.objectContaining({ code }));
  });

  it('refuses the digest by another hash than the signing one', () => {
    expect(() => provePcrValues(quoted, values, TPM_ALG_SHA384)).toThrow(
      expect.objectContaining({ code: 'PCR_DIGEST_MISMATCH' }),
    );
  });

  it('refuses a bank that is selected twice', () => {
    const twice = [sha1, sha256, sha256];
    const made = { pcrSelect: twice, pcrDigest: pcrDigest(twice, values, TPM_ALG_SHA256) };
    expect(() => provePcrValues(made, values, TPM_ALG_SHA256)).toThrow(
      expect.objectContaining({ code: 'PCR_BANK_DUPLICATE' }),
    );
  });
});
