import { createPublicKey, ECDH } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { DER_TAG, DerReader, decodeInteger, decodeOctetBits, decodeOid, encodeDer, encodeUnsigned } from './der.ts';
import type { Deviation } from './deviation.ts';
import { EndorsementError } from './endorsement-error.ts';

/**
 * A public key out of a SubjectPublicKeyInfo (RFC 3279 §2.3). `spki` is its one canonical encoding: rsaEncryption with
 * NULL parameters and minimal integers, or id-ecPublicKey with a named curve and the uncompressed point. Two keys are
 * the same exactly when these bytes are.
 */
export type SubjectKey = RsaSubjectKey | EcSubjectKey | UnusableSubjectKey;

export interface RsaSubjectKey {
  readonly kind: 'rsa';
  readonly spki: Buffer;
  /** Big-endian, without leading zeros. */
  readonly modulus: Buffer;
  readonly exponent: Buffer;
  readonly publicKey: KeyObject;
  readonly deviations: readonly Deviation[];
}

export interface EcSubjectKey {
  readonly kind: 'ec';
  readonly spki: Buffer;
  readonly curve: EcCurve;
  readonly publicKey: KeyObject;
  readonly deviations: readonly Deviation[];
}

/** A key that parses as one and that nothing here works with. */
export interface UnusableSubjectKey {
  readonly kind: 'unusable';
  readonly reason: 'type' | 'curve' | 'point' | 'modulus';
  readonly detail: string;
  readonly deviations: readonly Deviation[];
}

export type EcCurve = 'P-256' | 'P-384' | 'P-521';

const OID_RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
const OID_RSAES_OAEP = '1.2.840.113549.1.1.7';
const OID_EC_PUBLIC_KEY = '1.2.840.10045.2.1';
const CURVES: Readonly<Record<string, { readonly curve: EcCurve; readonly openssl: string; readonly bytes: number }>> =
  {
    '1.2.840.10045.3.1.7': { curve: 'P-256', openssl: 'prime256v1', bytes: 32 },
    '1.3.132.0.34': { curve: 'P-384', openssl: 'secp384r1', bytes: 48 },
    '1.3.132.0.35': { curve: 'P-521', openssl: 'secp521r1', bytes: 66 },
  };
/** AlgorithmIdentifier { rsaEncryption, NULL }. */
const RSA_ALGORITHM = Buffer.from('300d06092a864886f70d0101010500', 'hex');
const MAX_SPKI_BYTES = 4096;

/** Reads a SubjectPublicKeyInfo, DER. Throws {@link EndorsementError} where it is none. */
export function parseSubjectKey(der: Buffer): SubjectKey {
  if (der.length > MAX_SPKI_BYTES) throw new EndorsementError('too_large', 'public key is too large');
  const outer = new DerReader(der, 'public key', 2);
  const info = outer.enter(DER_TAG.sequence, 'public key');
  outer.end();
  const algorithm = info.read(DER_TAG.sequence, 'algorithm');
  const key = decodeOctetBits(info.read(DER_TAG.bitString, 'key').contents, 'public key');
  info.end();
  const fields = info.inside(algorithm, 'key algorithm');
  const oid = decodeOid(fields.read(DER_TAG.objectIdentifier, 'identifier').contents, 'key algorithm');
  if (oid === OID_RSA_ENCRYPTION || oid === OID_RSAES_OAEP) return parseRsa(key, oid === OID_RSAES_OAEP);
  if (oid !== OID_EC_PUBLIC_KEY) return unusable('type', `algorithm ${oid}`);
  const curve = fields.optional(DER_TAG.objectIdentifier);
  if (curve === undefined) return unusable('curve', 'curve is not named');
  fields.end();
  return parseEc(algorithm.raw, decodeOid(curve.contents, 'curve'), key);
}

function parseRsa(key: Buffer, oaep: boolean): SubjectKey {
  const outer = new DerReader(key, 'RSA public key', 4);
  const fields = outer.enter(DER_TAG.sequence, 'RSA public key');
  outer.end();
  const modulus = decodeInteger(fields.read(DER_TAG.integer, 'modulus').contents, 'modulus');
  const exponent = decodeInteger(fields.read(DER_TAG.integer, 'exponent').contents, 'exponent');
  fields.end();
  if (modulus.negative || exponent.negative) return unusable('modulus', 'modulus or exponent is negative');
  const deviations: Deviation[] = [];
  if (oaep) deviations.push({ code: 'RSAES_OAEP_KEY', detail: 'public key' });
  if (!modulus.minimal || !exponent.minimal) deviations.push({ code: 'NON_MINIMAL_INTEGER', detail: 'public key' });
  const numbers = encodeDer(DER_TAG.sequence, encodeUnsigned(modulus.magnitude), encodeUnsigned(exponent.magnitude));
  const spki = encodeDer(DER_TAG.sequence, RSA_ALGORITHM, encodeDer(DER_TAG.bitString, Buffer.from([0]), numbers));
  const publicKey = load(spki);
  if (publicKey === undefined) return unusable('modulus', 'modulus and exponent are no key', deviations);
  return { kind: 'rsa', spki, modulus: modulus.magnitude, exponent: exponent.magnitude, publicKey, deviations };
}

function parseEc(algorithm: Buffer, curveOid: string, point: Buffer): SubjectKey {
  const known = CURVES[curveOid];
  if (known === undefined) return unusable('curve', `curve ${curveOid}`);
  const expanded = expandPoint(point, known);
  if (expanded === undefined) return unusable('point', 'not a point of the curve');
  const spki = encodeDer(DER_TAG.sequence, algorithm, encodeDer(DER_TAG.bitString, Buffer.from([0]), expanded));
  // OpenSSL refuses to load a point that does not satisfy the curve's equation.
  const publicKey = load(spki);
  if (publicKey === undefined) return unusable('point', 'not a point of the curve');
  const deviations: Deviation[] = expanded === point ? [] : [{ code: 'COMPRESSED_POINT', detail: 'public key' }];
  return { kind: 'ec', spki, curve: known.curve, publicKey, deviations };
}

/** The uncompressed form (SEC 1 §2.3.3). Hybrid forms and the point at infinity are refused. */
function expandPoint(point: Buffer, known: { readonly openssl: string; readonly bytes: number }): Buffer | undefined {
  if (point[0] === 0x04 && point.length === 1 + 2 * known.bytes) return point;
  if ((point[0] !== 0x02 && point[0] !== 0x03) || point.length !== 1 + known.bytes) return undefined;
  try {
    const expanded = ECDH.convertKey(point, known.openssl, undefined, undefined, 'uncompressed');
    return typeof expanded === 'string' ? undefined : expanded;
  } catch {
    return undefined;
  }
}

function load(spki: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: spki, format: 'der', type: 'spki' });
  } catch {
    return undefined;
  }
}

function unusable(
  reason: UnusableSubjectKey['reason'],
  detail: string,
  deviations: readonly Deviation[] = [],
): UnusableSubjectKey {
  return { kind: 'unusable', reason, detail, deviations };
}
