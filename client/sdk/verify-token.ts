import { createHash, timingSafeEqual } from 'node:crypto';

import { decodeProtectedHeader, errors, jwtVerify } from 'jose';

import { EAR_TYPE, REPORT_TYPE, TOKEN_ALGORITHM } from '../../proto/token-profile.ts';
import { readEar } from './ear-claims.ts';
import type { EarClaims } from './ear-claims.ts';
import type { TokenKeySet } from './jwks.ts';
import { fromReportClaims } from './convert-report.ts';
import type { PlatformReport } from './convert-report.ts';
import type { JsonObject } from './resources.ts';
import { parseStrictJson } from './strict-json.ts';
import { claim, integerClaim, textClaim } from './token-claims.ts';
import { TokenRefusal } from './token-refusal.ts';

/** How far the clock of who verifies may be from the service's, seconds. */
export const CLOCK_SKEW = 30;
/** A report lists hosts; a result is about one. */
export const MAX_TOKEN_BYTES = 4 * 1024 * 1024;
const MAX_RESULT_BYTES = 64 * 1024;
const MAX_HEADER_BYTES = 1024;

export interface TokenExpectation {
  readonly keys: TokenKeySet;
  readonly now: Date;
  /** Who verifies. A token for an audience is refused where none is expected, and one without where one is. */
  readonly audience?: string;
  /** The nonce that was given when the token was asked for. */
  readonly nonce?: Uint8Array;
  /** `hosts/{host}` or its id. */
  readonly host?: string;
}

interface CommonClaims {
  readonly keyId: string;
  /** `assay://DEPLOYMENT` */
  readonly issuer: string;
  readonly issued: Date;
  readonly expires: Date;
  readonly id: string;
  readonly audience: string | undefined;
  /** Base64url. */
  readonly nonce: string | undefined;
  /** Everything that the token says, claims that are not known here among it. */
  readonly claims: JsonObject;
}

/** What a token says, after everything about it was checked; only {@link verifyToken} makes one. */
export type VerifiedToken = CommonClaims &
  (({ readonly kind: 'result' } & EarClaims) | { readonly kind: 'report'; readonly report: PlatformReport });

/** Verifies a token of the service offline. Throws {@link TokenRefusal}; nothing of a refused token comes out. */
export async function verifyToken(jwt: string, expected: TokenExpectation): Promise<VerifiedToken> {
  if (jwt.length > MAX_TOKEN_BYTES) throw new TokenRefusal('TOKEN_TOO_LARGE', 'the token is too large');
  const { type, keyId } = readHeader(jwt);
  if (type === EAR_TYPE && jwt.length > MAX_RESULT_BYTES)
    throw new TokenRefusal('TOKEN_TOO_LARGE', 'the token is too large for one about a host');
  const key = expected.keys.get(keyId);
  if (key === undefined) {
    throw new TokenRefusal('TOKEN_KEY_UNKNOWN', `the key set has no key ${JSON.stringify(keyId)}: is it the newest?`);
  }
  try {
    await jwtVerify(jwt, key, {
      algorithms: [TOKEN_ALGORITHM],
      typ: type,
      currentDate: expected.now,
      clockTolerance: CLOCK_SKEW,
      requiredClaims: ['iss', 'sub', 'iat', 'exp', 'jti'],
      ...(expected.audience === undefined ? {} : { audience: expected.audience }),
    });
  } catch (error) {
    throw refusalOf(error);
  }
  const claims = strict(jwt.split('.')[1] ?? '', 'payload');
  const common = readCommon(claims, keyId);
  checkExpected(common, expected);
  if (type === EAR_TYPE) {
    const ear = readEar(claims);
    checkHost(ear.host, expected.host);
    return { kind: 'result', ...common, ...ear };
  }
  if (expected.host !== undefined) throw new TokenRefusal('TOKEN_HOST', 'the token is a report, not about one host');
  return { kind: 'report', ...common, report: fromReportClaims(claims) };
}

