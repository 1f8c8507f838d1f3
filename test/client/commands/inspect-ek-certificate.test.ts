import { readFileSync, readdirSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { commonName, ext, SIGNATURE, testKey, tpmName } from '../../support/test-ca.ts';
import {
  ekExtensions,
  intermediateExtensions,
  makeEk,
  makeIntermediate,
  makeRoot,
  pem,
  wrap,
} from '../../support/test-ek-pki.ts';
import { anchors, codesOf, EkBench } from '../support/ek-bench.ts';
import type { EkReport } from '../support/ek-bench.ts';

let bench: EkBench;

beforeEach(async () => {
  bench = await EkBench.open();
});

describe('a file may be', () => {
  const ek = makeEk();
  const sub = makeIntermediate();
  test.each<[string, string | Buffer, Partial<EkReport>, readonly string[]]>([
    ['DER', ek, { form: 'der', chain: [] }, []],
    ['DER with padding', Buffer.concat([ek, Buffer.alloc(32, 0xff)]), { form: 'der' }, ['TRAILING_BYTES']],
    ['DER in the header of NV', wrap(ek), { form: 'der' }, ['NV_HEADER']],
    ['DER with its chain', Buffer.concat([ek, sub]), { form: 'der' }, []],
    ['base64', ek.toString('base64').replaceAll(/(.{64})/g, '$1\n'), { form: 'base64' }, []],
    ['PEM', `a comment\n${pem('CERTIFICATE', ek)}`, { form: 'pem' }, []],
    ['PEM with its chain', pem('CERTIFICATE', ek) + pem('CERTIFICATE', sub), { form: 'pem' }, []],
  ])('%s', async (name, file, part, deviations) => {
    const [code, report] = await bench.inspect(file, ...anchors);
    expect([code, report.path.status]).toEqual([0, 'valid']);
    expect(report).toMatchObject(part);
    expect(report.deviations.map((deviation) => deviation.code)).toEqual(deviations);
    expect(report.chain.map(({ subject }) => subject)).toEqual(
      name.endsWith('its chain') ? ['CN=Test Intermediate CA'] : [],
    );
  });

  test('standard input', async () => {
    bench.keep({ '-': pem('CERTIFICATE', ek) });
    expect(await bench.shell.assay('inspect', 'ek-certificate', '-')).toBe(0);
    expect(bench.shell.out).toMatch(/TPM manufacturer: +Infineon \(id:49465800\)/);
  });

  test('no certificate at all: exit code 2, and why', async () => {
    for (const junk of [
      Buffer.alloc(0),
      'junk',
      ek.subarray(0, -1),
      Buffer.alloc(100_000, 0x30),
      Buffer.alloc(9, 0xff),
    ]) {
      bench.shell.err = '';
      expect((await bench.inspect(junk))[0]).toBe(2);
      expect(bench.shell.err).toMatch(/^assay: ek: /);
    }
    expect(await bench.shell.assay('inspect', 'ek-certificate', 'absent')).toBe(2);
  });
});

test('JSON has the documented parts', async () => {
  const [, report] = await bench.inspect(makeEk(), ...anchors);
  expect(Object.keys(report)).toEqual(['form', 'certificate', 'tpm', 'chain', 'path', 'deviations', 'findings']);
  expect(report).toMatchObject({
    certificate: {
      subject: 'CN=TPM',
      issuer: 'CN=Test Intermediate CA',
      serial: '17',
      notBefore: '2022-01-01T00:00:00.000Z',
      notAfter: '2040-01-01T00:00:00.000Z',
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      version: 3,
      signatureAlgorithm: { oid: '1.2.840.10045.4.3.3', name: 'ecdsa-with-SHA384' },
      key: { algorithm: 'rsa', bits: 2048, curve: null, exponent: 65537 },
      keyUsage: ['keyEncipherment'],
      extendedKeyUsage: [{ oid: '2.23.133.8.1', name: 'tcg-kp-EKCertificate' }],
    },
    tpm: {
      manufacturer: { id: 'id:49465800', vendor: 'IFX', name: 'Infineon' },
      model: 'SLB 9670',
      firmwareVersion: 'id:0755',
    },
    path: {
      status: 'valid',
      anchor: expect.stringMatching(/^[0-9a-f]{64}$/),
      certificates: [{ subject: 'CN=TPM' }, { subject: 'CN=Test Intermediate CA' }, { subject: 'CN=Test Root CA' }],
    },
  });
});

describe('trust anchors', () => {
  test('are not asked of who gives none', async () => {
    const [exit, report] = await bench.inspect(makeEk());
    expect([exit, report.path]).toEqual([0, { status: 'unchecked' }]);
  });

  test('must be there where they are asked for', async () => {
    bench.keep({ 'empty/README': 'nothing' });
    expect((await bench.inspect(makeEk(), '--trust-anchors', 'empty'))[0]).toBe(2);
    expect((await bench.inspect(makeEk(), '--trust-anchors', 'nowhere'))[0]).toBe(2);
    bench.keep({ 'sub/sub.der': makeIntermediate() });
    expect((await bench.inspect(makeEk(), '--trust-anchors', 'sub'))[0]).toBe(2);
  });

  test('a chain that came along is never one of them', async () => {
    const mallory = testKey('P-256', 'mallory');
    const own = commonName('Mallory');
    const root = makeRoot({ issuer: own, subject: own, spki: mallory.spki, signer: mallory.privateKey });
    const ek = makeEk({
      issuer: own,
      signature: SIGNATURE.ecdsaSha256,
      signer: mallory.privateKey,
      extensions: ekExtensions({ aki: undefined }),
    });
    const [exit, report] = await bench.inspect(Buffer.concat([ek, root]), ...anchors);
    expect([exit, codesOf(report)]).toEqual([1, ['EK_CERT_UNKNOWN_CA']]);
  });

  test('one file that is none loses no other', async () => {
    bench.keep({
      'anchors/README': 'nothing',
      'anchors/bad.pem': pem('CERTIFICATE', Buffer.from('3003020101', 'hex')),
    });
    const [exit, report] = await bench.inspect(makeEk(), ...anchors);
    expect([exit, report.path.status]).toEqual([0, 'valid']);
    expect(codesOf(report).toSorted()).toEqual(['TRUST_ANCHOR_FILE_SKIPPED', 'TRUST_ANCHOR_UNREADABLE']);
  });

  test('are judged at the time that is asked for', async () => {
    expect(codesOf((await bench.inspect(makeEk(), ...anchors, '--at', '2041-01-01T00:00:00Z'))[1])).toEqual([
      'EK_CERT_EXPIRED',
    ]);
    for (const wrong of ['yesterday', '2027', '2027-13-01T00:00:00Z']) {
      expect((await bench.inspect(makeEk(), ...anchors, '--at', wrong))[0]).toBe(2);
    }
  });
});

test('a bomb of certificates is refused, whatever it is made of', async () => {
  const sub = makeIntermediate({ extensions: [...intermediateExtensions] });
  for (const count of [9, 2000]) {
    const many = Array.from({ length: count }, (_, index) => {
      const copy = makeIntermediate({ serial: Buffer.from([1, index >> 8, index & 0xff]) });
      return index === 0 || count < 10 ? copy : sub;
    });
    const [exit, report] = await bench.inspect(Buffer.concat([makeEk(), ...many]), ...anchors);
    expect([exit, codesOf(report)]).toEqual([1, ['EK_CERT_CHAIN_MALFORMED']]);
  }
  expect((await bench.inspect(pem('CERTIFICATE', makeEk()).repeat(50), ...anchors))[0]).toBe(2);
  expect(
    (await bench.inspect(Buffer.concat(Array.from({ length: 20 }, () => Buffer.from('30820fff', 'hex')))))[0],
  ).toBe(2);
});

test('what a certificate says is never acted upon by a terminal', async () => {
  const hostile = 'x\u001b[2J\u202ey\u0007';
  const ek = makeEk({
    subject: commonName(hostile),
    extensions: ekExtensions({ san: ext.san('plain', tpmName(hostile, hostile, hostile)) }),
  });
  for (const output of ['table', 'json']) {
    bench.keep({ ek });
    await bench.shell.assay('inspect', 'ek-certificate', 'ek', '--output', output);
    expect(bench.shell.out).toMatch(/u\{?0?0?1b/);
    for (const character of ['\u001b', '\u202e', '\u0007']) expect(bench.shell.out).not.toContain(character);
  }
});

describe.skipIf(!dataIsHere('measured-boot'))('EK certificates of a real boot', () => {
  const folder = 'debian-systemd-ima';
  test.each(readdirSync(measuredBootPath(folder)).filter((name) => name.startsWith('ekcert')))('%s', async (name) => {
    const ca = (file: string) => readFileSync(measuredBootPath('ca', file));
    bench.keep({ 'ca/issuercert.pem': ca('issuercert.pem'), 'ca/root.pem': ca('swtpm-localca-rootca-cert.pem') });
    const [exit, report] = await bench.inspect(readFileSync(measuredBootPath(folder, name)), '--trust-anchors', 'ca');
    expect([exit, report.path.status, report.path.certificates?.length]).toEqual([0, 'valid', 3]);
  });
});

describe.skipIf(!dataIsHere('conformance'))('the bundle of the vendors', () => {
  test('is a folder of trust anchors, in which every certificate is read', async () => {
    const folder = 'loicsikidi+tpm-ca-certificates';
    for (const name of readdirSync(conformancePath(folder))) {
      bench.keep({ [`vendors/${name}`]: readFileSync(conformancePath(folder, name)) });
    }
    const [exit, report] = await bench.inspect(makeEk(), '--trust-anchors', 'vendors');
    expect([exit, codesOf(report)]).toEqual([1, ['TRUST_ANCHOR_FILE_SKIPPED', 'EK_CERT_UNKNOWN_CA']]);
  });
});
