import { describe, expect, it } from 'vitest';

import { encode } from '../../../tpm/codec/structure.ts';
import { objectName, primaryQualifiedName } from '../../../tpm/crypto/name.ts';
import { TPMS_ATTEST } from '../../../tpm/structures/attest.ts';
import {
  TPM_ALG_ECDSA,
  TPM_ALG_NULL,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ECC_NIST_P256,
  TPM_RH_ENDORSEMENT,
  TPM_RH_OWNER,
  TPM_RH_PLATFORM,
  TPM_ST_ATTEST_CERTIFY,
  TPM_ST_ATTEST_NV,
  TPM_ST_ATTEST_TIME,
} from '../../../tpm/structures/constants.ts';
import { decodeSignature, TPMT_SIGNATURE } from '../../../tpm/structures/signature.ts';
import { EvidenceError } from '../../../server/verifier/evidence-error.ts';
import type { EvidenceErrorCode } from '../../../server/verifier/evidence-error.ts';
import { verifyQuote, verifySessionAudit } from '../../../server/verifier/verify-quote.ts';
import type { SignedAttest } from '../../../server/verifier/verify-quote.ts';
import { demandOf } from '../../support/evidence-builder.ts';
import { encodeOtherAttest, signAttest, SoftwareTpm } from '../../support/software-tpm.ts';
import type { QuoteFields, SoftwareAk } from '../../support/software-tpm.ts';
import { makeAk } from '../../support/tpm-keys.ts';

const tpm = new SoftwareTpm({ eks: ['rsa2048', 'p384'] });
const extraData = Buffer.alloc(32, 0xe4);
const aks: Readonly<Record<string, SoftwareAk>> = {
  'an ECDSA AK under an RSA EK': tpm.createAk('ecdsa', 0),
  'an ECDSA AK under a P-384 EK': tpm.createAk('ecdsa', 1),
  'an RSASSA AK under a P-384 EK': tpm.createAk('rsassa', 1),
};
const ak = tpm.createAk();
const rsaAk = tpm.createAk('rsassa');

function lying(lie: (truth: QuoteFields) => QuoteFields): SignedAttest {
  return tpm.quote(ak, { extraData, lie });
}

/** An honest quote, and something else of its bytes. */
function quoteOf(signer: SoftwareAk): SignedAttest {
  return tpm.quote(signer, { extraData });
}

/** What the AK signs of another kind, with the right extraData and signer. */
function otherAttest(type: number): SignedAttest {
  let fields: QuoteFields | undefined;
  tpm.quote(ak, { extraData, lie: (truth) => (fields = truth) });
  if (fields === undefined) throw new TypeError('the tpm did not quote');
  return signAttest(ak, encodeOtherAttest(type, fields, Buffer.alloc(34)));
}

interface Negative {
  readonly name: string;
  readonly signed: () => SignedAttest;
  readonly reason: EvidenceErrorCode;
}

