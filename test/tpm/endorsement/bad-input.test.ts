import { describe, expect, it } from 'vitest';

import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { parseCertificateBundle } from '../../../tpm/endorsement/certificate-bundle.ts';
import { DER_TAG, encodeDer } from '../../../tpm/endorsement/der.ts';
import { parseEkCertificate } from '../../../tpm/endorsement/ek-certificate.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { parseRevocationList } from '../../../tpm/endorsement/revocation.ts';
import { verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import { commonName, ext, extension, name } from '../../support/test-ca.ts';
import {
  ekEvidence,
  ekExtensions,
  makeEk,
  makeIntermediate,
  makeRoot,
  pem,
  revocationList,
  rsaSpki,
  wrap,
} from '../../support/test-ek-pki.ts';

/** Whether reading throws the typed error; whatever else it throws fails the test. */
function isRefused(read: () => unknown): boolean {
  try {
    read();
    return false;
  } catch (error) {
    if (error instanceof EndorsementError) return true;
    throw error;
  }
}

describe('cut off at any byte', () => {
  it.each<[string, Buffer, (bytes: Buffer) => unknown]>([
    ['a certificate', makeEk(), parseCertificate],
    ['an EK certificate in NV', wrap(makeEk()), parseEkCertificate],
    ['a revocation list', revocationList([1, 2, 3]), parseRevocationList],
    ['a file of one certificate', makeRoot(), parseCertificateBundle],
  ])('%s is refused with the typed error', (_name, bytes, read) => {
    for (let length = 0; length < bytes.length; length += 1) {
      expect([length, isRefused(() => read(bytes.subarray(0, length)))]).toEqual([length, true]);
    }
    expect(isRefused(() => read(bytes))).toBe(false);
  });

  it('a file in PEM is refused, or read up to the last certificate that is whole', () => {
    const file = Buffer.from(pem('CERTIFICATE', makeRoot()) + pem('CERTIFICATE', makeIntermediate()));
    const first = file.indexOf('-----END CERTIFICATE-----') + '-----END CERTIFICATE-----'.length;
    const second = file.indexOf('-----BEGIN', first) + '-----BEGIN CERTIFICATE-----'.length;
    for (let length = 0; length < file.length - 1; length += 1) {
      const part = file.subarray(0, length);
      const refused = isRefused(() => parseCertificateBundle(part));
      expect([length, refused]).toEqual([length, length < first || length >= second]);
      if (!refused) expect(parseCertificateBundle(part).anchors).toHaveLength(1);
    }
  });
});

describe('a certificate bomb', () => {
  const many = <T>(count: number, make: (index: number) => T): readonly T[] =>
    Array.from({ length: count }, (_, index) => make(index));

  it.each<[string, () => Buffer]>([
    ['of 4 GiB by its length', () => Buffer.from('3084ffffffff3084ffffffff', 'hex')],
    [
      'that nests without end',
      () => many(5000, () => 0).reduce<Buffer>((inner) => encodeDer(DER_TAG.sequence, inner), Buffer.alloc(0)),
    ],
    [
      'of a thousand extensions',
      () => makeEk({ extensions: many(1000, (index) => extension(`1.2.3.${index}`, Buffer.from([5, 0]))) }),
    ],
    [
      'of a thousand attributes in its name',
      () => makeEk({ subject: name(...many(1000, () => ['2.5.4.3', 'x'] as const)) }),
    ],
    ['of one name of 15 kB', () => makeEk({ subject: commonName('x'.repeat(15_000)) })],
    [
      'of a thousand purposes',
      () => makeEk({ extensions: ekExtensions({ eku: ext.eku(...many(1000, (index) => `1.2.3.${index}`)) }) }),
    ],
    [
      'of a thousand alternative names',
      () => makeEk({ extensions: ekExtensions({ san: ext.san('plain', ...many(200, () => commonName('x'))) }) }),
    ],
    ['with a modulus of 100,000 bits', () => makeEk({ spki: rsaSpki(Buffer.alloc(12_500, 0xff)) })],
    ['with a serial number of 10 kB', () => makeEk({ serial: Buffer.alloc(10_000, 1) })],
  ])('%s is refused before it costs anything', (_name, make) => {
    expect(isRefused(() => parseCertificate(make()))).toBe(true);
    expect(verifyEk(ekEvidence({ certificate: make() }))).toMatchObject({
      status: 'refused',
      code: 'EK_CERT_MALFORMED',
    });
  });

  it('of two thousand and more in a file is refused, whatever is in them', () => {
    const small = Buffer.from('3000', 'hex');
    expect(isRefused(() => parseCertificateBundle(Buffer.concat(many(2049, () => small))))).toBe(true);
    expect(isRefused(() => parseCertificateBundle(Buffer.from(pem('CERTIFICATE', small).repeat(2049))))).toBe(true);
    const { anchors, rejected } = parseCertificateBundle(Buffer.concat(many(2048, () => small)));
    expect([anchors.length, rejected.length]).toEqual([0, 2048]);
  });
});
