import { hash as oneShotHash } from 'node:crypto';

import type { SignatureTrial, TrySignature } from '../../tpm/ima/keyring.ts';

/** Some 120 bytes each. */
const MAX_TRIALS = 100_000;

/**
 * Whether signatures verify: the same one over the same bytes is tried under a key once over the whole fleet, under however many paths
 * files are listed and whoever judges them. Bounded; what was not asked for longest goes first.
 */
export class SignatureCache {
  readonly #known = new Map<string, boolean>();
  readonly #limit: number;
  #tried = 0;

  constructor(limit = MAX_TRIALS) {
    this.#limit = limit;
  }

  /** Signatures that were tried because they were not known. */
  get tried(): number {
    return this.#tried;
  }

  readonly try: TrySignature = (trial, verify) => {
    const id = idOf(trial);
    const known = this.#known.get(id);
    if (known === undefined) this.#tried += 1;
    else this.#known.delete(id);
    const verifies = known ?? verify();
    this.#known.set(id, verifies);
    if (this.#known.size > this.#limit) {
      const [oldest] = this.#known.keys();
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    return verifies;
  };
}

function idOf({ key, hash, signed, signature }: SignatureTrial): string {
  const head = Buffer.from(`${key.fingerprint}\0${hash}\0${signed.length}\0`);
  return oneShotHash('sha256', Buffer.concat([head, signed, signature]), 'binary');
}
