import { beforeEach, describe, expect, test } from 'vitest';
import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { parseEkCertificate } from '../../../tpm/endorsement/ek-certificate.ts';
import { verifyEk } from '../../../tpm/endorsement/verify-ek.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { commonName, ext, extension, SIGNATURE, testKey } from '../../support/test-ca.ts';
import {
  day,
  ecSpkiOffCurve,
  ekExtensions,
  ekModulus,
  makeEk,
  makeIntermediate,
  makeRoot,
  NOW,
  revocationList,
  rocaSpki,
  rootKey,
  rootName,
  rsaSpki,
} from '../../support/test-ek-pki.ts';
import { anchors, codesOf, EkBench } from '../support/ek-bench.ts';

let bench: EkBench;

beforeEach(async () => {
  bench = await EkBench.open();
});

describe('each broken variant has its own code', () => {
  const intermediate = (change: Parameters<typeof makeIntermediate>[0]) => ({
    'anchors/sub.der': makeIntermediate(change),
  });
  const other = testKey('P-256', 'other root');
  const changed = (change: Readonly<Record<string, Buffer | undefined>>) =>
    makeEk({ extensions: ekExtensions(change) });
  test.each<[string, string, Buffer, Readonly<Record<string, Buffer>>]>([
    ['expired', 'EK_CERT_EXPIRED', makeEk({ notAfter: day('2027-05-31') }), {}],
    ['not yet valid', 'EK_CERT_NOT_YET_VALID', makeEk({ notBefore: day('2027-06-02') }), {}],
    [
      'an issuer that is no CA',
      'EK_CERT_ISSUER_NOT_CA',
      makeEk(),
      intermediate({ extensions: [ext.leaf(), ext.keyUsage(0x06), ext.ski('intermediate')] }),
    ],
    [
      'too long for a path length',
      'EK_CERT_ISSUER_PATH_LENGTH',
      makeEk(),
      { 'anchors/root.pem': makeRoot({ extensions: [ext.ca(0), ext.keyUsage(0x06), ext.ski('root')] }) },
    ],
    [
      'an issuer that may not sign certificates',
      'EK_CERT_ISSUER_KEY_USAGE',
      makeEk(),
      intermediate({ extensions: [ext.ca(0), ext.keyUsage(0x80), ext.ski('intermediate')] }),
    ],
    [
      'an unknown critical extension',
      'EK_CERT_CRITICAL_EXTENSION',
      changed({ unknown: extension('1.2.3.4', Buffer.from([5, 0]), 'critical') }),
      {},
    ],
    ['a key usage of another kind', 'EK_CERT_KEY_USAGE', changed({ keyUsage: ext.keyUsage(0x80) }), {}],
    ['signed by another key', 'EK_CERT_SIGNATURE', makeEk({ signer: testKey('P-384', 'mallory').privateKey }), {}],
    ['another issuer key by its identifier', 'EK_CERT_UNKNOWN_CA', changed({ aki: ext.aki('other') }), {}],
    [
      'under a root of the same name and another key',
      'EK_CERT_SIGNATURE',
      makeEk(),
      { 'anchors/root.pem': makeRoot({ spki: other.spki, signer: other.privateKey }) },
    ],
    ['signed with SHA-1', 'EK_CERT_SIGNATURE_SHA1', makeEk({ signature: SIGNATURE.ecdsaSha1 }), {}],
    ['ROCA', 'EK_KEY_ROCA', makeEk({ spki: rocaSpki() }), {}],
    ['an exponent of 3', 'EK_KEY_EXPONENT', makeEk({ spki: rsaSpki(ekModulus, { exponent: '020103' }) }), {}],
    ['1024 bits', 'EK_KEY_SIZE', makeEk({ spki: testKey('rsa1024', 'ek').spki }), {}],
    ['another curve', 'EK_KEY_CURVE', makeEk({ spki: testKey('secp256k1', 'ek').spki }), {}],
    ['a point off the curve', 'EK_KEY_POINT', makeEk({ spki: ecSpkiOffCurve() }), {}],
    ['a CA', 'EK_CERT_IS_CA', changed({ basicConstraints: ext.ca() }), {}],
    ['no purpose', 'EK_CERT_EKU', changed({ eku: undefined }), {}],
  ])('%s: %s', async (_name, code, certificate, files) => {
    bench.keep(files);
    const [exit, report] = await bench.inspect(certificate, ...anchors);
    expect([exit, codesOf(report)]).toEqual([1, expect.arrayContaining([code])]);
    expect(report.path.status === 'valid').toBe(
      codesOf(report).every((each) => !/^EK_CERT_(?!KEY_USAGE|IS_CA|EKU)/.test(each)),
    );
  });

  test('revoked: EK_CERT_REVOKED', async () => {
    bench.keep({ list: revocationList(0x17), other: revocationList(0x18) });
    const [exit, report] = await bench.inspect(makeEk(), ...anchors, '--crl', 'list', 'other');
    expect([exit, codesOf(report)]).toEqual([1, ['EK_CERT_REVOKED']]);
    expect((await bench.inspect(makeEk(), ...anchors, '--crl', 'other'))[0]).toBe(0);
  });

  test('whose intermediate is revoked: EK_CERT_REVOKED', async () => {
    bench.keep({ list: revocationList(0x17, { issuer: rootName, signer: rootKey }) });
    expect(codesOf((await bench.inspect(makeEk(), ...anchors, '--crl', 'list'))[1])).toEqual(['EK_CERT_REVOKED']);
  });

  test('every fault is told, not the first alone', async () => {
    const [, report] = await bench.inspect(
      makeEk({
        spki: rocaSpki(),
        notAfter: day('2027-05-31'),
        extensions: ekExtensions({ keyUsage: ext.keyUsage(0x80) }),
      }),
    );
    expect(codesOf(report)).toEqual(['EK_KEY_ROCA', 'EK_CERT_KEY_USAGE', 'EK_CERT_EXPIRED']);
  });
});

