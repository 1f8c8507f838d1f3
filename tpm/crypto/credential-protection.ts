/** The keys and the encryption that protect a credential (Part 1 §24), for both ends. */
import { createCipheriv, createDecipheriv } from 'node:crypto';

import { TPM_ALG_AES, TPM_ALG_CFB, TPM_ALG_ECC, TPM_ALG_RSA, algorithmName } from '../structures/constants.ts';
import type { TPMT_PUBLIC } from '../structures/public-area.ts';
import { TpmCryptoError } from './crypto-error.ts';
import { digestSize, hmac } from './digest.ts';
import { kdfa } from './kdf.ts';

/** Part 1 §24: the label under which the seed is shared. */
export const IDENTITY_LABEL = 'IDENTITY';

const ZERO_IV = Buffer.alloc(16);
const KEY_BITS: ReadonlySet<number> = new Set([128, 192, 256]);

/** A cipher, and an HMAC, both made from the seed with the EK's nameAlg and symmetric parameters. */
export interface CredentialProtection {
  readonly encrypt: (plain: Buffer) => Buffer;
  readonly decrypt: (encIdentity: Buffer) => Buffer;
  /** The outer HMAC over encIdentity ‖ Name of the object that the credential is for. */
  readonly integrity: (encIdentity: Buffer, objectName: Buffer) => Buffer;
}

export function credentialProtection(ek: TPMT_PUBLIC, seed: Buffer, objectName: Buffer): CredentialProtection {
  const keyBits = aesKeyBits(ek);
  const symmetricKey = kdfa(ek.nameAlg, seed, 'STORAGE', keyBits, { contextU: objectName });
  const hmacKey = kdfa(ek.nameAlg, seed, 'INTEGRITY', digestSize(ek.nameAlg) * 8);
  const cipher = `aes-${keyBits}-cfb`;
  return {
    encrypt: (plain) => createCipheriv(cipher, symmetricKey, ZERO_IV).update(plain),
    decrypt: (encIdentity) => createDecipheriv(cipher, symmetricKey, ZERO_IV).update(encIdentity),
    integrity: (encIdentity, name) => hmac(ek.nameAlg, hmacKey, encIdentity, name),
  };
}

function aesKeyBits(ek: TPMT_PUBLIC): number {
  if (ek.type !== TPM_ALG_RSA && ek.type !== TPM_ALG_ECC) {
    throw new TpmCryptoError('UNSUITABLE_KEY', `${algorithmName(ek.type)} key is no ek`);
  }
  const { symmetric } = ek.parameters;
  if (symmetric.algorithm !== TPM_ALG_AES || symmetric.mode !== TPM_ALG_CFB || !KEY_BITS.has(symmetric.keyBits)) {
    throw new TpmCryptoError(
      'UNSUPPORTED_SYMMETRIC',
      `${algorithmName(symmetric.algorithm)} does not protect credentials`,
    );
  }
  return symmetric.keyBits;
}