/** Says how a token must be checked; nothing in it is believed yet. */
function readHeader(jwt: string): { readonly type: string; readonly keyId: string } {
  const [head = '', ...rest] = jwt.split('.');
  if (rest.length !== 2 || head.length > MAX_HEADER_BYTES || !/^[\w-]*\.[\w-]*\.[\w-]*$/.test(jwt)) {
    throw new TokenRefusal('TOKEN_MALFORMED', 'this is not a signed JSON Web Token in its compact form');
  }
  strict(head, 'header');
  const { alg, typ, kid } = decodeProtectedHeader(jwt);
  if (alg !== TOKEN_ALGORITHM) {
    throw new TokenRefusal(
      'TOKEN_ALGORITHM',
      `the token says ${JSON.stringify(alg)}, only ${TOKEN_ALGORITHM} is taken`,
    );
  }
  if (typ !== EAR_TYPE && typ !== REPORT_TYPE) {
    throw new TokenRefusal('TOKEN_TYPE', `the token is of type ${JSON.stringify(typ)}, which is none of this service`);
  }
  if (typeof kid !== 'string' || kid === '') {
    throw new TokenRefusal('TOKEN_KEY_UNKNOWN', 'the token does not name its key');
  }
  return { type: typ, keyId: kid };
}

function strict(part: string, what: string): JsonObject {
  try {
    return parseStrictJson(Buffer.from(part, 'base64url'));
  } catch (cause) {
    const why = cause instanceof Error ? `: ${cause.message}` : '';
    throw new TokenRefusal('TOKEN_MALFORMED', `the token's ${what} is not strict JSON${why}`, { cause });
  }
}

/** jose's errors, by their stable codes. */
function refusalOf(error: unknown): TokenRefusal {
  const refuse = (code: TokenRefusal['code'], message: string): TokenRefusal =>
    new TokenRefusal(code, message, { cause: error });
  if (error instanceof errors.JWTExpired) return refuse('TOKEN_EXPIRED', 'the token has expired');
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return refuse('TOKEN_SIGNATURE', 'the signature of the token is not one of its key');
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.claim === 'aud') return refuse('TOKEN_AUDIENCE', 'the token is for another audience, or for none');
    return refuse('TOKEN_CLAIM', `the claim ${JSON.stringify(error.claim)} is missing or not as it must be`);
  }
  return refuse('TOKEN_MALFORMED', 'the token is not a signed JSON Web Token');
}

const ISSUER = /^assay:\/\/d-[a-z2-7]{16}$/;

function readCommon(claims: JsonObject, keyId: string): CommonClaims {
  const issuer = textClaim(claims, 'iss');
  if (!ISSUER.test(issuer)) throw claim('iss');
  const issued = integerClaim(claims, 'iat');
  const expires = integerClaim(claims, 'exp');
  if (expires <= issued) throw claim('exp');
  return {
    keyId,
    issuer,
    issued: new Date(issued * 1000),
    expires: new Date(expires * 1000),
    id: textClaim(claims, 'jti'),
    audience: claims['aud'] === undefined ? undefined : textClaim(claims, 'aud'),
    nonce: claims['eat_nonce'] === undefined ? undefined : textClaim(claims, 'eat_nonce'),
    claims,
  };
}

function checkExpected({ issued, audience, nonce }: CommonClaims, expected: TokenExpectation): void {
  if (issued.getTime() > expected.now.getTime() + CLOCK_SKEW * 1000)
    throw new TokenRefusal('TOKEN_FROM_FUTURE', 'the token was issued after the present time: is the clock right?');
  if (audience !== expected.audience)
    throw new TokenRefusal('TOKEN_AUDIENCE', `the token is for the audience ${JSON.stringify(audience ?? '')}`);
  if (expected.nonce === undefined) return;
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  if (nonce === undefined || !timingSafeEqual(digest(nonce), digest(Buffer.from(expected.nonce).toString('base64url'))))
    throw new TokenRefusal('TOKEN_NONCE', 'the token does not carry the nonce that is expected');
}

function checkHost(host: string, expected: string | undefined): void {
  if (expected !== undefined && host !== (expected.includes('/') ? expected : `hosts/${expected}`))
    throw new TokenRefusal('TOKEN_HOST', `the token is about ${host}`);
}
