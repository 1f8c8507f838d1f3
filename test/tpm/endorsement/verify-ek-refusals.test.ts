import { describe, expect, it } from 'vitest';

import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { DER_TAG, encodeDer } from '../../../tpm/endorsement/der.ts';
import { verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import type { EkEvidence, EkRefusalCode } from '../../../tpm/endorsement/verify-ek.ts';
import { ext, extension, name, SIGNATURE, testKey, tpmName, VERSION_1 } from '../../support/test-ca.ts';
import {
  day,
  ecSpkiOffCurve,
  ekEvidence,
  ekExtensions,
  ekModulus,
  ekOf,
  intermediateExtensions,
  intermediateKey,
  intermediateName,
  longChain,
  makeEk,
  makeIntermediate,
  provenList,
  rocaSpki,
  rootKey,
  rootName,
  rsaSpki,
  withEk,
  withExtensions,
  withIntermediate,
  withRoot,
  wrap,
} from '../../support/test-ek-pki.ts';

describe('an EK is refused', () => {
  const otherRoot = testKey('P-256', 'other root');
  const rsa1024 = testKey('rsa1024', 'ek');
  const loop = Array.from({ length: 8 }, (_, index) =>
    makeIntermediate({
      issuer: intermediateName,
      serial: Buffer.from([index + 1]),
      extensions: [ext.ca(), ext.keyUsage(0x06)],
      signer: intermediateKey.privateKey,
    }),
  );
  const refusals: readonly (readonly [EkRefusalCode, string, Partial<EkEvidence>])[] = [
    ['EK_KEY_MALFORMED', 'whose key is no key', { spki: Buffer.from('junk') }],
    [
      'EK_KEY_TYPE',
      'whose key is neither RSA nor elliptic',
      { spki: Buffer.from(`302a300506032b6570032100${'11'.repeat(32)}`, 'hex') },
    ],
    ['EK_KEY_SIZE', 'whose RSA key has 1024 bits', ekOf(rsa1024)],
    ['EK_KEY_EXPONENT', 'whose exponent is 3', { spki: rsaSpki(ekModulus, { exponent: '020103' }) }],
    [
      'EK_KEY_MODULUS',
      'whose modulus is even',
      { spki: rsaSpki(Buffer.concat([ekModulus.subarray(0, -1), Buffer.from([0x10])])) },
    ],
    ['EK_KEY_ROCA', 'whose modulus has the ROCA fingerprint', { spki: rocaSpki() }],
    ['EK_KEY_CURVE', 'whose curve is another', { spki: testKey('secp256k1', 'ek').spki }],
    ['EK_KEY_POINT', 'whose point is not on the curve', { spki: ecSpkiOffCurve() }],
    ['EK_CERT_MALFORMED', 'whose certificate is none', { certificate: Buffer.from('junk') }],
    ['EK_CERT_MALFORMED', 'whose certificate is cut short', { certificate: makeEk().subarray(0, -1) }],
    ['EK_CERT_MALFORMED', 'whose NV index is erased', { certificate: Buffer.alloc(1024, 0xff) }],
    ['EK_CERT_MALFORMED', 'whose NV header tells a wrong length', { certificate: wrap(makeEk()).subarray(0, -1) }],
    ['EK_CERT_MALFORMED', 'whose certificate is endless', { certificate: Buffer.alloc(100_000, 0x30) }],
    [
      'EK_CERT_MALFORMED',
      'whose certificate names two algorithms',
      withEk({ outerAlgorithm: SIGNATURE.ecdsaSha256.algorithm }),
    ],
    ['EK_CERT_MALFORMED', 'whose certificate has an extension twice', withExtensions({ again: ext.leaf() })],
    ['EK_CERT_KEY_MISMATCH', 'whose certificate is of another key', withEk({ spki: testKey('rsa2048', 'other').spki })],
    ['EK_CERT_IS_CA', 'whose certificate is one of a CA', withExtensions({ basicConstraints: ext.ca() })],
    ['EK_CERT_SERIAL', 'whose serial is zero', withEk({ serial: Buffer.from([0]) })],
    ['EK_CERT_SERIAL', 'whose serial is negative', withEk({ serial: Buffer.from([0x80]) })],
    ['EK_CERT_ISSUER_EMPTY', 'whose issuer has no name', withEk({ issuer: name() })],
    ['EK_CERT_KEY_USAGE', 'whose certificate is for signing', withExtensions({ keyUsage: ext.keyUsage(0x80) })],
    ['EK_CERT_KEY_USAGE', 'whose certificate says no usage', withExtensions({ keyUsage: undefined })],
    ['EK_CERT_KEY_USAGE', 'that is elliptic and for encipherment', ekOf(testKey('P-256', 'ek'), 0x20)],
    ['EK_CERT_EKU', 'whose certificate is one of an AK', withExtensions({ eku: ext.eku('2.23.133.8.3') })],
    ['EK_CERT_EKU', 'whose certificate says no purpose', withExtensions({ eku: undefined })],
    [
      'EK_CERT_SUBJECT',
      'that nothing critical names',
      withEk({ subject: name(), extensions: ekExtensions({ san: ext.san('plain', tpmName()) }) }),
    ],
    ['EK_CERT_SAN', 'whose certificate names no TPM', withExtensions({ san: undefined })],
    [
      'EK_CERT_SAN',
      'whose certificate names no manufacturer',
      withExtensions({ san: ext.san('plain', name(['2.23.133.2.2', 'm'])) }),
    ],
    [
      'EK_CERT_SAN',
      'whose certificate names two TPMs',
      withExtensions({ san: ext.san('plain', tpmName(), tpmName()) }),
    ],
    [
      'EK_CERT_SAN',
      'whose certificate names two manufacturers',
      withExtensions({ san: ext.san('plain', name(['2.23.133.2.1', 'id:49465800'], ['2.23.133.2.1', 'id:494E5443'])) }),
    ],
    ['EK_CERT_VERSION', 'whose certificate is of version 1', withEk({ version: VERSION_1, extensions: [] })],
    ['EK_CERT_MALFORMED', 'whose certificate has extensions in version 1', withEk({ version: VERSION_1 })],
    ['EK_CERT_NOT_YET_VALID', 'before its certificate is valid', { now: day('2021-12-31') }],
    ['EK_CERT_EXPIRED', 'after its certificate has expired', { now: day('2040-01-02') }],
    [
      'EK_CERT_CRITICAL_EXTENSION',
      'with an unknown critical extension',
      withExtensions({ unknown: extension('1.2.3.4', Buffer.from([5, 0]), 'critical') }),
    ],
    [
      'EK_CERT_CRITICAL_EXTENSION',
      'with a critical DNS name',
      withExtensions({
        san: extension(
          '2.5.29.17',
          encodeDer(DER_TAG.sequence, encodeDer(0xa4, tpmName()), encodeDer(0x82, Buffer.from('a'))),
          'critical',
        ),
      }),
    ],
    [
      'EK_CERT_CRITICAL_EXTENSION',
      'under an issuer with name constraints',
      withIntermediate({
        extensions: [...intermediateExtensions, extension('2.5.29.30', encodeDer(DER_TAG.sequence), 'critical')],
      }),
    ],
    ['EK_CERT_CHAIN_MALFORMED', 'with a chain of junk', { chain: [Buffer.from('junk')] }],
    ['EK_CERT_CHAIN_MALFORMED', 'with a chain in which one is junk', { chain: [Buffer.from('3003020101', 'hex')] }],
    [
      'EK_CERT_CHAIN_MALFORMED',
      'with a chain and junk after it',
      { chain: [Buffer.concat([makeIntermediate(), Buffer.from('00ff', 'hex')])] },
    ],
    ['EK_CERT_CHAIN_MALFORMED', 'with a chain of nine', { chain: Array.from({ length: 9 }, () => makeIntermediate()) }],
    [
      'EK_CERT_CHAIN_MALFORMED',
      'with nine in one entry of the chain',
      {
        chain: [
          Buffer.concat(
            Array.from({ length: 9 }, (_, index) => makeIntermediate({ serial: Buffer.from([index + 1]) })),
          ),
        ],
      },
    ],
    ['EK_CERT_UNKNOWN_CA', 'without any trust anchor', { trustAnchors: [] }],
    ['EK_CERT_UNKNOWN_CA', 'without its intermediate', { intermediates: [] }],
    [
      'EK_CERT_UNKNOWN_CA',
      'under a root of the same name and another key identifier',
      withRoot({ spki: otherRoot.spki, signer: otherRoot.privateKey, extensions: [ext.ca(), ext.ski('other')] }),
    ],
    [
      'EK_CERT_SIGNATURE',
      'under a root of the same name and identifier and another key',
      withRoot({ spki: otherRoot.spki, signer: otherRoot.privateKey }),
    ],
    ['EK_CERT_SIGNATURE', 'that the host certified itself', withEk({ signer: testKey('P-384', 'mallory').privateKey })],
    [
      'EK_CERT_SIGNATURE',
      'under an issuer with a key of another kind',
      withIntermediate({ spki: testKey('rsa2048', 'issuer').spki }),
    ],
    ['EK_CERT_SIGNATURE_SHA1', 'that was signed with SHA-1', withEk({ signature: SIGNATURE.ecdsaSha1 })],
    [
      'EK_CERT_SIGNATURE_SHA1',
      'whose intermediate was signed with SHA-1',
      withIntermediate({ signature: SIGNATURE.ecdsaSha1 }),
    ],
    ['EK_CERT_SIGNATURE_ALGORITHM', 'that was signed with SHA-224', withEk({ signature: SIGNATURE.ecdsaSha224 })],
    [
      'EK_CERT_SIGNATURE_ALGORITHM',
      'that was signed with PSS and its default of SHA-1',
      {
        ...withIntermediate({ spki: testKey('rsa2048', 'issuer').spki }),
        ...withEk({ signature: SIGNATURE.rsaPssOfSha1, signer: testKey('rsa2048', 'issuer').privateKey }),
      },
    ],
    [
      'EK_CERT_CHAIN_EXPIRED',
      'whose issuer had expired before it issued',
      withIntermediate({ notAfter: day('2021-06-01') }),
    ],
    [
      'EK_CERT_CHAIN_EXPIRED',
      'whose issuer has expired, where that is asked for',
      { ...withIntermediate({ notAfter: day('2025-10-20') }), issuerValidity: 'now' },
    ],
    [
      'EK_CERT_CHAIN_EXPIRED',
      'whose root has expired, where that is asked for',
      { ...withRoot({ notAfter: day('2025-10-20') }), issuerValidity: 'now' },
    ],
    [
      'EK_CERT_CHAIN_NOT_YET_VALID',
      'whose issuer is not yet valid',
      withIntermediate({ notBefore: day('2028-01-01') }),
    ],
    ['EK_CERT_CHAIN_TOO_LONG', 'under nine intermediates', longChain(9)],
    [
      'EK_CERT_CHAIN_TOO_COMPLEX',
      'with a chain of certificates that all issued each other',
      { intermediates: [], chain: loop, ...withExtensions({ aki: undefined }) },
    ],
    [
      'EK_CERT_ISSUER_NOT_CA',
      'under an issuer that is no CA',
      withIntermediate({ extensions: [ext.leaf(), ext.keyUsage(0x06), ext.ski('intermediate')] }),
    ],
    [
      'EK_CERT_ISSUER_NOT_CA',
      'under an issuer without basic constraints',
      withIntermediate({ extensions: [ext.keyUsage(0x06), ext.ski('intermediate')] }),
    ],
    ['EK_CERT_ISSUER_NOT_CA', 'under an issuer of version 1', withIntermediate({ version: VERSION_1, extensions: [] })],
    [
      'EK_CERT_ISSUER_PATH_LENGTH',
      'under a root that allows no intermediate',
      withRoot({ extensions: [ext.ca(0), ext.keyUsage(0x06), ext.ski('root')] }),
    ],
    [
      'EK_CERT_ISSUER_KEY_USAGE',
      'under an issuer that may not sign certificates',
      withIntermediate({ extensions: [ext.ca(0), ext.keyUsage(0x80), ext.ski('intermediate')] }),
    ],
    [
      'EK_CERT_ISSUER_EKU',
      'under an issuer for servers',
      withIntermediate({ extensions: [...intermediateExtensions, ext.eku('1.3.6.1.5.5.7.3.1')] }),
    ],
    [
      'EK_CERT_ISSUER_KEY',
      'under an issuer with a small key',
      {
        ...withIntermediate({ spki: rsa1024.spki }),
        ...withEk({ signature: SIGNATURE.rsaSha256, signer: rsa1024.privateKey }),
      },
    ],
    ['EK_CERT_ISSUER_KEY', 'under an issuer with the ROCA fingerprint', withIntermediate({ spki: rocaSpki() })],
    ['EK_CERT_REVOKED', 'whose certificate is revoked', { revocationLists: [provenList(0x17)] }],
    [
      'EK_CERT_REVOKED',
      'whose certificate is revoked by a stale list',
      { revocationLists: [provenList(0x17, { nextUpdate: day('2026-03-01') })] },
    ],
    [
      'EK_CERT_REVOKED',
      'whose certificate is revoked by a list that is issued later, as a clock that was set back has it',
      { revocationLists: [provenList(0x17, { thisUpdate: day('2027-06-02') })] },
    ],
    [
      'EK_CERT_REVOKED',
      'whose intermediate is revoked',
      { revocationLists: [provenList(0x17, { issuer: rootName, signer: rootKey })] },
    ],
    [
      'EK_CERT_REVOKED',
      'whose certificate is revoked, under another certificate of the issuer, which may not sign lists',
      {
        ...withIntermediate({ extensions: [ext.ca(0), ext.keyUsage(0x04)] }),
        revocationLists: [provenList(0x17)],
      },
    ],
    [
      'EK_CERT_REVOKED',
      'whose intermediate is revoked, beside one that the root did not sign',
      {
        intermediates: [
          parseCertificate(makeIntermediate()),
          parseCertificate(makeIntermediate({ serial: Buffer.from([0x20]), signer: intermediateKey.privateKey })),
        ],
        revocationLists: [provenList(0x17, { issuer: rootName, signer: rootKey })],
      },
    ],
    [
      'EK_CERT_REVOKED',
      'whose certificate is revoked, beside a CA of the same name',
      {
        intermediates: [
          parseCertificate(makeIntermediate({ extensions: [ext.ca(0), ext.keyUsage(0x06)], spki: rootKey.spki })),
          parseCertificate(makeIntermediate()),
        ],
        revocationLists: [provenList(0x17)],
      },
    ],
  ];

  it.each(refusals)('with %s: %s', (code, _name, change) => {
    expect(verifyEk(ekEvidence(change))).toEqual({ status: 'refused', code, detail: expect.any(String) });
  });
});
