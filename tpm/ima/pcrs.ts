/** The PCR values that a whole list yields, for tools: without a quote to meet, nothing says which of them the TPM has. */
import type { HashAlgorithm } from '../structures/constants.ts';
import { TPM_ALG_SHA1 } from '../structures/constants.ts';
import type { ImaEntry } from './entry.ts';
import { IMA_EXTEND_MODES, PcrChain, extendByEntry, resetPcr } from './pcr-chain.ts';
import type { ImaExtendMode } from './pcr-chain.ts';

/** A value and the mode that leads to it. */
export interface ImaPcrValue {
  readonly bank: HashAlgorithm;
  readonly pcr: number;
  readonly mode: ImaExtendMode;
  readonly value: Buffer;
}

/** Extends all banks in all modes by one entry after the other. */
export class ImaPcrs {
  readonly #banks: readonly HashAlgorithm[];
  readonly #chains = new Map<number, readonly PcrChain[]>();

  constructor(banks: readonly HashAlgorithm[]) {
    this.#banks = banks;
  }

  /** Tells whether the entry's template hash is what its data yields. */
  extend(entry: ImaEntry): boolean {
    let chains = this.#chains.get(entry.pcr);
    if (chains === undefined) {
      chains = this.#banks.flatMap((bank) =>
        modesOf(bank).map((mode) => new PcrChain(bank, mode, resetPcr(entry.pcr, bank.size))),
      );
      this.#chains.set(entry.pcr, chains);
    }
    return extendByEntry(chains, entry);
  }

  /** Every value so far, PCRs ascending. */
  values(): readonly ImaPcrValue[] {
    return [...this.#chains]
      .toSorted(([a], [b]) => a - b)
      .flatMap(([pcr, chains]) => chains.map(({ bank, mode, value }) => ({ bank, pcr, mode, value })));
  }
}

function modesOf(bank: HashAlgorithm): readonly ImaExtendMode[] {
  return bank.alg === TPM_ALG_SHA1 ? IMA_EXTEND_MODES.slice(0, 1) : IMA_EXTEND_MODES;
}
