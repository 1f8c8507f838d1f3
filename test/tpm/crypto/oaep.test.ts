import { constants, createPublicKey, generateKeyPairSync, privateDecrypt, randomBytes } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { oaepEncrypt } from '../../../tpm/crypto/oaep.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512 } from '../../../tpm/structures/constants.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const label = Buffer.from('IDENTITY\0');

describe('oaepEncrypt', () => {
  it.each([
    [TPM_ALG_SHA1, 'sha1', 214],
    [TPM_ALG_SHA256, 'sha256', 190],
    [TPM_ALG_SHA384, 'sha384', 158],
    [TPM_ALG_SHA512, 'sha512', 126],
  ])('with hash 0x%s is opened by the library decryption with %s, up to %s bytes', (hashAlg, oaepHash, longest) => {
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    for (const length of [0, 1, 32, longest]) {
      const message = randomBytes(length);
      const ciphertext = oaepEncrypt(publicKey, message, { hashAlg, label, random: randomBytes });
      expect(ciphertext).toHaveLength(256);
      expect(privateDecrypt({ key: privateKey, padding, oaepHash, oaepLabel: label }, ciphertext)).toEqual(message);
    }
    const tooLong = randomBytes(longest + 1);
    expect(() => oaepEncrypt(publicKey, tooLong, { hashAlg, label, random: randomBytes })).toThrow(
      expect.objectContaining({ code: 'UNSUITABLE_KEY' }),
    );
  });

  it('is bound to the NUL of the label', () => {
    const ciphertext = oaepEncrypt(publicKey, Buffer.alloc(32), {
      hashAlg: TPM_ALG_SHA256,
      label,
      random: randomBytes,
    });
    const padding = constants.RSA_PKCS1_OAEP_PADDING;
    const open = (oaepLabel: Buffer) =>
      privateDecrypt({ key: privateKey, padding, oaepHash: 'sha256', oaepLabel }, ciphertext);
    expect(open(label)).toEqual(Buffer.alloc(32));
    expect(() => open(label.subarray(0, -1))).toThrow();
  });

  it('depends on nothing but its arguments', () => {
    const fixed = { hashAlg: TPM_ALG_SHA256, label, random: (size: number) => Buffer.alloc(size, 0x12) };
    const copy = createPublicKey(publicKey.export({ type: 'spki', format: 'pem' }));
    expect(oaepEncrypt(publicKey, label, fixed)).toEqual(oaepEncrypt(copy, label, fixed));
  });
});