const NEGATIVES: readonly Negative[] = [
  {
    name: 'a NULL signature',
    signed: () => ({ ...quoteOf(ak), signature: encode(TPMT_SIGNATURE, { sigAlg: TPM_ALG_NULL }) }),
    reason: 'SIGNATURE_NULL',
  },
  {
    name: 'a signature by another scheme than the AK has',
    signed: () => ({ ...quoteOf(ak), signature: quoteOf(rsaAk).signature }),
    reason: 'SIGNATURE_ALGORITHM_MISMATCH',
  },
  {
    name: 'a valid signature by another hash than the AK has',
    signed: () => {
      const strong = makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA384 });
      return signAttest({ ...strong, privateKey: ak.privateKey }, quoteOf(ak).attest);
    },
    reason: 'SIGNATURE_ALGORITHM_MISMATCH',
  },
  {
    name: 'a signature that only says it is by another hash',
    signed: () => {
      const quote = quoteOf(ak);
      const signature = decodeSignature(quote.signature);
      if (signature.sigAlg !== TPM_ALG_ECDSA) throw new TypeError('no ecdsa signature');
      return { ...quote, signature: encode(TPMT_SIGNATURE, { ...signature, hash: TPM_ALG_SHA384 }) };
    },
    reason: 'SIGNATURE_ALGORITHM_MISMATCH',
  },
  {
    name: 'the signature of another AK of the same TPM',
    signed: () => signAttest(tpm.createAk(), quoteOf(ak).attest),
    reason: 'SIGNATURE_INVALID',
  },
  {
    name: 'the signature over another quote',
    signed: () => ({ ...quoteOf(ak), signature: tpm.quote(ak, { extraData: Buffer.alloc(32) }).signature }),
    reason: 'SIGNATURE_INVALID',
  },
  {
    name: 'an ECDSA signature of zeros',
    signed: () => ({
      ...quoteOf(ak),
      signature: encode(TPMT_SIGNATURE, {
        sigAlg: TPM_ALG_ECDSA,
        hash: TPM_ALG_SHA256,
        signatureR: Buffer.alloc(32),
        signatureS: Buffer.alloc(32),
      }),
    }),
    reason: 'SIGNATURE_INVALID',
  },
  {
    name: 'an empty signature',
    signed: () => ({ ...quoteOf(ak), signature: Buffer.alloc(0) }),
    reason: 'EVIDENCE_MALFORMED',
  },
  {
    name: 'a byte after the signature',
    signed: () => ({ ...quoteOf(ak), signature: Buffer.concat([quoteOf(ak).signature, Buffer.from([0])]) }),
    reason: 'EVIDENCE_MALFORMED',
  },
  {
    name: 'a signed byte after the attest structure',
    signed: () => signAttest(ak, Buffer.concat([quoteOf(ak).attest, Buffer.from([0])])),
    reason: 'EVIDENCE_MALFORMED',
  },
  {
    name: 'an attest structure that ends too early, signed',
    signed: () => signAttest(ak, quoteOf(ak).attest.subarray(0, -1)),
    reason: 'EVIDENCE_MALFORMED',
  },
  {
    name: 'another magic: data that the key signed for somebody',
    signed: () => lying((truth) => ({ ...truth, magic: 0x0054_4347 })),
    reason: 'ATTEST_MAGIC_WRONG',
  },
  {
    name: 'a session audit in place of a quote',
    signed: () => tpm.proveBanks(ak, { extraData }),
    reason: 'ATTEST_TYPE_WRONG',
  },
  {
    name: 'a certification of a key in place of a quote',
    signed: () => otherAttest(TPM_ST_ATTEST_CERTIFY),
    reason: 'ATTEST_TYPE_WRONG',
  },
  {
    name: 'a certified NV index in place of a quote',
    signed: () => otherAttest(TPM_ST_ATTEST_NV),
    reason: 'ATTEST_TYPE_WRONG',
  },
  {
    name: 'an attested time in place of a quote',
    signed: () => otherAttest(TPM_ST_ATTEST_TIME),
    reason: 'ATTEST_TYPE_WRONG',
  },
  {
    name: 'the extraData of another challenge',
    signed: () => tpm.quote(ak, { extraData: Buffer.alloc(32, 0xe5) }),
    reason: 'EXTRA_DATA_MISMATCH',
  },
  {
    name: 'no extraData',
    signed: () => tpm.quote(ak, { extraData: Buffer.alloc(0) }),
    reason: 'EXTRA_DATA_MISMATCH',
  },
  {
    name: 'extraData that only begins right',
    signed: () => tpm.quote(ak, { extraData: Buffer.concat([extraData, Buffer.from([0])]) }),
    reason: 'EXTRA_DATA_MISMATCH',
  },
  {
    name: 'extraData that is cut off',
    signed: () => tpm.quote(ak, { extraData: extraData.subarray(0, 31) }),
    reason: 'EXTRA_DATA_MISMATCH',
  },
  ...(
    [
      ['a primary AK of the endorsement hierarchy', () => primaryQualifiedName(ak.publicArea, TPM_RH_ENDORSEMENT)],
      ['a primary AK of the owner hierarchy', () => primaryQualifiedName(ak.publicArea, TPM_RH_OWNER)],
      ['a primary AK of the platform hierarchy', () => primaryQualifiedName(ak.publicArea, TPM_RH_PLATFORM)],
      ['the AK under the other EK of the TPM', () => tpm.adopt(ak, 1).qualifiedName],
      ['the AK under the EK of another TPM', () => new SoftwareTpm({ eks: ['p256'] }).adopt(ak).qualifiedName],
      ['the Name of the AK', () => objectName(ak.publicArea)],
      ['nobody', () => Buffer.alloc(0)],
    ] as const
  ).map(([who, qualifiedSigner]): Negative => ({
    name: `a qualifiedSigner that is ${who}`,
    signed: () => lying((truth) => ({ ...truth, qualifiedSigner: qualifiedSigner() })),
    reason: 'QUALIFIED_SIGNER_MISMATCH',
  })),
];

describe('a quote', () => {
  it.each(Object.keys(aks))('of %s verifies', (kind) => {
    const signer = aks[kind];
    if (signer === undefined) throw new TypeError('no such ak');
    const quote = verifyQuote(demandOf(signer, extraData).ak, quoteOf(signer), extraData);
    expect(quote.clockInfo).toEqual(tpm.clockInfo);
    expect(quote.attested.pcrSelect).toHaveLength(1);
  });

  it.each(NEGATIVES)('with $name is refused as $reason', ({ signed, reason }) => {
    let code: unknown = 'verified';
    try {
      verifyQuote(demandOf(ak, extraData).ak, signed(), extraData);
    } catch (error) {
      code = error instanceof EvidenceError ? error.code : error;
    }
    expect(code).toBe(reason);
  });

  it('is no session audit', () => {
    const known = demandOf(ak, extraData).ak;
    expect(() => verifySessionAudit(known, quoteOf(ak), extraData)).toThrow(
      expect.objectContaining({ code: 'ATTEST_TYPE_WRONG' }),
    );
  });

  it('is refused by the AK of another type, whatever the signature says of itself', () => {
    const known = demandOf(rsaAk, extraData).ak;
    expect(() => verifyQuote(known, quoteOf(ak), extraData)).toThrow(
      expect.objectContaining({ code: 'SIGNATURE_ALGORITHM_MISMATCH' }),
    );
    expect(decodeSignature(quoteOf(rsaAk).signature).sigAlg).toBe(TPM_ALG_RSASSA);
  });

  it('is verified over the bytes as they came', () => {
    const { attest, signature } = quoteOf(ak);
    const quote = verifyQuote(demandOf(ak, extraData).ak, { attest, signature }, extraData);
    const { magic, type, qualifiedSigner, clockInfo, firmwareVersion, attested } = quote;
    const fields = { magic, type, qualifiedSigner, extraData: quote.extraData, clockInfo, firmwareVersion, attested };
    expect(encode(TPMS_ATTEST, fields)).toEqual(attest);
  });
});
