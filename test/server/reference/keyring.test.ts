import { generateKeyPairSync } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import { readKeyring } from '../../../server/reference/keyring.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { makeTestAuthority } from '../../support/tls.ts';

const pem = (key: KeyObject) => key.export({ type: 'spki', format: 'pem' }) as string;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const ec = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
const authority = await makeTestAuthority();
const certificate = `-----BEGIN CERTIFICATE-----\n${authority.certificate.toString('base64')}\n-----END CERTIFICATE-----\n`;
const read = (file: Buffer | string) => readKeyring(Buffer.from(file));
const keysOf = (file: Buffer | string) => {
  const outcome = read(file);
  if ('problems' in outcome) throw new Error(JSON.stringify(outcome.problems));
  return outcome.keys;
};

describe('a file of keys', () => {
  it('gives keys and certificates with what names them', () => {
    const [first, second, third] = keysOf(
      `some text\n${pem(rsa.publicKey)}between\n${pem(ec.publicKey)}${certificate}`,
    );
    expect(first).toMatchObject({ algorithm: 'RSA-2048', subject: '', notBefore: null, notAfter: null });
    expect(second).toMatchObject({ algorithm: 'EC-P-384' });
    expect(third).toMatchObject({ algorithm: 'EC-P-256', der: authority.certificate.toString('hex') });
    expect(third?.subject).toMatch(/^CN=/m);
    expect(third?.notBefore).toBeLessThan(third?.notAfter ?? 0);
    for (const key of [first, second, third]) {
      expect(key?.fingerprint).toMatch(/^[0-9a-f]{64}$/);
      expect(key?.keyIds.length).toBeGreaterThan(0);
      for (const id of key?.keyIds ?? []) expect(id).toMatch(/^[0-9a-f]{8}$/);
    }
  });

  it('may be one certificate or key in DER', () => {
    expect(keysOf(authority.certificate)).toEqual(keysOf(certificate));
    expect(keysOf(ec.publicKey.export({ type: 'spki', format: 'der' }))).toEqual(keysOf(pem(ec.publicKey)));
  });

  it('is refused as a whole, with a reason for each bad key', () => {
    const secret = rsa.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const ed = generateKeyPairSync('ed25519');
    const weak = generateKeyPairSync('rsa', { modulusLength: 512 });
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    expect(read([pem(rsa.publicKey), secret, pem(ed.publicKey), pem(weak.publicKey), broken].join(''))).toEqual({
      problems: [
        { key: 2, message: 'pem of private key where a certificate or public key must be' },
        { key: 3, message: 'ed25519 keys sign no files' },
        { key: 4, message: 'rsa key of 512 bits is out of bounds' },
        { key: 5, message: 'no certificate or public key in der' },
      ],
    });
  });

  it.each([
    ['no key', 'hello'],
    ['a block that does not end', `${pem(rsa.publicKey)}-----BEGIN PUBLIC KEY-----\nAAAA\n`],
    [
      'a block of what is no base64',
      `${pem(rsa.publicKey)}-----BEGIN PUBLIC KEY-----\n!!!!\n-----END PUBLIC KEY-----\n`,
    ],
    ['bytes behind the certificate', Buffer.concat([authority.certificate, Buffer.alloc(1)])],
  ])('with %s is refused', (_name, file) => {
    expect(read(file)).toMatchObject({ problems: [{ message: expect.any(String) }] });
  });

  it('of more than 1000 keys is refused before they are read', () => {
    const many = '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n'.repeat(1001);
    expect(read(many)).toEqual({ problems: [{ key: 1001, message: 'more than 1000 keys' }] });
  });

  it('that is damaged gives keys or problems, and nothing else', () => {
    const random = new SeededRandom(9);
    for (const good of [Buffer.from(certificate), authority.certificate]) {
      for (let round = 0; round < 500; round++) {
        const bad = Buffer.from(good);
        for (let turn = 0; turn < 1 + random.below(3); turn++) bad[random.below(bad.length)] = random.below(256);
        const outcome = read(bad.subarray(0, 1 + random.below(bad.length)));
        if ('problems' in outcome) expect(outcome.problems.length).toBeGreaterThan(0);
        else expect(outcome.keys).toHaveLength(1);
      }
    }
  });
});
