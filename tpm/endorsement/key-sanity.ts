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

/** The odd primes up to 167: the first 38, as in "The Return of Coppersmith's Attack" (CCS 2017) §2.2. */
const SMALL_PRIMES = oddPrimes(167);
/** One product of all of them, so that the long division is done once. */
const PRIME_PRODUCT = SMALL_PRIMES.reduce((product, prime) => product * BigInt(prime), 1n);
const POWERS_OF_65537 = SMALL_PRIMES.map((prime) => ({ prime, powers: powersOf65537(prime) }));

/** RSA of 2048, 3072 or 4096 bits with exponent 65537 and no ROCA fingerprint, or a point on P-256, P-384 or P-521. */
export function checkKeySanity(key: SubjectKey): KeySanity {
  if (key.kind === 'unusable') return refused(UNUSABLE[key.reason], key.detail);
  if (key.kind === 'ec') return { status: 'sound', key };
  const bits = bitLength(key.modulus);
  if (!RSA_BITS.includes(bits)) return refused('EK_KEY_SIZE', `RSA key of ${bits} bits`);
  if (key.exponent.toString('hex') !== '010001') return refused('EK_KEY_EXPONENT', 'RSA exponent is not 65537');
  const residues = smallResidues(key.modulus);
  // A modulus of two large primes has no small factor, 2 included.
  if ((lastByte(key.modulus) & 1) === 0 || residues.includes(0)) {
    return refused('EK_KEY_MODULUS', 'RSA modulus has a small factor');
  }
  if (hasRocaFingerprint(residues)) {
    return refused('EK_KEY_ROCA', 'RSA key has the fingerprint of CVE-2017-15361 (ROCA)');
  }
  return { status: 'sound', key };
}

/**
 * Primes of the flawed generator are k·M + (65537^a mod M), M a product of small primes, so the modulus is a power of
 * 65537 modulo each of them. A sound modulus passes with a probability of about 2^-28.
 */
function hasRocaFingerprint(residues: readonly number[]): boolean {
  return POWERS_OF_65537.every(({ powers }, index) => powers.has(residues[index] ?? -1));
}

function smallResidues(modulus: Buffer): number[] {
  const reduced = BigInt(`0x${modulus.toString('hex')}`) % PRIME_PRODUCT;
  return SMALL_PRIMES.map((prime) => Number(reduced % BigInt(prime)));
}

function powersOf65537(prime: number): ReadonlySet<number> {
  const powers = new Set<number>();
  for (let power = 1; !powers.has(power); power = (power * 65537) % prime) powers.add(power);
  return powers;
}

function oddPrimes(maximum: number): readonly number[] {
  const primes: number[] = [];
  for (let candidate = 3; candidate <= maximum; candidate += 2) {
    if (primes.every((prime) => candidate % prime !== 0)) primes.push(candidate);
  }
  return primes;
}

function bitLength(magnitude: Buffer): number {
  return magnitude.length * 8 - Math.clz32(magnitude[0] ?? 0) + 24;
}

function lastByte(bytes: Buffer): number {
  return bytes[bytes.length - 1] ?? 0;
}

function refused(code: KeyRefusalCode, detail: string): KeySanity {
  return { status: 'refused', code, detail };
}