describe('revocation lists', () => {
  test.each<[string, string, Buffer]>([
    ['is none', 'REVOCATION_LIST_INVALID', Buffer.from('junk')],
    ['nobody known issued', 'REVOCATION_LIST_ISSUER_UNKNOWN', revocationList(1, { issuer: commonName('nobody') })],
    ['another key signed', 'REVOCATION_LIST_INVALID', revocationList(1, { signer: rootKey })],
    ['is of the future', 'REVOCATION_LIST_NOT_YET_VALID', revocationList(1, { thisUpdate: day('2027-06-02') })],
  ])('one that %s is an error: %s', async (_name, code, list) => {
    bench.keep({ list });
    const [exit, report] = await bench.inspect(makeEk(), ...anchors, '--crl', 'list');
    expect([exit, codesOf(report)]).toEqual([1, [code]]);
  });

  test('mean nothing without trust anchors', async () => {
    bench.keep({ list: revocationList(1) });
    expect((await bench.inspect(makeEk(), '--crl', 'list'))[0]).toBe(2);
  });
});

test('it says what the service would say, over a thousand tampered certificates', async () => {
  const random = new SeededRandom(2);
  const valid = makeEk();
  const trustAnchors = [parseCertificate(makeRoot())];
  const intermediates = [parseCertificate(makeIntermediate())];
  let refused = 0;
  for (let round = 0; round < 1000; round += 1) {
    const certificate = Buffer.from(valid);
    const at = random.below(certificate.length);
    certificate[at] = (certificate[at] ?? 0) ^ (1 << random.below(8));
    const [exit] = await bench.inspect(certificate, ...anchors);
    let spki: Buffer = Buffer.alloc(0);
    try {
      const { subjectKey } = parseEkCertificate(certificate);
      if (subjectKey.kind !== 'unusable') spki = subjectKey.spki;
    } catch {
      expect(exit).toBe(2);
      continue;
    }
    const verdict = verifyEk({ spki, certificate, chain: [], trustAnchors, intermediates, now: NOW });
    expect([round, exit]).toEqual([round, verdict.status === 'verified' ? 0 : 1]);
    refused += 1;
  }
  expect(refused).toBeGreaterThan(500);
});
