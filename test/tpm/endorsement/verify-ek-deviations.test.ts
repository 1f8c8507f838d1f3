import { describe, expect, it } from 'vitest';

import { DER_TAG, encodeDer } from '../../../tpm/endorsement/der.ts';
import type { DeviationCode } from '../../../tpm/endorsement/deviation.ts';
import { ekFingerprint } from '../../../tpm/endorsement/ek-fingerprint.ts';
import { verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import type { EkEvidence } from '../../../tpm/endorsement/verify-ek.ts';
import { commonName, ext, extension, name, oid, SIGNATURE, testKey, tpmName } from '../../support/test-ca.ts';
import {
  day,
  ekEvidence,
  ekExtensions,
  ekModulus,
  makeEk,
  makeIntermediate,
  provenList,
  rsaSpki,
  withEk,
  withExtensions,
  withIntermediate,
  wrap,
} from '../../support/test-ek-pki.ts';

describe('a departure that real hardware shows', () => {
  const longName = commonName('x'.repeat(79));
  it.each<[DeviationCode, string, Partial<EkEvidence>]>([
    ['TRAILING_BYTES', 'zeros after the certificate', { certificate: Buffer.concat([makeEk(), Buffer.alloc(300)]) }],
    ['TRAILING_BYTES', 'FF after the certificate', { certificate: Buffer.concat([makeEk(), Buffer.alloc(300, 0xff)]) }],
    [
      'TRAILING_BYTES',
      'padding after the chain',
      { intermediates: [], chain: [Buffer.concat([makeIntermediate(), Buffer.alloc(99, 0xff)])] },
    ],
    ['NV_HEADER', 'an NV header', { certificate: wrap(makeEk()) }],
    ['EXPLICIT_DEFAULT', 'CA FALSE written out', withExtensions({ basicConstraints: ext.explicitLeaf() })],
    [
      'EXPLICIT_DEFAULT',
      'critical FALSE written out',
      withExtensions({ attributes: extension('2.5.29.9', encodeDer(DER_TAG.sequence), 'explicitly plain') }),
    ],
    [
      'RSAES_OAEP_KEY',
      'a key labelled RSAES-OAEP',
      withEk({ spki: rsaSpki(ekModulus, { algorithm: '300d06092a864886f70d0101070500' }) }),
    ],
    [
      'NON_MINIMAL_INTEGER',
      'a modulus with leading zeros',
      withEk({ spki: rsaSpki(ekModulus, { padding: '000000' }) }),
    ],
    ['SERIAL_LEADING_ZERO', 'a serial with leading zeros', withEk({ serial: Buffer.from('00001234', 'hex') })],
    ['EMPTY_SUBJECT', 'an empty subject and a critical alternative name', withEk({ subject: name() })],
    [
      'NAME_TOO_LONG',
      'an issuer name of 79 characters',
      { ...withIntermediate({ subject: longName }), ...withEk({ issuer: longName }) },
    ],
    ['NO_EXPIRY', 'no expiry', withEk({ notAfter: new Date('9999-12-31T23:59:59Z') })],
    [
      'NAME_ENCODING',
      'an issuer name in another string type',
      withEk({ issuer: commonName('Test Intermediate CA', DER_TAG.printableString) }),
    ],
    ['ALGORITHM_PARAMETERS', 'NULL parameters of ECDSA', withEk({ signature: SIGNATURE.ecdsaSha256WithNull })],
    ['AKI_ABSENT', 'no authority key identifier', withExtensions({ aki: undefined })],
    ['BASIC_CONSTRAINTS_ABSENT', 'no basic constraints', withExtensions({ basicConstraints: undefined })],
    [
      'CRITICALITY',
      'critical purposes',
      withExtensions({ eku: extension('2.5.29.37', encodeDer(DER_TAG.sequence, oid('2.23.133.8.1')), 'critical') }),
    ],
    [
      'TPM_ATTRIBUTE_ABSENT',
      'no version',
      withExtensions({ san: ext.san('plain', name(['2.23.133.2.1', 'id:49465800'], ['2.23.133.2.2', 'm'])) }),
    ],
    [
      'TPM_ATTRIBUTE_UNKNOWN',
      'another attribute',
      withExtensions({
        san: ext.san(
          'plain',
          name(['2.23.133.2.1', 'id:49465800'], ['2.23.133.2.2', 'm'], ['2.23.133.2.3', 'v'], ['2.5.4.3', 'x']),
        ),
      }),
    ],
    ['MANUFACTURER_FORM', 'a manufacturer by name', withExtensions({ san: ext.san('plain', tpmName('Infineon')) })],
    [
      'ISSUER_EXPIRED',
      'an intermediate that expired after it issued',
      withIntermediate({ notAfter: day('2025-10-20') }),
    ],
    [
      'CRL_STALE',
      'a revocation list past its next update',
      { revocationLists: [provenList(0x18, { nextUpdate: day('2026-03-01') })] },
    ],
  ])('is accepted and reported as %s: %s', (code, _name, change) => {
    const verdict = verifyEk(ekEvidence(change));
    const codes = verdict.status === 'verified' ? verdict.deviations.map((each) => each.code) : [verdict.code];
    expect(new Set(codes)).toEqual(new Set([code]));
  });

  it('of a compressed point is accepted, and the fingerprint is the one of the whole point', () => {
    const { spki } = testKey('P-256', 'ek');
    const point = spki.subarray(-64);
    const compressed = Buffer.concat([Buffer.from([0, 2 + ((point[63] ?? 0) & 1)]), point.subarray(0, 32)]);
    const short = encodeDer(
      DER_TAG.sequence,
      Buffer.from('301306072a8648ce3d020106082a8648ce3d030107', 'hex'),
      encodeDer(DER_TAG.bitString, compressed),
    );
    const evidence = ekEvidence({
      spki,
      ...withEk({ spki: short, extensions: ekExtensions({ keyUsage: ext.keyUsage(0x08) }) }),
    });
    expect(verifyEk(evidence)).toMatchObject({
      status: 'verified',
      ekFingerprint: ekFingerprint(spki),
      deviations: [{ code: 'COMPRESSED_POINT' }],
    });
  });

  it('in what a TPM says of itself reaches no terminal', () => {
    const verdict = verifyEk(
      ekEvidence(withExtensions({ san: ext.san('plain', tpmName('id:49465800', 'SLB\u001b[2J\u202e9670')) })),
    );
    expect(verdict).toMatchObject({ claims: { model: 'SLB\\u{1b}[2J\\u{202e}9670' } });
  });
});
