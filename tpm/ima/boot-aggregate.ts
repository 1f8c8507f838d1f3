/**
 * boot_aggregate: the first entry of a list, a digest over the PCRs of the boot. It ties the list to the boot log, for the kernel
 * computes it before anything else could extend these PCRs.
 */
import { HASH_ALGORITHMS } from '../structures/constants.ts';
import type { HashAlgorithm } from '../structures/constants.ts';
import { digest, equalDigests } from '../crypto/digest.ts';
import type { PcrValues } from '../crypto/pcr.ts';
import type { ImaEntry } from './entry.ts';
import { placeOf } from './fields.ts';
import type { ImaDigest, ImaMeasurement } from './fields.ts';
import { imaFinding, quoteName } from './findings.ts';
import type { ImaFinding, ImaFindingCode } from './findings.ts';

export const BOOT_AGGREGATE = 'boot_aggregate';

/**
 * The aggregates of one bank: over PCRs 0 to 7 (always with SHA-1, and before Linux 5.8 with all hashes) and over PCRs 0 to 9. One
 * for which values are missing is undefined.
 */
export interface BootAggregateValues {
  readonly pcr0To7: Buffer | undefined;
  readonly pcr0To9: Buffer | undefined;
}

/** By bank (TPM_ALG_ID). */
export type BootAggregateTable = ReadonlyMap<number, BootAggregateValues>;

/** Names of the variants, as people write them. */
const variants = [
  ['PCR0-7', 'pcr0To7'],
  ['PCR0-9', 'pcr0To9'],
] as const;

export type BootAggregateVariant = (typeof variants)[number][0];

/** The aggregates of PCR values, which must be those that the kernel found: after the firmware's log, not what a quote shows later. */
export function bootAggregatesOf(values: PcrValues): BootAggregateTable {
  return new Map(
    [...values].map(([alg, pcrs]) => [alg, { pcr0To7: aggregate(alg, pcrs, 7), pcr0To9: aggregate(alg, pcrs, 9) }]),
  );
}

function aggregate(alg: number, pcrs: ReadonlyMap<number, Buffer>, last: number): Buffer | undefined {
  const parts = Array.from({ length: last + 1 }, (_, pcr) => pcrs.get(pcr)).filter((value) => value !== undefined);
  return parts.length === last + 1 ? digest(alg, Buffer.concat(parts)) : undefined;
}

/** Which boot the first kernel of a list saw. */
export type BootAggregateCheck =
  | { readonly kind: 'matched'; readonly algorithm: string; readonly variant: BootAggregateVariant }
  | { readonly kind: 'unmatched'; readonly finding: ImaFinding };

/** Is this entry a boot_aggregate? Measured as critical data under the same name it is not. */
export function isBootAggregate(measurement: ImaMeasurement): boolean {
  return measurement.name === BOOT_AGGREGATE && (measurement.buffer?.length ?? 0) === 0;
}

/** The aggregate that an entry holds against those of this boot. */
export function checkBootAggregate(
  entry: Pick<ImaEntry, 'index' | 'offset'>,
  held: Pick<ImaDigest, 'algorithm' | 'hash' | 'value'>,
  table: BootAggregateTable,
): BootAggregateCheck {
  const fail = (code: ImaFindingCode, message: string): BootAggregateCheck => ({
    kind: 'unmatched',
    finding: imaFinding(code, placeOf(entry), message),
  });
  if (held.value.every((byte) => byte === 0)) {
    return fail('IMA_BOOT_AGGREGATE_EMPTY', 'boot_aggregate is all zeros: the kernel found no TPM when it started');
  }
  const bank = bankOf(held.hash);
  const values = bank === undefined ? undefined : table.get(bank.alg);
  if (bank === undefined || values === undefined) {
    const message = `boot_aggregate is of ${quoteName(held.algorithm)}, and no values of such a bank are here`;
    return fail('IMA_BOOT_AGGREGATE_UNCHECKED', message);
  }
  for (const [variant, key] of variants) {
    const value = values[key];
    if (value !== undefined && equalDigests(value, held.value))
      return { kind: 'matched', algorithm: bank.name, variant };
  }
  return variants.every(([, key]) => values[key] !== undefined)
    ? fail('IMA_BOOT_AGGREGATE_MISMATCH', `boot_aggregate is no digest over the ${bank.name} pcrs of this boot`)
    : fail('IMA_BOOT_AGGREGATE_UNCHECKED', `boot_aggregate needs the ${bank.name} pcrs 0 to 9`);
}

/** The bank of a hash: TPMs and kernels name some of them differently, such as `sm3_256` and `sm3`. */
function bankOf(hash: ImaDigest['hash']): HashAlgorithm | undefined {
  return [...HASH_ALGORITHMS.values()].find(({ node }) => node === hash?.node);
}

/** What an entry says about boots by where it stands: the first must be the aggregate, and no other may be. */
export function checkBootPlace(entry: ImaEntry, measurement: ImaMeasurement | undefined): ImaFinding | undefined {
  const aggregate = measurement !== undefined && isBootAggregate(measurement);
  if (entry.index === 0 && !aggregate) {
    return imaFinding('IMA_BOOT_AGGREGATE_MISSING', placeOf(entry), 'the first entry is no boot_aggregate');
  }
  if (entry.index > 0 && aggregate) {
    const message = `entry ${entry.index} is another boot_aggregate: a second kernel was started, which the boot log does not cover`;
    return imaFinding('IMA_BOOT_AGGREGATE_REPEATED', placeOf(entry), message);
  }
  return undefined;
}
