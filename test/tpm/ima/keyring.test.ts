import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ImaKeyring, readImaKey, readImaKeys } from '../../../tpm/ima/keyring.ts';
import type { ImaKeyErrorCode } from '../../../tpm/ima/keyring.ts';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { ecSigner, rsaSigner } from './signing.ts';

const pem = (label: string, der: Buffer): string =>
  `-----BEGIN ${label}-----\n${der.toString('base64')}\n-----END ${label}-----\n`;

describe('keys', () => {
  test('are read from DER and from PEM with several in one file', () => {
    const [first, second] = [rsaSigner(), ecSigner('P-384')];
    expect(readImaKeys(first.spki)).toMatchObject([{ type: 'rsa', fingerprint: first.key.fingerprint }]);
    const file = Buffer.from(`# two keys\n${pem('PUBLIC KEY', first.spki)}${pem('PUBLIC KEY', second.spki)}`);
    expect(readImaKeys(file).map(({ fingerprint }) => fingerprint)).toEqual([
      first.key.fingerprint,
      second.key.fingerprint,
    ]);
  });

  const edwards = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'der' });
  const brainpool = generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }).publicKey.export({
    type: 'spki',
    format: 'der',
  });
  const small = generateKeyPairSync('rsa', { modulusLength: 768 }).publicKey.export({ type: 'spki', format: 'der' });
  const good = ecSigner('P-256');

  test.each<[string, Buffer, ImaKeyErrorCode]>([
    ['text', Buffer.from('no key'), 'KEY_UNREADABLE'],
    ['nothing', Buffer.alloc(0), 'KEY_UNREADABLE'],
    [
      'a private key',
      Buffer.from(pem('PRIVATE KEY', good.privateKey.export({ type: 'pkcs8', format: 'der' }))),
      'KEY_UNREADABLE',
    ],
    ['DER with a byte behind it', Buffer.concat([good.spki, Buffer.alloc(1)]), 'KEY_UNREADABLE'],
    ['DER that is cut off', good.spki.subarray(0, -1), 'KEY_UNREADABLE'],
    ['more than 64 KiB', Buffer.concat([Buffer.from([0x30]), Buffer.alloc(70_000)]), 'KEY_UNREADABLE'],
    ['an Ed25519 key', edwards, 'KEY_UNSUITABLE'],
    ['a curve without arithmetic here', brainpool, 'KEY_UNSUITABLE'],
    ['RSA of 768 bits', small, 'KEY_UNSUITABLE'],
  ])('that are %s are refused', (_, file, code) => {
    expect(() => readImaKeys(file)).toThrow(expect.objectContaining({ name: 'ImaKeyError', code }));
  });

  test('are found by the last four bytes of each identifier', () => {
    const { key } = good;
    const ring = new ImaKeyring([{ ...key, identifiers: ['aabbccdd00112233', ...key.identifiers] }]);
    expect(ring.byKeyId('00112233')).toHaveLength(1);
    expect(ring.byKeyId(key.identifiers[0]?.slice(-8) ?? '')).toHaveLength(1);
    expect(ring.byKeyId('ffffffff')).toEqual([]);
    expect(ring.byIdentifier('aabbccdd00112233')).toHaveLength(1);
    expect(ring.byIdentifier('ffbbccdd00112233')).toEqual([]);
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('the certificate of a real signer', () => {
  test('is known by its subject key identifier, which is the hash of its key', () => {
    const key = readImaKey(readFileSync(measuredBootPath('ca', 'ima-signer.der')));
    const identifier = '6c1b64ed7f7d3eb62b7a248f81f267399b5399d1';
    expect(key).toMatchObject({ type: 'rsa', subject: 'CN=IMA spike' });
    expect(key.identifiers).toEqual([identifier, identifier]);
    expect(new ImaKeyring([key]).byKeyId('9b5399d1')).toEqual([key]);
  });
});

describe.skipIf(!dataIsHere('conformance'))('public keys of other tools', () => {
  test('have the key ids that those tools compute', () => {
    const vectors = JSON.parse(readFileSync(conformancePath('derived', 'keylime-ima-vectors.json'), 'utf8')) as {
      imaKeyring: { pubkeys: string[]; keyids: number[] };
    };
    const keys = vectors.imaKeyring.pubkeys.map((base64) => readImaKey(Buffer.from(base64, 'base64')));
    expect(keys.map(({ identifiers }) => Number.parseInt(identifiers[0]?.slice(-8) ?? '', 16))).toEqual(
      vectors.imaKeyring.keyids,
    );
  });
});
