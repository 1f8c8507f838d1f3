import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { encodeDer } from '../../../tpm/endorsement/der.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import type { EndorsementErrorCode } from '../../../tpm/endorsement/endorsement-error.ts';
import { readRevocationLists } from '../../../tpm/endorsement/revocation-lists.ts';
import { commonName, ext, extension, SIGNATURE, testKey } from '../../support/test-ca.ts';
import {
  day,
  intermediateKey,
  makeIntermediate,
  makeRoot,
  NOW,
  pem,
  revocationList,
  rootKey,
  rootName,
} from '../../support/test-ek-pki.ts';

const LABEL = 'X509 CRL';
const ISSUERS = [parseCertificate(makeRoot()), parseCertificate(makeIntermediate())];
const context = { issuers: ISSUERS, now: NOW };
const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

const OF_INTERMEDIATE = revocationList([0x17, 0x18], { number: 7, extensions: [ext.aki('intermediate')] });
const OF_ROOT = revocationList(0x19, { issuer: rootName, signer: rootKey });

describe('a file of revocation lists', () => {
  it.each<[string, Buffer]>([
    ['DER, one after another', Buffer.concat([OF_INTERMEDIATE, OF_ROOT])],
    ['PEM with text around', Buffer.from(`of 2026\n${pem(LABEL, OF_INTERMEDIATE)}\nand\n${pem(LABEL, OF_ROOT)}end\n`)],
    ['the same one twice', Buffer.concat([OF_INTERMEDIATE, OF_ROOT, OF_INTERMEDIATE])],
  ])('yields each list once with the key that signed it: %s', (_name, file) => {
    expect(
      readRevocationLists(file, context).map(({ raw, fingerprint, list, issuerKey }) => [
        fingerprint,
        issuerKey,
        [...list.revoked],
        raw.length,
      ]),
    ).toEqual([
      [sha256(OF_INTERMEDIATE), sha256(intermediateKey.spki), ['17', '18'], OF_INTERMEDIATE.length],
      [sha256(OF_ROOT), sha256(rootKey.spki), ['19'], OF_ROOT.length],
    ]);
  });

  it('finds the issuer among CAs of one name by key identifier and by signature', () => {
    const other = testKey('P-384', 'other');
    const unmarked = [ext.ca(0), ext.keyUsage(0x06)];
    const issuers = [
      makeIntermediate({ spki: other.spki, extensions: unmarked }),
      makeIntermediate({ spki: other.spki, extensions: [...unmarked, ext.ski('other')] }),
      makeIntermediate(),
    ].map((der) => parseCertificate(der));
    const [read] = readRevocationLists(OF_INTERMEDIATE, { issuers, now: NOW });
    expect(read?.issuerKey).toBe(sha256(intermediateKey.spki));
  });

  const certificate = (change: Parameters<typeof makeIntermediate>[0]) => [parseCertificate(makeIntermediate(change))];
  const flipped = Buffer.from(OF_INTERMEDIATE);
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  it.each<[EndorsementErrorCode, string, Buffer, RegExp, Partial<typeof context>?]>([
    ['list_invalid', 'that is empty', Buffer.from('\n'), /holds no revocation list/],
    ['list_invalid', 'of certificates', Buffer.from(pem('CERTIFICATE', makeRoot())), /holds no revocation list/],
    ['list_invalid', 'with a certificate in DER', makeRoot(), /./],
    ['list_invalid', 'that ends within PEM', Buffer.from(pem(LABEL, OF_ROOT).slice(0, 200)), /ends within/],
    ['list_invalid', 'that was cut short', OF_ROOT.subarray(0, -1), /ends too early/],
    ['list_invalid', 'with something behind it', Buffer.concat([OF_ROOT, Buffer.from([0])]), /./],
    ['list_invalid', 'with the second one broken', Buffer.concat([OF_ROOT, encodeDer(0x30)]), /^list 2: /],
    ['list_invalid', 'with 101 lists', Buffer.concat(Array.from({ length: 101 }, () => OF_ROOT)), /too many/],
    [
      'list_unsupported',
      'with a delta',
      revocationList(1, { extensions: [extension('2.5.29.27', Buffer.from('020101', 'hex'), 'critical')] }),
      /is a delta/,
    ],
    ['list_issuer_unknown', 'of an issuer that is not known', OF_ROOT, /import it first/, { issuers: [] }],
    ['list_issuer_unknown', 'of another issuer', revocationList(1, { issuer: commonName('Nobody') }), /CN=Nobody/],
    [
      'list_issuer_unknown',
      'of another key of a known issuer, as its identifier says',
      revocationList(1, { extensions: [ext.aki('next')] }),
      /import it first/,
    ],
    ['list_invalid', 'that another key signed', revocationList(1, { signer: rootKey }), /does not verify/],
    ['list_invalid', 'whose signature was touched', flipped, /does not verify/],
    ['list_invalid', 'that is signed over SHA-1', revocationList(1, { signature: SIGNATURE.ecdsaSha1 }), /SHA-1/],
    [
      'list_invalid',
      'of a CA that may not sign lists',
      OF_INTERMEDIATE,
      /cRLSign/,
      { issuers: certificate({ extensions: [ext.ca(), ext.keyUsage(0x04)] }) },
    ],
    [
      'list_invalid',
      'of what is no CA',
      OF_INTERMEDIATE,
      /no CA/,
      { issuers: certificate({ extensions: [ext.leaf(), ext.keyUsage(0x02)] }) },
    ],
    ['list_not_yet_valid', 'of the future', revocationList(1, { thisUpdate: day('2027-06-02') }), /2027-06-02/],
  ])('is refused as %s: %s', (code, _name, file, message, change = {}) => {
    let caught: unknown;
    try {
      readRevocationLists(file, { ...context, ...change });
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(EndorsementError);
    expect(caught).toMatchObject({ code, message: expect.stringMatching(message) as string });
  });

  it('that OpenSSL wrote is read, PEM and DER', () => {
    const directory = mkdtempSync(join(tmpdir(), 'assay-crl-'));
    try {
      const file = (name: string, content: string | Buffer): string => {
        const path = join(directory, name);
        writeFileSync(path, content);
        return path;
      };
      const config = file(
        'ca.conf',
        [
          '[ca]',
          'default_ca = own',
          '[own]',
          `database = ${file('index.txt', 'R\t400101000000Z\t260101000000Z,keyCompromise\t0102AB\tunknown\t/CN=TPM\n')}`,
          `crlnumber = ${file('crlnumber', '0A\n')}`,
          'default_md = sha256',
          'default_crl_days = 3650',
          'crl_extensions = extensions',
          '[extensions]',
          'authorityKeyIdentifier = keyid:always',
          '',
        ].join('\n'),
      );
      const key = rootKey.privateKey.export({ format: 'pem', type: 'pkcs8' });
      const made = join(directory, 'list.pem');
      execFileSync(
        'openssl',
        [
          ...['ca', '-config', config, '-gencrl', '-out', made],
          ...['-cert', file('root.pem', pem('CERTIFICATE', makeRoot())), '-keyfile', file('root.key', key)],
        ],
        { stdio: 'pipe' },
      );
      const der = execFileSync('openssl', ['crl', '-in', made, '-outform', 'DER']);
      for (const bytes of [readFileSync(made), der]) {
        const [read] = readRevocationLists(bytes, { issuers: ISSUERS, now: new Date('2040-01-01T00:00:00Z') });
        expect(read).toMatchObject({ issuerKey: sha256(rootKey.spki), list: { number: '0a' } });
        expect([...(read?.list.revoked ?? [])]).toEqual(['0102ab']);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
