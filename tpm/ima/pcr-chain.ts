/**
 * How a list extends PCRs. Kernels differ in what they extend into banks other than SHA-1, so a bank is followed in every way that
 * is still possible, until a quoted value tells.
 */
import { hash as oneShotHash } from 'node:crypto';

import type { HashAlgorithm } from '../structures/constants.ts';
import { TPM_ALG_SHA1 } from '../structures/constants.ts';
import type { ImaEntry } from './entry.ts';

/**
 * `bankHash`: the bank's own hash of the template data. `paddedSha1`: the SHA-1 template hash with zeros behind it (kernels that
 * lack the bank's hash at start), violations all ones. `paddedViolations`: the same with violations padded too (kernels up to 5.7).
 */
export type ImaExtendMode = 'bankHash' | 'paddedSha1' | 'paddedViolations';

export const IMA_EXTEND_MODES: readonly ImaExtendMode[] = ['bankHash', 'paddedSha1', 'paddedViolations'];

const SHA1_SIZE = 20;
const VIOLATION = '\u00ff';

/** PCRs 17 to 22 start as all ones: they belong to a dynamic launch (PC Client Platform TPM Profile §3.7). */
export function resetPcr(pcr: number, size: number): Buffer {
  return Buffer.alloc(size, pcr >= 17 && pcr <= 22 ? 0xff : 0);
}

/**
 * One PCR of one bank, followed in one mode. Values are strings of one character a byte: node hashes into such strings several
 * times faster than into buffers.
 */
export class PcrChain {
  readonly bank: HashAlgorithm;
  readonly mode: ImaExtendMode;
  readonly #state: Buffer;
  readonly #violation: string;
  #value: string;

  constructor(bank: HashAlgorithm, mode: ImaExtendMode, value: Buffer) {
    this.bank = bank;
    this.mode = mode;
    this.#state = Buffer.alloc(2 * bank.size);
    value.copy(this.#state);
    this.#value = value.toString('latin1');
    this.#violation = VIOLATION.repeat(mode === 'paddedViolations' ? SHA1_SIZE : bank.size);
  }

  /** The value, one character a byte. */
  get latin1(): string {
    return this.#value;
  }

  get value(): Buffer {
    return Buffer.from(this.#value, 'latin1');
  }

  extendViolation(): void {
    this.extend(this.#violation);
  }

  /** TPM2_PCR_Extend (Part 3 §22.2) with a digest that may be shorter than the bank's: zeros follow it. */
  extend(digest: string): void {
    const { size, node } = this.bank;
    const state = this.#state;
    if (digest.length < size) state.fill(0, size + digest.length);
    state.write(digest, size, 'latin1');
    this.#value = oneShotHash(node, state, 'binary');
    state.write(this.#value, 0, 'latin1');
  }
}

/** Extends the chains of an entry's PCR by it; tells whether the entry's template hash is what its data yields. */
export function extendByEntry(chains: readonly PcrChain[], entry: ImaEntry): boolean {
  if (entry.isViolation) {
    for (const chain of chains) chain.extendViolation();
    return true;
  }
  const input = entry.hashInput;
  const own = entry.layout.hash;
  const ownHash = oneShotHash(own.node, input, 'binary');
  let sha1 = own.alg === TPM_ALG_SHA1 ? ownHash : undefined;
  for (const chain of chains) {
    const alg = chain.mode === 'bankHash' ? chain.bank.alg : TPM_ALG_SHA1;
    if (alg === own.alg) chain.extend(ownHash);
    else if (alg === TPM_ALG_SHA1) chain.extend((sha1 ??= oneShotHash('sha1', input, 'binary')));
    else chain.extend(oneShotHash(chain.bank.node, input, 'binary'));
  }
  return entry.claims(ownHash);
}
