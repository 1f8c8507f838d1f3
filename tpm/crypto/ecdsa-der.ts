/** ECDSA-Sig-Value (RFC 3279 §2.2.3) from the r and s of a TPM. */
import { TpmCryptoError } from './crypto-error.ts';

/** Bytes of r or s on the largest curve, P-521. */
const MAX_INTEGER_SIZE = 66;

/**
 * DER of r and s, big-endian and unsigned, with or without leading zeros. Own code because node's `ieee-p1363` needs an
 * options object, which costs more than the whole verification of a P-256 signature's encoding here.
 */
export function ecdsaSignatureDer(r: Buffer, s: Buffer): Buffer {
  const content = Buffer.concat([integer(r), integer(s)]);
  // Two integers of at most 69 bytes: the length needs one byte, or the long form with one byte (P-521).
  const header = content.length < 0x80 ? [0x30, content.length] : [0x30, 0x81, content.length];
  return Buffer.concat([Buffer.from(header), content]);
}

function integer(value: Buffer): Buffer {
  const first = value.findIndex((byte) => byte !== 0);
  if (first === -1 || value.length - first > MAX_INTEGER_SIZE) {
    throw new TpmCryptoError('SIGNATURE_MALFORMED', 'r and s must be positive and at most 66 bytes');
  }
  const magnitude = value.subarray(first);
  const sign = (magnitude[0] ?? 0) >= 0x80 ? [0] : [];
  return Buffer.concat([Buffer.from([0x02, sign.length + magnitude.length, ...sign]), magnitude]);
}
