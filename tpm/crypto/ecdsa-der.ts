/** ECDSA-Sig-Value (RFC 3279 §2.2.3) from the r and s of a TPM. */
import { TpmCryptoError } from './crypto-error.ts';

/** Bytes of r or s on the largest curve, P-521. */
const MAX_INTEGER_SIZE = 66;

/**
 * DER of r and s, big-endian and unsigned, with or without leading zeros. Own code because node's `ieee-p1363` needs an
 * options object, which costs more than the whole verification of a P-256 signature's encoding here.
 */
export function ecdsaSignatureDer(r: Buffer, s: Buffer): Buffer {
  const [rAt, sAt] = [firstByte(r), firstByte(s)];
  const length = integerLength(r, rAt) + integerLength(s, sAt);
  // Two integers of at most 69 bytes: the length needs one byte, or the long form with one byte (P-521).
  const header = length < 0x80 ? [0x30, length] : [0x30, 0x81, length];
  const der = Buffer.allocUnsafe(header.length + length);
  der.set(header);
  writeInteger(der, writeInteger(der, header.length, r, rAt), s, sAt);
  return der;
}

/** Where the magnitude of an integer begins. */
function firstByte(value: Buffer): number {
  let first = 0;
  while (first < value.length && value[first] === 0) first += 1;
  if (first === value.length || value.length - first > MAX_INTEGER_SIZE) {
    throw new TpmCryptoError('SIGNATURE_MALFORMED', 'r and s must be positive and at most 66 bytes');
  }
  return first;
}

/** Tag, length, a zero where the top bit would be a sign, magnitude. */
function integerLength(value: Buffer, first: number): number {
  return 2 + signLength(value, first) + value.length - first;
}

function signLength(value: Buffer, first: number): number {
  return (value[first] ?? 0) >= 0x80 ? 1 : 0;
}

/** The offset behind it. */
function writeInteger(der: Buffer, at: number, value: Buffer, first: number): number {
  const sign = signLength(value, first);
  der[at] = 0x02;
  der[at + 1] = sign + value.length - first;
  if (sign === 1) der[at + 2] = 0;
  der.set(value.subarray(first), at + 2 + sign);
  return at + integerLength(value, first);
}
