import { tierOfClaim } from '../../proto/token-profile.ts';
import type { TrustStatus, VectorRecord } from '../store/records.ts';

/** AR4SI code points; negative ones are the verifier's own within the tier. */
export const RECOGNISED = 2;
export const RECOGNISED_BY_OPERATOR = -2;
export const UNENDORSED = -33;
export const REPLACED = -34;
export const UNTRUSTWORTHY = 96;
export const APPROVED = 2;
export const APPROVED_AT_BOOT = 3;
/** At boot and since. */
export const APPROVED_SINCE_BOOT = 2;
/** Since the boot, where no rule asked what booted. */
export const APPROVED_AT_RUN_TIME = -3;
export const NOT_APPROVED = 32;
export const UNRECOGNISED_AT_RUN_TIME = 33;
export const ELEMENTS_MISSING = 36;
export const CONTRAINDICATED = 96;

/** Collects the vector: the worst statement about a claim stands (AR4SI §2.3). */
export class Claims {
  readonly #values = new Map<keyof VectorRecord, number>();

  raise(claim: keyof VectorRecord, value: number): void {
    if (!this.#values.has(claim)) this.#values.set(claim, value);
  }

  /** A better statement of the same tier takes the place of an affirming one, and of none. */
  improve(claim: keyof VectorRecord, value: number): void {
    const tier = tierOfClaim(this.#values.get(claim) ?? 0);
    if (tier === 'none' || tier === 'affirming') this.#values.set(claim, value);
  }

  lower(claim: keyof VectorRecord, value: number): void {
    const present = this.#values.get(claim) ?? 0;
    if (TIER_RANK[tierOfClaim(value)] >= TIER_RANK[tierOfClaim(present)]) this.#values.set(claim, value);
  }

  vector(): VectorRecord {
    const value = (claim: keyof VectorRecord): number => this.#values.get(claim) ?? 0;
    return {
      instanceIdentity: value('instanceIdentity'),
      configuration: value('configuration'),
      executables: value('executables'),
      hardware: value('hardware'),
    };
  }
}

const TIER_RANK: Readonly<Record<TrustStatus, number>> = { none: 0, affirming: 1, warning: 2, contraindicated: 3 };
