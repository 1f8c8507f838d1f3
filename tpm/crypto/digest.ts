/** Hashes by TPM_ALG_ID. */
import { createHmac, hash as oneShotHash, timingSafeEqual } from 'node:crypto';

import { HASH_ALGORITHMS, algorithmName } from '../structures/constants.ts';
import type { HashAlgorithm } from '../structures/constants.ts';
import { TpmCryptoError } from './crypto-error.ts';

/** The row of a hash; an id that is no known hash is refused. */
export function hashAlgorithm(hashAlg: number): HashAlgorithm {
  const row = HASH_ALGORITHMS.get(hashAlg);
  if (row === undefined) {
    throw new TpmCryptoError('UNSUPPORTED_HASH', `${algorithmName(hashAlg)} is no supported hash`);
  }
  return row;
}

/** Bytes of the digest. */
export function digestSize(hashAlg: number): number {
  return hashAlgorithm(hashAlg).size;
}

/** H(parts[0] ‖ parts[1] ‖ …). One call into the native hash: for short inputs the call costs more than the hashing. */
export function digest(hashAlg: number, ...parts: readonly Uint8Array[]): Buffer {
  const [first] = parts;
  const data = parts.length === 1 && first !== undefined ? first : Buffer.concat(parts);
  return oneShotHash(hashAlgorithm(hashAlg).node, data, 'buffer');
}

/** HMAC over parts[0] ‖ parts[1] ‖ … */
export function hmac(hashAlg: number, key: Uint8Array, ...parts: readonly Uint8Array[]): Buffer {
  const mac = createHmac(hashAlgorithm(hashAlg).node, key);
  for (const part of parts) {
    mac.update(part);
  }
  return mac.digest();
}

/** Compares in time that depends on the lengths alone, which are public. */
export function equalDigests(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}
