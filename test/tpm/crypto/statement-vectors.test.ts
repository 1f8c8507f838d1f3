import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { childQualifiedName, objectName, primaryQualifiedName } from '../../../tpm/crypto/name.ts';
import { provePcrValues } from '../../../tpm/crypto/pcr.ts';
import { pcrCapabilitySessionDigest, proveAssignedPcrs } from '../../../tpm/crypto/session-audit.ts';
import type { PcrCapabilityExchange } from '../../../tpm/crypto/session-audit.ts';
import { signingKeyOf, verifySignature } from '../../../tpm/crypto/verify-signature.ts';
import { decodeAttest } from '../../../tpm/structures/attest.ts';
import type { SessionAuditAttest } from '../../../tpm/structures/attest.ts';
import { TPM_ALG_SHA256, TPM_ALG_SHA384, hashAlgorithmByName } from '../../../tpm/structures/constants.ts';
import { formatPcrSelection, selectedBanks } from '../../../tpm/structures/pcr-selection.ts';
import { decodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import { decodeSignature } from '../../../tpm/structures/signature.ts';

interface KeyVector {
  readonly name: string;
  readonly ekPublicHex: string;
  readonly ekNameHex: string;
  readonly ekQualifiedNameHex: string;
  readonly akPublicHex: string;
  readonly akNameHex: string;
  readonly akQualifiedNameHex: string;
  readonly quoteHex: string;
  readonly signatureHex: string;
}

interface StatementVector {
  readonly attestHex: string;
  readonly signatureHex: string;
}

const vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, '..', '..', 'vectors', 'swtpm-statements.json'), 'utf8'),
) as {
  readonly qualifyingDataHex: string;
  readonly pcrs: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly keys: readonly KeyVector[];
  readonly sessionAudit: StatementVector & {
    readonly key: string;
    readonly propertyCount: number;
    readonly moreData: boolean;
    readonly capabilityDataHex: string;
  };
  readonly auditWithoutKey: StatementVector;
};

const hex = (text: string): Buffer => Buffer.from(text, 'hex');

const pcrValues = new Map(
  Object.entries(vectors.pcrs).map(([bank, values]) => [
    hashAlgorithmByName(bank)?.alg ?? 0,
    new Map(Object.entries(values).map(([pcr, value]) => [Number(pcr), hex(value)])),
  ]),
);

describe.each(vectors.keys)('a TPM with the attestation key $name', (vector) => {
  const ek = decodeSizedPublicArea(hex(vector.ekPublicHex));
  const ak = decodeSizedPublicArea(hex(vector.akPublicHex));

  it('gives both keys the names and qualified names that are computed here', () => {
    const ekQualifiedName = primaryQualifiedName(ek);
    expect(objectName(ek).toString('hex')).toBe(vector.ekNameHex);
    expect(ekQualifiedName.toString('hex')).toBe(vector.ekQualifiedNameHex);
    expect(objectName(ak).toString('hex')).toBe(vector.akNameHex);
    expect(childQualifiedName(ak, ekQualifiedName).toString('hex')).toBe(vector.akQualifiedNameHex);
  });

  it('makes a quote that verifies, names its signer and proves the PCRs of every active bank', () => {
    const signer = signingKeyOf(ak);
    const { message } = verifySignature(signer, hex(vector.quoteHex), decodeSignature(hex(vector.signatureHex)));
    const quote = decodeAttest(message);
    if (quote.kind !== 'quote') {
      throw new Error('statement is no quote');
    }
    expect(quote.qualifiedSigner.toString('hex')).toBe(vector.akQualifiedNameHex);
    expect(quote.extraData.toString('hex')).toBe(vectors.qualifyingDataHex);
    // sha1 was asked for and is inactive: it comes back, selecting nothing.
    expect(quote.attested.pcrSelect).toHaveLength(3);
    expect(formatPcrSelection(quote.attested.pcrSelect)).toBe('sha256:0,16+sha384:1');
    expect(provePcrValues(quote.attested, pcrValues, signer.hashAlg)).toBe(pcrValues);
  });
});

