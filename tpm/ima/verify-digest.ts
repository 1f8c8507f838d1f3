/** Signatures over a digest that is already made: the list holds a file's digest, not the file. */
import { constants, publicDecrypt } from 'node:crypto';

import { p256, p384, p521 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';

import { equalDigests } from '../crypto/digest.ts';
import type { ImaHash } from './hash-names.ts';
import type { IMA_CURVES, ImaKey } from './keyring.ts';

/** node:crypto verifies ECDSA only over what it hashes itself, so the curves come from a library of curve arithmetic. */
const curves = {
  prime256v1: p256,
  secp384r1: p384,
  secp521r1: p521,
  secp256k1,
} as const satisfies Readonly<Record<(typeof IMA_CURVES)[number], unknown>>;

/**
 * Does the signature of the digest verify under the key? RSASSA-PKCS1-v1_5 with the whole DigestInfo compared, or ECDSA in DER with
 * high and low s. Whatever is wrong with the signature's form is a no.
 */
export function verifyDigest(key: ImaKey, hash: ImaHash, digest: Buffer, signature: Buffer): boolean {
  if (digest.length !== hash.size) return false;
  switch (key.type) {
    case 'rsa':
      return verifyRsa(key, hash, digest, signature);
    case 'ec':
      return verifyEcdsa(key, digest, signature);
    case 'mldsa':
      return false;
  }
}

function verifyRsa({ key }: ImaKey, hash: ImaHash, digest: Buffer, signature: Buffer): boolean {
  const expected = digestInfo(hash, digest);
  const size = Math.ceil((key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
  if (expected === undefined || signature.length !== size) return false;
  try {
    return equalDigests(publicDecrypt({ key, padding: constants.RSA_PKCS1_PADDING }, signature), expected);
  } catch {
    // Padding that is not PKCS #1's: the signature is of another key or of nothing.
    return false;
  }
}

/** DigestInfo (RFC 8017 §9.2): the algorithm has NULL parameters, and the form is compared as a whole, never parsed. */
function digestInfo({ oid }: ImaHash, digest: Buffer): Buffer | undefined {
  if (oid === undefined) return undefined;
  const name = Buffer.from(oid, 'hex');
  const algorithm = Buffer.concat([
    Buffer.from([0x30, name.length + 4, 0x06, name.length]),
    name,
    Buffer.from([0x05, 0x00]),
  ]);
  const value = Buffer.concat([Buffer.from([0x04, digest.length]), digest]);
  return Buffer.concat([Buffer.from([0x30, algorithm.length + value.length]), algorithm, value]);
}

function verifyEcdsa({ key }: ImaKey, digest: Buffer, signature: Buffer): boolean {
  const { namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const { x, y } = key.export({ format: 'jwk' });
  if (!isCurve(namedCurve) || typeof x !== 'string' || typeof y !== 'string') return false;
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  try {
    return curves[namedCurve].verify(signature, digest, point, { prehash: false, lowS: false, format: 'der' });
  } catch {
    // No DER of two integers in range.
    return false;
  }
}

function isCurve(name: string): name is keyof typeof curves {
  return Object.hasOwn(curves, name);
}
