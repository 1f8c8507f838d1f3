import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { CodecError } from '../../../tpm/codec/codec-error.ts';
import { encode } from '../../../tpm/codec/structure.ts';
import { TPMS_ATTEST, decodeAttest } from '../../../tpm/structures/attest.ts';
import {
  TPM_ALG_SHA256,
  TPM_GENERATED_VALUE,
  TPM_ST_ATTEST_CERTIFY,
  TPM_ST_ATTEST_NV,
  TPM_ST_ATTEST_QUOTE,
  TPM_ST_ATTEST_SESSION_AUDIT,
} from '../../../tpm/structures/constants.ts';
import { selectedBanks } from '../../../tpm/structures/pcr-selection.ts';
import { measuredBootPath } from '../../support/data.ts';

const quoteBytes = readFileSync(measuredBootPath('sb-ms-shim-grub', 'quote.msg'));

/** Where the attested part begins: magic, type, qualifiedSigner (2+34), extraData (2+16), clockInfo (17), firmwareVersion. */
const ATTESTED_AT = 4 + 2 + 36 + 18 + 17 + 8;

function withType(bytes: Buffer, type: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt16BE(type, 4);
  return copy;
}

describe('decodeAttest', () => {
  it('reads a quote of a real boot', () => {
    const attest = decodeAttest(quoteBytes);
    expect(attest).toMatchObject({
      kind: 'quote',
      magic: TPM_GENERATED_VALUE,
      type: TPM_ST_ATTEST_QUOTE,
      extraData: Buffer.from('00112233445566778899aabbccddeeff', 'hex'),
      clockInfo: { clock: 0x381fn, resetCount: 2, restartCount: 0, safe: true },
      firmwareVersion: 0x2019102300163636n,
    });
    expect(attest.raw).toBe(quoteBytes);
    expect(attest.kind === 'quote' ? selectedBanks(attest.attested.pcrSelect) : undefined).toEqual([
      { hash: TPM_ALG_SHA256, pcrs: Array.from({ length: 15 }, (_, pcr) => pcr) },
    ]);
  });

  it('encodes the quote to the same bytes', () => {
    const attest = decodeAttest(quoteBytes);
    if (attest.kind !== 'quote') {
      throw new Error('no quote');
    }
    expect(encode(TPMS_ATTEST, attest)).toEqual(quoteBytes);
  });

  it('reads a session audit statement', () => {
    const bytes = Buffer.concat([withType(quoteBytes, TPM_ST_ATTEST_SESSION_AUDIT).subarray(0, ATTESTED_AT), audit()]);
    expect(decodeAttest(bytes)).toMatchObject({
      kind: 'sessionAudit',
      attested: { exclusiveSession: true, sessionDigest: Buffer.alloc(32, 5) },
    });
  });

  it.each([
    ['TPM_ST_ATTEST_NV', TPM_ST_ATTEST_NV],
    ['TPM_ST_ATTEST_CERTIFY', TPM_ST_ATTEST_CERTIFY],
    ['an unassigned type', 0x8fff],
  ])('gives no quote for %s, whose content looks like one', (_name, type) => {
    const attest = decodeAttest(withType(quoteBytes, type));
    expect(attest).toMatchObject({ kind: 'other', type });
    expect(attest.attested).toEqual(quoteBytes.subarray(ATTESTED_AT));
  });

  it('leaves a foreign magic to the check that names it', () => {
    const copy = Buffer.from(quoteBytes);
    copy.writeUInt32BE(0x12345678, 0);
    expect(decodeAttest(copy)).toMatchObject({ kind: 'quote', magic: 0x12345678 });
  });

  it('refuses a quote with a trailing byte, with the offset of it', () => {
    const longer = Buffer.concat([quoteBytes, Buffer.from([0])]);
    expect(() => decodeAttest(longer)).toThrow(
      expect.objectContaining({ code: 'TRAILING_BYTES', offset: quoteBytes.length }),
    );
  });

  it('refuses bytes that end before the type', () => {
    expect(() => decodeAttest(quoteBytes.subarray(0, 5))).toThrow(CodecError);
  });
});

function audit(): Buffer {
  return Buffer.concat([Buffer.from('010020', 'hex'), Buffer.alloc(32, 5)]);
}
