import { describe, expect, it } from 'vitest';

import { decode, encode } from '../../../tpm/codec/structure.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import {
  TPML_PCR_SELECTION,
  comparePcrSelections,
  duplicateBanks,
  formatPcrSelection,
  makePcrSelection,
  selectedBanks,
} from '../../../tpm/structures/pcr-selection.ts';
import type { PcrSelectionDifference } from '../../../tpm/structures/pcr-selection.ts';

const sha256 = (...pcrs: number[]) => makePcrSelection(TPM_ALG_SHA256, pcrs);
const sha1 = (...pcrs: number[]) => makePcrSelection(TPM_ALG_SHA1, pcrs);
const inactive = { hash: TPM_ALG_SHA384, pcrSelect: Buffer.alloc(3) };

describe('PCR selection', () => {
  it('has bit n % 8 of byte n / 8 for PCR n', () => {
    expect(encode(TPML_PCR_SELECTION, [sha256(0, 7, 8, 23)])).toEqual(Buffer.from('00000001000b03810180', 'hex'));
  });

  it('takes the fourth byte only for PCRs above 23', () => {
    expect(sha256(24).pcrSelect).toEqual(Buffer.from('00000001', 'hex'));
    expect(sha256(23).pcrSelect).toHaveLength(3);
  });

  it('takes an impossible PCR for a fault of the caller', () => {
    expect(() => sha256(32)).toThrow(TypeError);
    expect(() => sha256(-1)).toThrow(TypeError);
  });

  it('reads banks in the order of the list and drops those with an all-zero bitmap', () => {
    const bytes = Buffer.from('00000003000b03ff0700000c03000000000403010000', 'hex');
    expect(selectedBanks(decode(TPML_PCR_SELECTION, bytes))).toEqual([
      { hash: TPM_ALG_SHA256, pcrs: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10] },
      { hash: TPM_ALG_SHA1, pcrs: [0] },
    ]);
  });

  it('sees duplicate banks, empty ones too', () => {
    expect(duplicateBanks([sha256(1), sha1(2), sha256(3)])).toEqual([TPM_ALG_SHA256]);
    expect(duplicateBanks([inactive, inactive])).toEqual([TPM_ALG_SHA384]);
    expect(duplicateBanks([sha256(1), sha1(1)])).toEqual([]);
  });

  it('writes itself for people', () => {
    expect(formatPcrSelection([sha256(0, 1, 10), inactive, sha1(4)])).toBe('sha256:0,1,10+sha1:4');
  });

  it('holds two lists equal whatever the order of banks, the width of bitmaps and the empty banks', () => {
    const wide = { hash: TPM_ALG_SHA256, pcrSelect: Buffer.from('03000000', 'hex') };
    expect(comparePcrSelections([sha256(0, 1), sha1(2)], [sha1(2), inactive, wide])).toEqual([]);
  });

  it.each<[string, TPML_PCR_SELECTION, TPML_PCR_SELECTION, PcrSelectionDifference[]]>([
    ['a missing PCR', [sha256(0, 1)], [sha256(0)], [{ kind: 'missing', hash: TPM_ALG_SHA256, pcr: 1 }]],
    ['an additional PCR', [sha256(0)], [sha256(0, 9)], [{ kind: 'additional', hash: TPM_ALG_SHA256, pcr: 9 }]],
    ['a missing bank', [sha256(0), sha1(3)], [sha256(0)], [{ kind: 'missing', hash: TPM_ALG_SHA1, pcr: 3 }]],
    [
      'an inactive bank',
      [sha1(3)],
      [{ ...sha1(3), pcrSelect: Buffer.alloc(3) }],
      [{ kind: 'missing', hash: TPM_ALG_SHA1, pcr: 3 }],
    ],
    ['an additional bank', [sha256(0)], [sha256(0), sha1(3)], [{ kind: 'additional', hash: TPM_ALG_SHA1, pcr: 3 }]],
    ['a bank in two parts', [sha256(0, 1)], [sha256(0), sha256(1)], [{ kind: 'duplicate', hash: TPM_ALG_SHA256 }]],
    ['nothing selected', [sha256(0)], [], [{ kind: 'missing', hash: TPM_ALG_SHA256, pcr: 0 }]],
  ])('reports %s', (_name, expected, actual, differences) => {
    expect(comparePcrSelections(expected, actual)).toEqual(differences);
  });
});
