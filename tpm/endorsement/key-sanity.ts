import { findModulusFault } from '../crypto/rsa-modulus.ts';
import type { EcSubjectKey, RsaSubjectKey, SubjectKey, UnusableSubjectKey } from './subject-key.ts';

/** What is wrong with a key, whatever a certificate says of it. */
export type KeyRefusalCode =
  | 'EK_KEY_TYPE'
  | 'EK_KEY_SIZE'
  | 'EK_KEY_EXPONENT'
  | 'EK_KEY_MODULUS'
  | 'EK_KEY_ROCA'
  | 'EK_KEY_CURVE'
  | 'EK_KEY_POINT';

export type KeySanity =
  | { readonly status: 'sound'; readonly key: RsaSubjectKey | EcSubjectKey }
  | { readonly status: 'refused'; readonly code: KeyRefusalCode; readonly detail: string };

const RSA_BITS: readonly number[] = [2048, 3072, 4096];
const UNUSABLE: Readonly<Record<UnusableSubjectKey['reason'], KeyRefusalCode>> = {
  type: 'EK_KEY_TYPE',
  curve: 'EK_KEY_CURVE',
  point: 'EK_KEY_POINT',
  modulus: 'EK_KEY_MODULUS',
};

/** RSA of 2048, 3072 or 4096 bits with exponent 65537 and no ROCA fingerprint, or a point on P-256, P-384 or P-521. */
export function checkKeySanity(key: SubjectKey): KeySanity {
  if (key.kind === 'unusable') return refused(UNUSABLE[key.reason], key.detail);
  if (key.kind === 'ec') return { status: 'sound', key };
  const bits = bitLength(key.modulus);
  if (!RSA_BITS.includes(bits)) return refused('EK_KEY_SIZE', `RSA key of ${bits} bits`);
  if (key.exponent.toString('hex') !== '010001') return refused('EK_KEY_EXPONENT', 'RSA exponent is not 65537');
  const fault = findModulusFault(key.modulus);
  if (fault === 'small-factor') return refused('EK_KEY_MODULUS', 'RSA modulus has a small factor');
  if (fault === 'roca') return refused('EK_KEY_ROCA', 'RSA key has the fingerprint of CVE-2017-15361 (ROCA)');
  return { status: 'sound', key };
}

function bitLength(magnitude: Buffer): number {
  return magnitude.length * 8 - Math.clz32(magnitude[0] ?? 0) + 24;
}

function refused(code: KeyRefusalCode, detail: string): KeySanity {
  return { status: 'refused', code, detail };
}
