import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { parseCertificateBundle } from '../../../tpm/endorsement/certificate-bundle.ts';
import { verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import type { EkEvidence, EkRefusalCode } from '../../../tpm/endorsement/verify-ek.ts';
import { measuredBootPath } from '../../support/data.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { day, makeRoot } from '../../support/test-ek-pki.ts';

describe('the EK certificates of a real boot', () => {
  const { anchors } = parseCertificateBundle(readFileSync(measuredBootPath('ca', 'swtpm-localca-rootca-cert.pem')));
  const { intermediates } = parseCertificateBundle(readFileSync(measuredBootPath('ca', 'issuercert.pem')));
  const now = day('2027-01-01');
  const certificates = ['ekcert.der', 'ekcertec.der'].map((file) =>
    readFileSync(measuredBootPath('debian-systemd-ima', file)),
  );
  const [rsa = Buffer.alloc(0), ec = Buffer.alloc(0)] = certificates;
  const spkiOf = (der: Buffer) =>
    parseCertificateBundle(der).intermediates.flatMap(({ subjectKey }) =>
      subjectKey.kind === 'unusable' ? [] : [subjectKey.spki],
    )[0] ?? Buffer.alloc(0);
  const evidence = (certificate: Buffer) => ({
    spki: spkiOf(certificate),
    certificate,
    chain: [],
    trustAnchors: anchors,
    intermediates,
    now,
  });

  it.each([
    ['RSA', rsa],
    ['P-384', ec],
  ])('verify: %s', (_name, certificate) => {
    expect(verifyEk(evidence(certificate))).toMatchObject({
      status: 'verified',
      claims: { manufacturer: 'id:00001014', model: 'swtpm', firmware: 'id:20191023' },
    });
  });

  it.each<[string, Partial<EkEvidence>, EkRefusalCode]>([
    ['another CA', { trustAnchors: [parseCertificate(makeRoot())] }, 'EK_CERT_UNKNOWN_CA'],
    ['the key of the other EK', { spki: spkiOf(ec) }, 'EK_CERT_KEY_MISMATCH'],
    ['a clock before the boot', { now: day('2026-11-22') }, 'EK_CERT_NOT_YET_VALID'],
  ])('are refused with %s', (_name, change, code) => {
    expect(verifyEk({ ...evidence(rsa), ...change })).toMatchObject({ status: 'refused', code });
  });

  it('never verify with any one bit turned', () => {
    for (const certificate of certificates) {
      for (let bit = 0; bit < certificate.length * 8; bit += 1) {
        const turned = Buffer.from(certificate);
        turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expect(verifyEk({ ...evidence(certificate), certificate: turned }).status).toBe('refused');
      }
    }
  });

  it('never verify when cut short, and random bytes never do', () => {
    for (let length = 0; length < rsa.length; length += 1) {
      expect(verifyEk({ ...evidence(rsa), certificate: rsa.subarray(0, length) }).status).toBe('refused');
    }
    const random = new SeededRandom(20_261_125);
    for (let round = 0; round < 2000; round += 1) {
      const bytes = random.bytesUpTo(200);
      expect(verifyEk({ ...evidence(rsa), certificate: bytes }).status).toBe('refused');
      expect(verifyEk({ ...evidence(rsa), spki: bytes, chain: [bytes] }).status).toBe('refused');
      const spliced = Buffer.from(rsa);
      random.bytes(8).copy(spliced, random.below(rsa.length - 8));
      expect(verifyEk({ ...evidence(rsa), certificate: spliced, chain: [spliced] }).status).toBe(
        spliced.equals(rsa) ? 'verified' : 'refused',
      );
    }
  });
});
