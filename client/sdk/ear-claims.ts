import { isHostId } from '../../proto/certificate-profile.ts';
import { EAR_PROFILE, EAR_SUBMODULE, isBetterThanClaims, isTrustTier } from '../../proto/token-profile.ts';
import type { TrustTier } from '../../proto/token-profile.ts';
import type { JsonObject } from './resources.ts';
import { claim, integerClaim, objectClaim, textClaim } from './token-claims.ts';
import { TokenRefusal } from './token-refusal.ts';

/** What an EAR of the service says of its host. */
export interface EarClaims {
  /** `hosts/{host}` */
  readonly host: string;
  readonly status: TrustTier;
  /** AR4SI code points by claim. */
  readonly vector: Readonly<Record<string, number>>;
  /** Such as `trustPolicies/base@3`. */
  readonly policies: readonly string[];
  /** Name of the AK that signed, hex. */
  readonly akName: string;
  /** SHA-256 (hex); undefined where no evidence is behind the status. */
  readonly evidenceDigest: string | undefined;
  readonly inputDigest: string | undefined;
  /** Reason codes of the checks that did not pass. */
  readonly reasons: readonly string[];
}

/** How much a status promises. */
const PROMISE: Readonly<Record<TrustTier, number>> = { contraindicated: 0, none: 0, warning: 1, affirming: 2 };

/** The claims of AR4SI (draft-ietf-rats-ar4si §2.3.4): their code points are known, and none may be anything else. */
const VECTOR_CLAIMS: ReadonlySet<string> = new Set([
  'instance-identity',
  'configuration',
  'executables',
  'file-system',
  'hardware',
  'runtime-opaque',
  'storage-opaque',
  'sourced-data',
]);

/**
 * Reads the claims of EAR (draft-ietf-rats-ear-04) and those that Assay adds. Others are ignored where they make nothing worse: what
 * is not known never makes a status better. Throws {@link TokenRefusal}.
 */
export function readEar(claims: JsonObject): EarClaims {
  if (textClaim(claims, 'eat_profile') !== EAR_PROFILE)
    throw new TokenRefusal('TOKEN_PROFILE', `the token has another profile than ${EAR_PROFILE}`);
  const host = textClaim(claims, 'sub');
  if (!host.startsWith('hosts/') || !isHostId(host.slice('hosts/'.length))) throw claim('sub');
  const verifier = objectClaim(claims, 'ear_verifier_id');
  for (const name of ['developer', 'build']) textClaim(verifier, name, `ear_verifier_id.${name}`);
  const status = tierClaim(claims, 'ear_status');
  const submodules = objectClaim(claims, 'submods');
  for (const name of Object.keys(submodules)) {
    const worst = readStatus(submodules, name);
    if (worst !== undefined && PROMISE[status] > PROMISE[worst])
      throw tooGood('the overall status is better than that of a submodule');
  }
  const submodule = objectClaim(submodules, EAR_SUBMODULE, `submods.${EAR_SUBMODULE}`);
  const vector = readVector(objectClaim(submodule, 'ear_trustworthiness_vector'));
  const { validUntil, ...appraisal } = readAdditions(submodule);
  if (validUntil !== undefined && integerClaim(claims, 'exp') > validUntil)
    throw new TokenRefusal('TOKEN_CLAIM', 'the token outlives its verdict: exp is later than assay_valid_until');
  // Good news without what it rests on is none.
  if (PROMISE[status] > 0) {
    if (appraisal.policies.length === 0) throw claim('ear_appraisal_policy_ids');
    if (appraisal.evidenceDigest === undefined) throw claim('assay_evidence_digest');
    if (appraisal.inputDigest === undefined) throw claim('assay_appraisal_input_digest');
  }
  return { host, status, vector, ...appraisal };
}

/**
 * The status of a submodule, checked against its vector where it has one. The one of this service always has both; another one without
 * a status is no appraisal.
 */
function readStatus(submodules: JsonObject, name: string): TrustTier | undefined {
  const own = name === EAR_SUBMODULE;
  if (!own && !isAppraisal(submodules[name])) return undefined;
  const appraisal = objectClaim(submodules, name, `submods.${name}`);
  const status = tierClaim(appraisal, 'ear_status');
  if (own || appraisal['ear_trustworthiness_vector'] !== undefined) {
    const vector = readVector(objectClaim(appraisal, 'ear_trustworthiness_vector'));
    const known = Object.entries(vector).filter(([claimed]) => VECTOR_CLAIMS.has(claimed));
    // An affirming status rests on what is known; whatever speaks against it counts.
    if (
      isBetterThanClaims(status, Object.values(vector)) ||
      isBetterThanClaims(
        status,
        known.map(([, value]) => value),
      )
    )
      throw tooGood('the status is better than its worst claim');
  }
  return status;
}

function isAppraisal(submodule: unknown): boolean {
  return typeof submodule === 'object' && submodule !== null && Object.hasOwn(submodule, 'ear_status');
}

/** What a result of this service has besides. */
function readAdditions(
  appraisal: JsonObject,
): Omit<EarClaims, 'host' | 'status' | 'vector'> & { readonly validUntil: number | undefined } {
  const attester = objectClaim(appraisal, 'ear_attester_claims');
  const verifier = objectClaim(appraisal, 'ear_verifier_claims');
  const akName = hexClaim(attester, 'assay_ak_name');
  if (akName === undefined) throw claim('assay_ak_name');
  return {
    policies: textList(appraisal, 'ear_appraisal_policy_ids'),
    akName,
    evidenceDigest: hexClaim(attester, 'assay_evidence_digest'),
    inputDigest: hexClaim(verifier, 'assay_appraisal_input_digest'),
    reasons: textList(verifier, 'assay_reasons'),
    validUntil: verifier['assay_valid_until'] === undefined ? undefined : integerClaim(verifier, 'assay_valid_until'),
  };
}

function readVector(vector: JsonObject): Readonly<Record<string, number>> {
  const entries = Object.entries(vector).flatMap(([name, value]) => {
    if (typeof value === 'number' && Number.isInteger(value) && value >= -128 && value <= 127)
      return [[name, value] as const];
    if (VECTOR_CLAIMS.has(name)) throw claim(`ear_trustworthiness_vector.${name}`);
    return [];
  });
  if (entries.length === 0) throw claim('ear_trustworthiness_vector');
  return Object.fromEntries(entries);
}

function tierClaim(claims: JsonObject, name: string): TrustTier {
  const value = textClaim(claims, name);
  if (!isTrustTier(value)) throw claim(name);
  return value;
}

function hexClaim(claims: JsonObject, name: string): string | undefined {
  if (claims[name] === undefined) return undefined;
  const value = textClaim(claims, name);
  if (!/^(?:[0-9a-f]{2})+$/.test(value)) throw claim(name);
  return value;
}

function textList(claims: JsonObject, name: string): readonly string[] {
  const value = claims[name] ?? [];
  if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) throw claim(name);
  return value;
}

function tooGood(message: string): TokenRefusal {
  return new TokenRefusal('TOKEN_STATUS', message);
}
