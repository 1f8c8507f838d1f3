/** RSAES-OAEP encryption (PKCS#1 v2.2 §7.1.1; Part 1 §B.4) with randomness from outside, which node's own OAEP does not take. */
import { constants, publicEncrypt } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { TpmCryptoError } from './crypto-error.ts';
import { digest, digestSize } from './digest.ts';

/** Source of that many random bytes: `crypto.randomBytes` outside of tests. */
export type Random = (size: number) => Buffer;

/** The ciphertext, as long as the modulus. `label` includes its terminating NUL, where the TPM counts one. */
export function oaepEncrypt(
  key: KeyObject,
  message: Buffer,
  options: { readonly hashAlg: number; readonly label: Buffer; readonly random: Random },
): Buffer {
  const { hashAlg, label, random } = options;
  const modulusBytes = (key.asymmetricKeyDetails?.modulusLength ?? 0) / 8;
  const hashBytes = digestSize(hashAlg);
  const padding = modulusBytes - message.length - 2 * hashBytes - 2;
  if (padding < 0) {
    throw new TpmCryptoError('UNSUITABLE_KEY', `modulus of ${modulusBytes} bytes is too small for this hash`);
  }
  const block = Buffer.concat([digest(hashAlg, label), Buffer.alloc(padding), Buffer.from([1]), message]);
  const seed = random(hashBytes);
  const maskedBlock = xor(block, mgf1(hashAlg, seed, block.length));
  const maskedSeed = xor(seed, mgf1(hashAlg, maskedBlock, hashBytes));
  return publicEncrypt(
    { key, padding: constants.RSA_NO_PADDING },
    Buffer.concat([Buffer.from([0]), maskedSeed, maskedBlock]),
  );
}

/** PKCS#1 v2.2 §B.2.1 */
function mgf1(hashAlg: number, seed: Buffer, length: number): Buffer {
  const blocks: Buffer[] = [];
  for (let counter = 0; counter * digestSize(hashAlg) < length; counter++) {
    const suffix = Buffer.alloc(4);
    suffix.writeUInt32BE(counter);
    blocks.push(digest(hashAlg, seed, suffix));
  }
  return Buffer.concat(blocks).subarray(0, length);
}

function xor(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ (b[index] ?? 0)));
}
