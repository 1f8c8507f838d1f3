/**
 * What whoever signs a token and whoever verifies it must agree on (docs/tokens.md): types, profiles, claim names of EAR
 * (draft-ietf-rats-ear-04), and the rule that no status is better than the worst claim behind it.
 */

/** The one signature algorithm (RFC 7518 §3.4): ECDSA over P-256 with SHA-256. */
export const TOKEN_ALGORITHM = 'ES256';

/** "typ" of an attestation result (RFC 9782) and its profile. */
export const EAR_TYPE = 'eat+jwt';
export const EAR_PROFILE = 'tag:ietf.org,2026:rats/ear#04';
/** Label of the one submodule: a host, appraised by the evidence of its TPM 2.0. */
export const EAR_SUBMODULE = 'tpm20-host';

/** "typ" and profile of a platform report: no reader of one kind takes the other. */
export const REPORT_TYPE = 'assay-report+jwt';
export const REPORT_PROFILE = 'assay.v1.PlatformReport';

/** Bytes of a relying party's nonce (EAT, RFC 9711 §4.1). */
export const NONCE_BYTES = { min: 8, max: 64 } as const;
/** Longest audience, bytes of UTF-8. */
export const MAX_AUDIENCE_BYTES = 256;

/** AR4SI trustworthiness tiers, with how far a claim of that tier pulls the status down. */
const TIERS = { none: 0, affirming: 0, warning: 1, contraindicated: 2 } as const;
export type TrustTier = keyof typeof TIERS;

export function isTrustTier(value: unknown): value is TrustTier {
  return typeof value === 'string' && Object.hasOwn(TIERS, value);
}

/** The tier of a claim's code point, a signed 8-bit integer (AR4SI §2.3.2). Throws RangeError for any other number. */
export function tierOfClaim(value: number): TrustTier {
  if (!Number.isInteger(value) || value < -128 || value > 127)
    throw new RangeError('a claim is a signed 8-bit integer');
  if (value >= -1 && value <= 1) return 'none';
  if (value >= -32 && value <= 31) return 'affirming';
  return value >= -96 && value <= 95 ? 'warning' : 'contraindicated';
}

/**
 * Whether a status promises more than the claims behind it: affirming above a warning, a warning above a contraindication,
 * affirming where no claim affirms. `none` promises nothing.
 */
export function isBetterThanClaims(status: TrustTier, claims: readonly number[]): boolean {
  if (status === 'none') return false;
  const tiers = claims.map(tierOfClaim);
  if (status === 'affirming' && !tiers.includes('affirming')) return true;
  return tiers.some((tier) => TIERS[tier] > TIERS[status]);
}
