import { createHash } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { DER_TAG, encodeDer } from '../../../tpm/endorsement/der.ts';
import { ekFingerprint } from '../../../tpm/endorsement/ek-fingerprint.ts';
import { checkEkKey, verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import type { EkEvidence } from '../../../tpm/endorsement/verify-ek.ts';
import { ext, extension, SIGNATURE, testKey } from '../../support/test-ca.ts';
import {
  ecSpkiOffCurve,
  ekEvidence,
  ekModulus,
  ekOf,
  ekRsaKey,
  intermediateExtensions,
  longChain,
  makeIntermediate,
  makeRoot,
  provenList,
  rootKey,
  rootName,
  rsaSpki,
  withEk,
  withIntermediate,
  withRoot,
} from '../../support/test-ek-pki.ts';

describe('an EK certificate', () => {
  it('verifies with its chain, and yields fingerprints and what the manufacturer says', () => {
    const verdict = verifyEk(ekEvidence());
    expect(verdict).toEqual({
      status: 'verified',
      ekFingerprint: createHash('sha256').update(ekRsaKey.spki).digest('hex'),
      certificateFingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
      anchorFingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
      notAfter: expect.any(Date),
      claims: { manufacturer: 'IFX', model: 'SLB 9670', firmware: 'id:0755' },
      deviations: [],
    });
  });

  it.each<[string, Partial<EkEvidence>]>([
    ['an intermediate that the host sent', { intermediates: [], chain: [makeIntermediate()] }],
    [
      'a chain in one entry of the chain',
      { intermediates: [], chain: [Buffer.concat([makeIntermediate(), makeRoot()])] },
    ],
    ['an intermediate as trust anchor', { trustAnchors: [parseCertificate(makeIntermediate())], intermediates: [] }],
    ['eight intermediates', longChain(8)],
    ['a P-256 key', ekOf(testKey('P-256', 'ek'), 0x08)],
    ['a P-384 key', ekOf(testKey('P-384', 'ek'), 0x08)],
    ['a P-521 key', ekOf(testKey('P-521', 'ek'), 0x08)],
    ['an RSA key of 3072 bits', ekOf(testKey('rsa3072', 'ek'))],
    ['an issuer that signs with ECDSA and SHA-512', withEk({ signature: SIGNATURE.ecdsaSha512 })],
    ...(['rsaSha256', 'rsaSha384', 'rsaSha512', 'rsaPss'] as const).map((kind): [string, Partial<EkEvidence>] => {
      const key = testKey('rsa2048', 'issuer');
      return [
        `an issuer that signs with ${kind}`,
        { ...withIntermediate({ spki: key.spki }), ...withEk({ signature: SIGNATURE[kind], signer: key.privateKey }) },
      ];
    }),
    [
      'an issuer whose purposes include EK certificates',
      withIntermediate({ extensions: [...intermediateExtensions, ext.eku('2.23.133.8.1')] }),
    ],
    [
      'critical policies at an issuer',
      withIntermediate({
        extensions: [...intermediateExtensions, extension('2.5.29.32', encodeDer(DER_TAG.sequence), 'critical')],
      }),
    ],
    [
      'a self-issued certificate that the path length does not count',
      {
        intermediates: [
          parseCertificate(makeIntermediate()),
          parseCertificate(
            makeIntermediate({
              issuer: rootName,
              subject: rootName,
              extensions: [ext.ca(1), ext.keyUsage(0x06), ext.ski('root 2'), ext.aki('root')],
              spki: testKey('P-256', 'root 2').spki,
            }),
          ),
          parseCertificate(
            makeIntermediate({
              extensions: [ext.ca(0), ext.keyUsage(0x06), ext.ski('intermediate'), ext.aki('root 2')],
              signer: testKey('P-256', 'root 2').privateKey,
            }),
          ),
        ],
        ...withRoot({ extensions: [ext.ca(1), ext.keyUsage(0x06), ext.ski('root')] }),
      },
    ],
    ['a revocation list that names another serial', { revocationLists: [provenList(0x18)] }],
    ['a revocation list that another key signed', { revocationLists: [provenList(0x17, { signer: rootKey })] }],
    ['a revocation list of another issuer', { revocationLists: [provenList(0x17, { issuer: rootName })] }],
  ])('verifies with %s', (_name, change) => {
    expect(verifyEk(ekEvidence(change))).toMatchObject({ status: 'verified', deviations: [] });
  });

  it('verifies by another path where a CA of the first one is revoked', () => {
    const other = makeIntermediate({ serial: Buffer.from([0x20]) });
    const revocationLists = [provenList(0x17, { issuer: rootName, signer: rootKey })];
    const intermediates = [makeIntermediate(), other].map((der) => parseCertificate(der));
    expect(verifyEk(ekEvidence({ intermediates, revocationLists }))).toMatchObject({ status: 'verified' });
  });

  it('names the anchor that it chains to', () => {
    const evidence = ekEvidence();
    const anchor = createHash('sha256')
      .update(evidence.trustAnchors[0]?.raw ?? Buffer.alloc(0))
      .digest('hex');
    expect(verifyEk(evidence)).toMatchObject({ anchorFingerprint: anchor });
  });

  it('finds its way between issuers of one name by key identifier and by signature', () => {
    const other = testKey('P-384', 'other');
    const unmarked = [ext.ca(0), ext.keyUsage(0x06)];
    const intermediates = [
      makeIntermediate({ spki: other.spki, extensions: unmarked }),
      makeIntermediate({ spki: other.spki, extensions: [...unmarked, ext.ski('other')] }),
      makeIntermediate({ extensions: unmarked }),
    ].map((der) => parseCertificate(der));
    expect(verifyEk(ekEvidence({ intermediates }))).toMatchObject({ status: 'verified' });
  });
});

describe('the fingerprint of an EK', () => {
  it('is the SHA-256 of its public key', () => {
    const digest = createHash('sha256').update(ekRsaKey.spki).digest('hex');
    expect(ekFingerprint(ekRsaKey.spki)).toBe(digest);
    expect(checkEkKey(ekRsaKey.spki)).toEqual({ status: 'sound', ekFingerprint: digest, spki: ekRsaKey.spki });
  });

  it('is one and the same whatever way the key is labelled', () => {
    expect(ekFingerprint(rsaSpki(ekModulus, { algorithm: '300d06092a864886f70d0101070500' }))).toBe(
      ekFingerprint(ekRsaKey.spki),
    );
    expect(() => ekFingerprint(ecSpkiOffCurve())).toThrow('EK is not usable');
  });
});
