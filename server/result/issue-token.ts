import { SignJWT } from 'jose';

import {
  EAR_PROFILE,
  EAR_SUBMODULE,
  EAR_TYPE,
  isBetterThanClaims,
  REPORT_PROFILE,
  REPORT_TYPE,
  TOKEN_ALGORITHM,
} from '../../proto/token-profile.ts';
import type { TokenKey, TokenKeys } from '../identity/token-keys.ts';
import { MAX_CLOCK_BEHIND } from '../store/clock.ts';
import { isExpired } from '../store/own-verdicts.ts';
import type { ResultRecord } from '../store/records.ts';

/** How long a token says that nothing is known of a host, or nothing good: the next round may end that. Milliseconds. */
const NEGATIVE_LIFETIME = 60_000;
/** How long a report lives at the least, though a verdict that it counts ends before: of many hosts one always ends soon. Milliseconds. */
const MIN_REPORT_LIFETIME = 60_000;
const JTI_BYTES = 16;

export type TokenErrorCode = 'RESULT_LAPSED' | 'CLOCK_BEHIND';

/** There is nothing to sign. */
export class TokenError extends Error {
  override readonly name = 'TokenError';
  readonly code: TokenErrorCode;

  constructor(code: TokenErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** For whom a token is; '' and empty for whoever it may be. */
export interface TokenDemand {
  readonly audience: string;
  readonly nonce: Buffer;
}

export interface SignedToken {
  readonly jwt: string;
  /** Milliseconds. */
  readonly expires: number;
}

interface Signing {
  readonly signer: TokenKey;
  readonly demand: TokenDemand;
}

export interface TokenIssuerOptions {
  readonly keys: Pick<TokenKeys, 'signer'>;
  readonly deployment: string;
  /** Version of the service. */
  readonly version: string;
  /** Milliseconds. */
  readonly maxLifetime: number;
  /** The store's clock, milliseconds. */
  readonly now: () => number;
  /** How far the wall clock is behind it, milliseconds. */
  readonly clockBehind: () => number;
  readonly random: (size: number) => Buffer;
}

/** Signs results and reports as tokens (docs/tokens.md). */
export class TokenIssuer {
  readonly #options: TokenIssuerOptions;

  constructor(options: TokenIssuerOptions) {
    this.#options = options;
  }

  /** An EAR of one host, which never outlives its result. Throws {@link TokenError} RESULT_LAPSED. */
  async issueResult(result: ResultRecord, demand: TokenDemand): Promise<SignedToken> {
    const [token = null] = await this.issueResults([result], demand);
    if (token === null) throw lapsed();
    return token;
  }

  /** The same of several hosts, by one key; null in the place of a result whose validity has ended. */
  async issueResults(results: readonly ResultRecord[], demand: TokenDemand): Promise<readonly (SignedToken | null)[]> {
    if (results.length === 0) return [];
    this.#needClock();
    const signer = await this.#options.keys.signer();
    return Promise.all(results.map((result) => this.#signResult(result, { signer, demand })));
  }

  /**
   * A platform report, given as JSON of its protobuf message. It ends with the first of the verdicts that it counts, or a minute from
   * now where that is later.
   */
  async issueReport(
    report: { readonly body: object; readonly earliestValidUntil: number | null },
    demand: TokenDemand,
  ): Promise<SignedToken> {
    const { keys, maxLifetime, now } = this.#options;
    this.#needClock();
    const time = now();
    const claims = { sub: 'platform', assay_profile: REPORT_PROFILE, assay_report: report.body };
    const counted = Math.max(report.earliestValidUntil ?? Number.POSITIVE_INFINITY, time + MIN_REPORT_LIFETIME);
    const signed = { type: REPORT_TYPE, time, expires: Math.min(time + maxLifetime, counted) };
    const token = await this.#sign(claims, signed, { signer: await keys.signer(), demand });
    if (token === null) throw lapsed();
    return token;
  }

  /** By the clocks of everybody else, what is signed in the future would hold until then and longer. */
  #needClock(): void {
    if (this.#options.clockBehind() > MAX_CLOCK_BEHIND)
      throw new TokenError(
        'CLOCK_BEHIND',
        'the wall clock of the service is too far behind to sign until when anything holds',
      );
  }

  async #signResult(result: ResultRecord, signing: Signing): Promise<SignedToken | null> {
    const { maxLifetime, now, version } = this.#options;
    const time = now();
    if (isExpired(result, time) || result.checks.some(({ reason }) => reason === 'RESULT_EXPIRED')) return null;
    const known = result.status === 'affirming' || result.status === 'warning';
    const lifetime = known ? maxLifetime : Math.min(maxLifetime, NEGATIVE_LIFETIME);
    const expires = Math.min(time + lifetime, result.validUntil ?? Number.POSITIVE_INFINITY);
    const claims = {
      sub: `hosts/${result.hostId}`,
      eat_profile: EAR_PROFILE,
      ear_status: result.status,
      ear_verifier_id: { developer: 'assay', build: `assayd ${version}` },
      submods: { [EAR_SUBMODULE]: appraisalOf(result) },
    };
    return this.#sign(claims, { type: EAR_TYPE, time, expires }, signing);
  }

  /** Null where nothing of its life is left. */
  async #sign(
    claims: Readonly<Record<string, unknown>>,
    token: { readonly type: string; readonly time: number; readonly expires: number },
    { signer, demand }: Signing,
  ): Promise<SignedToken | null> {
    const { deployment, random } = this.#options;
    const { audience, nonce } = demand;
    const issued = Math.floor(token.time / 1000);
    const expires = Math.floor(token.expires / 1000);
    // Whole seconds: of a result with less than one left nothing can be signed.
    if (expires <= issued) return null;
    const payload = {
      iss: `assay://${deployment}`,
      ...claims,
      ...(audience === '' ? {} : { aud: audience }),
      ...(nonce.length === 0 ? {} : { eat_nonce: nonce.toString('base64url') }),
      iat: issued,
      exp: expires,
      jti: random(JTI_BYTES).toString('base64url'),
    };
    const header = { alg: TOKEN_ALGORITHM, typ: token.type, kid: signer.keyId };
    const jwt = await new SignJWT(payload).setProtectedHeader(header).sign(signer.privateKey);
    return { jwt, expires: expires * 1000 };
  }
}

/** The submodule: what EAR and AR4SI name first, then what Assay adds, under names of its own. */
function appraisalOf(result: ResultRecord): object {
  const { status, vector } = result;
  if (isBetterThanClaims(status, Object.values(vector) as number[])) {
    throw new TypeError('the status of a result is better than its claims');
  }
  return {
    ear_status: status,
    ear_trustworthiness_vector: {
      'instance-identity': vector.instanceIdentity,
      configuration: vector.configuration,
      executables: vector.executables,
      hardware: vector.hardware,
    },
    ...(result.policyId === ''
      ? {}
      : { ear_appraisal_policy_ids: [`trustPolicies/${result.policyId}@${result.policyVersion}`] }),
    ear_attester_claims: {
      assay_ak_name: result.akName,
      ...(result.evidenceDigest === '' ? {} : { assay_evidence_digest: result.evidenceDigest }),
      assay_reset_count: result.resetCount,
      assay_restart_count: result.restartCount,
    },
    ear_verifier_claims: {
      assay_revision: result.revision,
      ...(result.inputDigest === '' ? {} : { assay_appraisal_input_digest: result.inputDigest }),
      ...(result.challengeTime === 0 ? {} : { assay_challenge_time: Math.floor(result.challengeTime / 1000) }),
      ...(result.validUntil === null ? {} : { assay_valid_until: Math.floor(result.validUntil / 1000) }),
      ...(result.nodeName === '' ? {} : { assay_node_name: result.nodeName }),
      assay_reasons: [
        ...new Set(result.checks.filter(({ outcome }) => outcome !== 'passed').map(({ reason }) => reason)),
      ],
    },
  };
}

function lapsed(): TokenError {
  return new TokenError('RESULT_LAPSED', 'the validity of the verdict has ended, and a token must not outlive it');
}
