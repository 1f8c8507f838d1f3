/** PCR arithmetic (Part 1 §17) and the proof of PCR values by a quote. */
import { selectedBanks } from '../structures/pcr-selection.ts';
import type { PcrBankSelection, TPML_PCR_SELECTION } from '../structures/pcr-selection.ts';
import { algorithmName } from '../structures/constants.ts';
import type { TPMS_QUOTE_INFO } from '../structures/attest.ts';
import { TpmCryptoError } from './crypto-error.ts';
import { digest, digestSize, equalDigests } from './digest.ts';

/** PCR values by bank (TPM_ALG_ID), then by index. */
export type PcrValues = ReadonlyMap<number, ReadonlyMap<number, Buffer>>;

declare const proven: unique symbol;

/** PCR values whose digest a quote holds. Only {@link provePcrValues} makes them; they are those of the selection, no more. */
export type ProvenPcrValues = PcrValues & { readonly [proven]: true };

/** TPM2_PCR_Extend (Part 3 §22.2): H(value ‖ data). Both are digests of the bank's hash. */
export function extendPcr(hashAlg: number, value: Buffer, data: Buffer): Buffer {
  const size = digestSize(hashAlg);
  if (value.length !== size || data.length !== size) {
    throw new TpmCryptoError('PCR_VALUE_SIZE', `${algorithmName(hashAlg)} extends ${size} bytes by ${size} bytes`);
  }
  return digest(hashAlg, value, data);
}

/**
 * pcrDigest (Part 1 §17): the hash over all selected values, banks in the order of the list and PCRs ascending within a bank.
 * The hash is that of the *signing* scheme, whatever the banks are.
 */
export function pcrDigest(selection: TPML_PCR_SELECTION, values: PcrValues, signingHash: number): Buffer {
  return digestOfBanks(selectedBanks(selection), values, signingHash);
}

function digestOfBanks(banks: readonly PcrBankSelection[], values: PcrValues, signingHash: number): Buffer {
  const parts: Buffer[] = [];
  for (const { hash, pcrs } of banks) {
    const size = digestSize(hash);
    const bank = values.get(hash);
    for (const pcr of pcrs) {
      const value = bank?.get(pcr);
      if (value === undefined) {
        throw new TpmCryptoError('PCR_VALUE_MISSING', `no value for ${algorithmName(hash)} pcr ${pcr}`);
      }
      if (value.length !== size) {
        throw new TpmCryptoError('PCR_VALUE_SIZE', `${algorithmName(hash)} pcr ${pcr} has ${value.length} bytes`);
      }
      parts.push(value);
    }
  }
  return digest(signingHash, Buffer.concat(parts));
}

/**
 * The values, proven by the quote's pcrDigest. A value that the quote does not cover is refused, so that nothing unproven
 * travels on under the proof. The quote itself must have been verified before.
 */
export function provePcrValues(quoted: TPMS_QUOTE_INFO, values: PcrValues, signingHash: number): ProvenPcrValues {
  const banks = selectedBanks(quoted.pcrSelect);
  for (const [at, { hash }] of banks.entries()) {
    if (banks.findIndex((bank) => bank.hash === hash) < at) {
      throw new TpmCryptoError('PCR_BANK_DUPLICATE', `${algorithmName(hash)} is selected twice`);
    }
  }
  for (const [hash, bank] of values) {
    const selected = banks.find((each) => each.hash === hash);
    for (const pcr of bank.keys()) {
      if (selected?.pcrs.includes(pcr) !== true) {
        throw new TpmCryptoError('PCR_VALUE_UNSELECTED', `${algorithmName(hash)} pcr ${pcr} is not in the quote`);
      }
    }
  }
  if (!equalDigests(digestOfBanks(banks, values, signingHash), quoted.pcrDigest)) {
    throw new TpmCryptoError('PCR_DIGEST_MISMATCH', 'pcr values do not make the quoted digest');
  }
  return values as ProvenPcrValues;
}

/** The same proven values in a buffer of their own. */
export function ownPcrValues(values: ProvenPcrValues): ProvenPcrValues {
  const buffers = [...values.values()].flatMap((indexed) => [...indexed.values()]);
  // Not from the pool, whose other slices would hold these and be held by them.
  const all = Buffer.alloc(buffers.reduce((size, { length }) => size + length, 0));
  let end = 0;
  const own = (value: Buffer): Buffer => {
    const start = end;
    end += value.copy(all, start);
    return all.subarray(start, end);
  };
  const banks = [...values].map(
    ([bank, indexed]) => [bank, new Map([...indexed].map(([index, value]) => [index, own(value)]))] as const,
  );
  return new Map(banks) as PcrValues as ProvenPcrValues;
}
