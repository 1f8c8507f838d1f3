import { X509Certificate } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { parseCertificate } from '../../../tpm/endorsement/certificate.ts';
import { DER_TAG, DerReader, encodeDer } from '../../../tpm/endorsement/der.ts';
import { compareNames, escapeText, parseName } from '../../../tpm/endorsement/distinguished-name.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { commonName, ext, extension, name, SIGNATURE } from '../../support/test-ca.ts';
import { ekRsaKey, makeEk, makeIntermediate, makeRoot } from '../../support/test-ek-pki.ts';

const nameOf = (der: Buffer) => parseName(new DerReader(der, 'name').next(), 'name');

describe('a certificate', () => {
  it.each([
    ['root', makeRoot()],
    ['intermediate', makeIntermediate()],
    ['EK', makeEk({ serial: Buffer.from('00ff00', 'hex') })],
  ])('is read as OpenSSL reads it: %s', (_name, der) => {
    const own = parseCertificate(der);
    const openssl = new X509Certificate(der);
    expect(own.raw).toEqual(openssl.raw);
    expect(own.fingerprint).toBe(openssl.fingerprint256.replaceAll(':', '').toLowerCase());
    expect(own.serial.hex).toBe(openssl.serialNumber.toLowerCase());
    expect(own.notBefore).toEqual(openssl.validFromDate);
    expect(own.notAfter).toEqual(openssl.validToDate);
    expect(own.subject.text).toBe(openssl.subject.replaceAll('\n', ', '));
    expect(own.issuer.text).toBe(openssl.issuer.replaceAll('\n', ', '));
    expect(own.extensions.basicConstraints?.ca ?? false).toBe(openssl.ca);
    expect(own.subjectKey.kind === 'unusable' ? '' : own.subjectKey.spki).toEqual(
      openssl.publicKey.export({ type: 'spki', format: 'der' }),
    );
  });

  it('yields its extensions with their flags', () => {
    const { extensions } = parseCertificate(makeIntermediate());
    expect(extensions.basicConstraints).toEqual({ ca: true, pathLength: 0 });
    expect([...(extensions.keyUsage ?? [])]).toEqual(['keyCertSign', 'cRLSign']);
    expect(extensions.subjectKeyIdentifier).toEqual(Buffer.from('intermediate'));
    expect(extensions.authorityKeyIdentifier?.keyIdentifier).toEqual(Buffer.from('root'));
    expect(extensions.all.get('2.5.29.19')?.critical).toBe(true);
    expect(extensions.all.get('2.5.29.14')?.critical).toBe(false);
  });

  it.each<[string, Buffer]>([
    ['trailing bytes', Buffer.concat([makeEk(), Buffer.from([0])])],
    ['no bytes', Buffer.alloc(0)],
    ['too many bytes', Buffer.concat([makeEk({ extensions: [extension('1.2.3', Buffer.alloc(17_000))] })])],
    [
      'too many extensions',
      makeEk({ extensions: Array.from({ length: 65 }, (_, index) => extension(`1.2.${index}`, Buffer.alloc(0))) }),
    ],
    ['the same extension twice', makeEk({ extensions: [ext.leaf(), ext.ca()] })],
    [
      'basic constraints with trailing bytes',
      makeEk({ extensions: [extension('2.5.29.19', Buffer.from('30000500', 'hex'))] }),
    ],
    ['a key usage without bits', makeEk({ extensions: [extension('2.5.29.15', Buffer.from('030100', 'hex'))] })],
    [
      'a path length that is negative',
      makeEk({ extensions: [extension('2.5.29.19', Buffer.from('30060101ff0201ff', 'hex'))] }),
    ],
    ['a serial of 65 bytes', makeEk({ serial: Buffer.alloc(65, 1) })],
    ['a name of 33 parts', makeEk({ subject: name(...Array.from({ length: 33 }, () => ['2.5.4.3', 'x'] as const)) })],
    ['an attribute of 2000 characters', makeEk({ subject: commonName('x'.repeat(2000)) })],
    ['another algorithm outside the signed part', makeEk({ outerAlgorithm: SIGNATURE.rsaSha256.algorithm })],
    ['a key that is none', makeEk({ spki: encodeDer(DER_TAG.sequence) })],
  ])('is refused with %s', (_name, der) => {
    expect(() => parseCertificate(der)).toThrow(EndorsementError);
  });

  it('never does more with a flipped byte than throw the typed error', () => {
    const der = makeEk();
    for (let index = 0; index < der.length; index += 1) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const flipped = Buffer.from(der);
        flipped[index] = (flipped[index] ?? 0) ^ mask;
        try {
          expect(parseCertificate(flipped).raw).toEqual(flipped);
        } catch (error) {
          expect(error).toBeInstanceOf(EndorsementError);
        }
      }
    }
  });

  it('notes a default that is written out', () => {
    const der = makeEk({ version: Buffer.from('a003020100', 'hex'), extensions: [], spki: ekRsaKey.spki });
    expect(parseCertificate(der).deviations).toEqual([{ code: 'EXPLICIT_DEFAULT', detail: 'version' }]);
  });
});

describe('a name', () => {
  it('is the same in another string type, letter case and spacing, but not in another order or with another value', () => {
    const base = nameOf(name(['2.5.4.6', 'CH'], ['2.5.4.3', 'Test Root CA']));
    const same = nameOf(
      name(['2.5.4.6', 'ch', DER_TAG.printableString], ['2.5.4.3', ' test  root CA ', DER_TAG.ia5String]),
    );
    expect(compareNames(base, base)).toBe('identical');
    expect(compareNames(base, same)).toBe('equivalent');
    for (const other of [
      name(['2.5.4.3', 'Test Root CA'], ['2.5.4.6', 'CH']),
      name(['2.5.4.6', 'CH'], ['2.5.4.3', 'Test Root CA 2']),
      name(['2.5.4.6', 'CH'], ['2.5.4.11', 'Test Root CA']),
      name(['2.5.4.6', 'CH","2.5.4.3=test root ca']),
      name(),
    ]) {
      expect(compareNames(base, nameOf(other))).toBe('different');
    }
  });

  it('prints without control and direction characters, and so that its borders show', () => {
    expect(nameOf(commonName('a, O=b\u0007\u202e')).text).toBe('CN=a\\, O=b\\u{7}\\u{202e}');
    expect(escapeText('ä\u2028\u0000z')).toBe('ä\\u{2028}\\u{0}z');
  });
});
