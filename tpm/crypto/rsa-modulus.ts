/** What is wrong with an RSA modulus that its size does not tell. */
export type ModulusFault = 'small-factor' | 'roca';

/** The odd primes up to 167: the first 38, as in "The Return of Coppersmith's Attack" (CCS 2017) §2.2. */
const SMALL_PRIMES = oddPrimes(167);
/** One product of all of them, so that the long division is done once. */
const PRIME_PRODUCT = SMALL_PRIMES.reduce((product, prime) => product * BigInt(prime), 1n);
const POWERS_OF_65537 = SMALL_PRIMES.map((prime) => ({ prime, powers: powersOf65537(prime) }));

/** A modulus of two large primes has no small factor, and none of CVE-2017-15361 (ROCA) its fingerprint. Null for a sound one. */
export function findModulusFault(modulus: Buffer): ModulusFault | null {
  const residues = smallResidues(modulus);
  if ((lastByte(modulus) & 1) === 0 || residues.includes(0)) return 'small-factor';
  return hasRocaFingerprint(residues) ? 'roca' : null;
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

function lastByte(bytes: Buffer): number {
  return bytes[bytes.length - 1] ?? 0;
}
