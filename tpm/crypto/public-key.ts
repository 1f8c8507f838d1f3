/** Public areas as keys of node:crypto. */
import { createPublicKey } from 'node:crypto';
import type { JsonWebKey, KeyObject } from 'node:crypto';

import { ECC_CURVES, TPM_ALG_ECC, TPM_ALG_RSA, algorithmName } from '../structures/constants.ts';
import type { EccCurve } from '../structures/constants.ts';
import type { EccPublic, RsaPublic, TPMT_PUBLIC } from '../structures/public-area.ts';
import { TpmCryptoError } from './crypto-error.ts';

/** Part 2 §12.2.3.5: the exponent that 0 stands for. */
const DEFAULT_EXPONENT = 65537;

/** The key of an RSA or ECC public area. Modulus, exponent and point are checked for sense; strength is the caller's policy. */
export function publicKeyOf(publicArea: TPMT_PUBLIC): KeyObject {
  switch (publicArea.type) {
    case TPM_ALG_RSA:
      return importKey(rsaJwk(publicArea), 'INVALID_KEY');
    case TPM_ALG_ECC:
      return importKey(eccJwk(publicArea), 'INVALID_POINT');
    default:
      throw new TpmCryptoError('UNSUITABLE_KEY', `${algorithmName(publicArea.type)} is no asymmetric key`);
  }
}

/** The SubjectPublicKeyInfo, DER. */
export function subjectPublicKeyInfo(publicArea: TPMT_PUBLIC): Buffer {
  return publicKeyOf(publicArea).export({ type: 'spki', format: 'der' });
}

/** The curve of an ECC public area. */
export function curveOf(publicArea: EccPublic): EccCurve {
  const { curveID } = publicArea.parameters;
  const curve = ECC_CURVES.get(curveID);
  if (curve === undefined) {
    throw new TpmCryptoError('UNSUPPORTED_CURVE', `curve 0x${curveID.toString(16).padStart(4, '0')} is not supported`);
  }
  return curve;
}

/** A coordinate in ceil(bits / 8) bytes: a TPM may leave out leading zeros (Part 1 §C.8), hashes and keys may not. */
export function paddedCoordinate(coordinate: Buffer, curve: EccCurve): Buffer {
  if (coordinate.length > curve.coordinateSize) {
    throw new TpmCryptoError('INVALID_POINT', `coordinate of ${coordinate.length} bytes on ${curve.name}`);
  }
  const padded = Buffer.alloc(curve.coordinateSize);
  coordinate.copy(padded, curve.coordinateSize - coordinate.length);
  return padded;
}

function rsaJwk({ parameters, unique }: RsaPublic): JsonWebKey {
  const exponent = parameters.exponent === 0 ? DEFAULT_EXPONENT : parameters.exponent;
  if (exponent < 3 || exponent % 2 === 0) {
    throw new TpmCryptoError('INVALID_KEY', `exponent ${exponent} is no RSA exponent`);
  }
  // The top bit set and the length as declared: keyBits is what size rules look at, so it must be the modulus' own.
  if (unique.length * 8 !== parameters.keyBits || (unique[0] ?? 0) < 0x80 || (unique.at(-1) ?? 0) % 2 === 0) {
    throw new TpmCryptoError('INVALID_KEY', `modulus is not one of ${parameters.keyBits} bits`);
  }
  const exponentBytes = Buffer.alloc(4);
  exponentBytes.writeUInt32BE(exponent);
  const significant = exponentBytes.subarray(exponentBytes.findIndex((byte) => byte !== 0));
  return { kty: 'RSA', n: unique.toString('base64url'), e: significant.toString('base64url') };
}

function eccJwk(publicArea: EccPublic): JsonWebKey {
  const curve = curveOf(publicArea);
  return {
    kty: 'EC',
    crv: curve.jwk,
    x: paddedCoordinate(publicArea.unique.x, curve).toString('base64url'),
    y: paddedCoordinate(publicArea.unique.y, curve).toString('base64url'),
  };
}

/** Import proves for EC that the point is on the curve; the test of this file holds node to it. */
function importKey(key: JsonWebKey, code: 'INVALID_KEY' | 'INVALID_POINT'): KeyObject {
  try {
    return createPublicKey({ key, format: 'jwk' });
  } catch (cause) {
    throw new TpmCryptoError(code, 'public area holds no valid key', { cause });
  }
}