describe('the proof of PCR banks', () => {
  const vector = vectors.sessionAudit;
  const exchange: PcrCapabilityExchange = {
    propertyCount: vector.propertyCount,
    moreData: vector.moreData,
    capabilityData: hex(vector.capabilityDataHex),
  };

  function statement(): SessionAuditAttest {
    const attest = decodeAttest(hex(vector.attestHex));
    if (attest.kind !== 'sessionAudit') {
      throw new Error('statement is no session audit');
    }
    return attest;
  }

  it('is signed by the attestation key', () => {
    const key = vectors.keys.find(({ name }) => name === vector.key);
    const signer = signingKeyOf(decodeSizedPublicArea(hex(key?.akPublicHex ?? '')));
    const signature = decodeSignature(hex(vector.signatureHex));
    expect(verifySignature(signer, hex(vector.attestHex), signature).signer).toBe(signer);
    expect(statement().qualifiedSigner.toString('hex')).toBe(key?.akQualifiedNameHex);
    expect(statement().extraData.toString('hex')).toBe(vectors.qualifyingDataHex);
  });

  it('shows every implemented bank and which of them are active', () => {
    const banks = proveAssignedPcrs(statement(), exchange, TPM_ALG_SHA256);
    const all = Array.from({ length: 24 }, (_, pcr) => pcr);
    expect(banks).toHaveLength(4);
    expect(selectedBanks(banks)).toEqual([
      { hash: TPM_ALG_SHA256, pcrs: all },
      { hash: TPM_ALG_SHA384, pcrs: all },
    ]);
  });

  it.each<[string, PcrCapabilityExchange]>([
    ['a bank hidden', { ...exchange, capabilityData: hex('0000000500000001000b03ffffff') }],
    ['another question', { ...exchange, propertyCount: exchange.propertyCount + 1 }],
    ['a claim of more', { ...exchange, moreData: true }],
    ['no answer', { ...exchange, capabilityData: Buffer.alloc(0) }],
  ])('is refused with %s', (_name, changed) => {
    expect(() => proveAssignedPcrs(statement(), changed, TPM_ALG_SHA256)).toThrow(
      expect.objectContaining({ code: 'AUDIT_DIGEST_MISMATCH' }),
    );
  });

  it('is refused with any bit of the answer flipped', () => {
    for (let at = 0; at < exchange.capabilityData.length; at++) {
      const capabilityData = Buffer.from(exchange.capabilityData);
      capabilityData.writeUInt8(capabilityData.readUInt8(at) ^ 1, at);
      expect(() => proveAssignedPcrs(statement(), { ...exchange, capabilityData }, TPM_ALG_SHA256)).toThrow(
        expect.objectContaining({ code: 'AUDIT_DIGEST_MISMATCH' }),
      );
    }
  });

  it('is refused by the hash of another session', () => {
    expect(() => proveAssignedPcrs(statement(), exchange, TPM_ALG_SHA384)).toThrow(
      expect.objectContaining({ code: 'AUDIT_DIGEST_MISMATCH' }),
    );
  });

  it.each<[string, Partial<PcrCapabilityExchange>, string]>([
    ['says that there is more', { moreData: true }, 'AUDIT_INCOMPLETE'],
    ['is of another capability', { capabilityData: hex('0000000600000000') }, 'UNKNOWN_SELECTOR'],
    [
      'has trailing bytes',
      { capabilityData: Buffer.concat([exchange.capabilityData, Buffer.alloc(1)]) },
      'TRAILING_BYTES',
    ],
  ])('is refused when the attested answer %s', (_name, change, code) => {
    const changed = { ...exchange, ...change };
    const sessionDigest = pcrCapabilitySessionDigest(TPM_ALG_SHA256, changed);
    const attest = { ...statement(), attested: { exclusiveSession: true, sessionDigest } };
    expect(() => proveAssignedPcrs(attest, changed, TPM_ALG_SHA256)).toThrow(expect.objectContaining({ code }));
  });
});

describe('a statement that the TPM signed with no key', () => {
  it('is refused by name under every attestation key', () => {
    const signature = decodeSignature(hex(vectors.auditWithoutKey.signatureHex));
    for (const { akPublicHex } of vectors.keys) {
      const signer = signingKeyOf(decodeSizedPublicArea(hex(akPublicHex)));
      expect(() => verifySignature(signer, hex(vectors.auditWithoutKey.attestHex), signature)).toThrow(
        expect.objectContaining({ code: 'SIGNATURE_NULL' }),
      );
    }
  });
});
