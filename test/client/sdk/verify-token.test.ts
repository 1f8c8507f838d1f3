import { createHmac, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { parseJwks } from '../../../client/sdk/jwks.ts';
import { TokenRefusal } from '../../../client/sdk/token-refusal.ts';
import { MAX_TOKEN_BYTES, verifyToken } from '../../../client/sdk/verify-token.ts';
import type { TokenExpectation, VerifiedToken } from '../../../client/sdk/verify-token.ts';
import {
  appraisal,
  earClaims,
  keySet,
  makeSigner,
  makeToken,
  reportClaims,
  TOKEN_HOST,
  TOKEN_TIME,
} from '../../support/tokens.ts';
import type { Json } from '../../support/tokens.ts';

const signer = makeSigner();
const keys = await parseJwks(keySet(signer));
const REPORT_HEADER = { alg: 'ES256', typ: 'assay-report+jwt', kid: signer.keyId };
const NONCE = Buffer.alloc(16, 7);

function verify(jwt: string, expected: Partial<TokenExpectation> = {}): Promise<VerifiedToken> {
  return verifyToken(jwt, { keys, now: TOKEN_TIME, ...expected });
}

async function refusal(jwt: string, expected?: Partial<TokenExpectation>): Promise<string> {
  const error = await verify(jwt, expected).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(TokenRefusal);
  return (error as TokenRefusal).code;
}

const submods = (change: Json, others: Json = {}): Json => ({
  submods: { 'tpm20-host': appraisal(change), ...others },
});
/** A submodule whose verdict holds until then. */
const lasting = (until: unknown): Json => ({
  ear_verifier_claims: { assay_appraisal_input_digest: '33'.repeat(32), assay_valid_until: until },
});
const vector = (change: Json): Json => ({ 'instance-identity': 2, executables: 3, ...change });
/** The claims as text with a piece of it exchanged, as no JSON writer would have it. */
const rewritten = (from: string, to: string): string => {
  const text = JSON.stringify(earClaims());
  expect(text).toContain(from);
  return text.replace(from, to);
};
const seconds = TOKEN_TIME.getTime() / 1000;

describe('a token that holds', () => {
  it('says what was signed about the host', async () => {
    const token = await verify(makeToken(signer, earClaims()));
    expect(token).toMatchObject({
      kind: 'result',
      host: `hosts/${TOKEN_HOST}`,
      status: 'affirming',
      vector: { executables: 3 },
      policies: ['trustPolicies/base@3'],
      issuer: 'assay://d-aaaaaaaaaaaaaaaa',
      keyId: signer.keyId,
      expires: new Date('2026-11-25T12:04:00Z'),
    });
  });

  it('is for the audience, nonce and host that were asked for', async () => {
    const jwt = makeToken(signer, earClaims({ aud: 'https://rp.example', eat_nonce: NONCE.toString('base64url') }));
    const expected = { audience: 'https://rp.example', nonce: NONCE, host: TOKEN_HOST };
    expect(await verify(jwt, expected)).toMatchObject({ audience: 'https://rp.example' });
    expect(await verify(jwt, { ...expected, host: `hosts/${TOKEN_HOST}` })).toMatchObject({ kind: 'result' });
  });

  it('may have claims that nobody knows, in every place', async () => {
    const claims = earClaims({
      new_claim: { deep: [1] },
      ...submods({ new_claim: 1, ear_trustworthiness_vector: vector({ 'new-claim': 2 }) }),
    });
    expect(await verify(makeToken(signer, claims))).toMatchObject({ status: 'affirming', vector: { 'new-claim': 2 } });
  });

  it('may say that nothing is known, with no evidence and no policy behind it', async () => {
    const nothing = appraisal({
      ear_status: 'none',
      ear_trustworthiness_vector: { 'instance-identity': 0 },
      ear_appraisal_policy_ids: undefined,
      ear_attester_claims: { assay_ak_name: '000b' },
      ear_verifier_claims: { assay_reasons: ['AWAITING_EVIDENCE'] },
    });
    const claims = earClaims({ ear_status: 'none', submods: { 'tpm20-host': nothing } });
    expect(await verify(makeToken(signer, claims))).toMatchObject({ status: 'none', reasons: ['AWAITING_EVIDENCE'] });
  });

  it('may have expired within the skew of clocks', async () => {
    expect(await verify(makeToken(signer, earClaims({ exp: seconds - 29 })))).toMatchObject({ kind: 'result' });
    expect(await verify(makeToken(signer, earClaims({ iat: seconds + 29 })))).toMatchObject({ kind: 'result' });
  });

  it('may be a report of the platform', async () => {
    const token = await verify(makeToken(signer, reportClaims(), REPORT_HEADER));
    expect(token).toMatchObject({
      kind: 'report',
      report: { hostCount: 3n, hosts: { affirming: 2n, contraindicated: 1n }, exceptionCount: 1n },
    });
  });
});

interface Refusal {
  readonly name: string;
  readonly code: string;
  readonly jwt: () => string;
  readonly expected?: Partial<TokenExpectation>;
}

function claims(name: string, code: string, change: Json, expected: Partial<TokenExpectation> = {}): Refusal {
  return { name, code, jwt: () => makeToken(signer, earClaims(change)), expected };
}

function header(name: string, code: string, change: Json): Refusal {
  const made = { alg: 'ES256', typ: 'eat+jwt', kid: signer.keyId, ...change };
  return { name, code, jwt: () => makeToken(signer, earClaims(), made) };
}

function report(name: string, code: string, change: Json, body: Json = {}): Refusal {
  return { name, code, jwt: () => makeToken(signer, reportClaims(change, body), REPORT_HEADER) };
}

/** Signs by HMAC with what everybody knows, the public key. */
function withPublicKeyAsSecret(secret: string | Buffer): string {
  const parts = [{ alg: 'HS256', typ: 'eat+jwt', kid: signer.keyId }, earClaims()];
  const signed = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${signed}.${createHmac('sha256', secret).update(signed).digest('base64url')}`;
}

const publicPem = createPublicKey(signer.privateKey).export({ type: 'spki', format: 'pem' }).toString();
const other = makeSigner();

const REFUSALS: readonly Refusal[] = [
  claims('another host', 'TOKEN_HOST', {}, { host: `h-${'b'.repeat(26)}` }),
  claims('another audience', 'TOKEN_AUDIENCE', { aud: 'https://other.example' }, { audience: 'https://rp.example' }),
  claims('no audience where one is expected', 'TOKEN_AUDIENCE', {}, { audience: 'https://rp.example' }),
  claims('an audience where none is expected', 'TOKEN_AUDIENCE', { aud: 'https://rp.example' }),
  claims(
    'a list of audiences, which the service never writes',
    'TOKEN_CLAIM',
    { aud: ['https://rp.example', 'https://other.example'] },
    { audience: 'https://rp.example' },
  ),
  claims('another nonce', 'TOKEN_NONCE', { eat_nonce: Buffer.alloc(16, 8).toString('base64url') }, { nonce: NONCE }),
  claims('no nonce where one is expected', 'TOKEN_NONCE', {}, { nonce: NONCE }),
  claims('a time past exp', 'TOKEN_EXPIRED', { exp: seconds - 31 }),
  claims('an issue in the future', 'TOKEN_FROM_FUTURE', { iat: seconds + 31 }),
  claims('an end before its beginning', 'TOKEN_CLAIM', { exp: seconds - 10, iat: seconds }),
  claims('a fraction of a second', 'TOKEN_CLAIM', { iat: seconds - 0.5 }),
  claims('a time as text', 'TOKEN_CLAIM', { exp: String(seconds + 60) }),
  claims('another profile', 'TOKEN_PROFILE', { eat_profile: 'tag:github.com,2023:veraison/ear' }),
  claims('no profile', 'TOKEN_CLAIM', { eat_profile: undefined }),
  ...['iss', 'sub', 'iat', 'exp', 'jti', 'ear_status', 'ear_verifier_id', 'submods'].map((name) =>
    claims(`no ${name}`, 'TOKEN_CLAIM', { [name]: undefined }),
  ),
  claims('an issuer that is none', 'TOKEN_CLAIM', { iss: 'https://assay.example' }),
  claims('a subject that is no host', 'TOKEN_CLAIM', { sub: 'hosts/somebody' }),
  claims('a status that is none', 'TOKEN_CLAIM', { ear_status: 'trusted' }),
  claims('a status that is a name of every object', 'TOKEN_CLAIM', { ear_status: 'constructor' }),
  claims('no submodule of a host', 'TOKEN_CLAIM', { submods: {} }),
  claims('no vector', 'TOKEN_CLAIM', submods({ ear_trustworthiness_vector: undefined })),
  claims('an empty vector', 'TOKEN_CLAIM', submods({ ear_trustworthiness_vector: {} })),
  claims('a claim beyond 8 bits', 'TOKEN_CLAIM', submods({ ear_trustworthiness_vector: vector({ hardware: 128 }) })),
  claims('no name of the AK', 'TOKEN_CLAIM', submods({ ear_attester_claims: { assay_evidence_digest: '22' } })),
  claims('affirming without evidence', 'TOKEN_CLAIM', submods({ ear_attester_claims: { assay_ak_name: '000b' } })),
  claims('affirming without input', 'TOKEN_CLAIM', submods({ ear_verifier_claims: {} })),
  claims('affirming without a policy', 'TOKEN_CLAIM', submods({ ear_appraisal_policy_ids: [] })),
  claims(
    'affirming with a claim that contraindicates',
    'TOKEN_STATUS',
    submods({ ear_trustworthiness_vector: vector({ hardware: 96 }) }),
  ),
  claims(
    'affirming with a warning of a claim that nobody knows',
    'TOKEN_STATUS',
    submods({ ear_trustworthiness_vector: vector({ 'new-claim': -33 }) }),
  ),
  claims(
    'affirming without a claim that affirms',
    'TOKEN_STATUS',
    submods({ ear_trustworthiness_vector: { hardware: 1 } }),
  ),
  claims(
    'affirming by nothing but a claim that nobody knows',
    'TOKEN_STATUS',
    submods({ ear_trustworthiness_vector: { hardware: 1, 'new-claim': 2 } }),
  ),
  claims('no claim but one that nobody reads', 'TOKEN_CLAIM', submods({ ear_trustworthiness_vector: { new: 'fine' } })),
  claims('a claim that is text', 'TOKEN_CLAIM', submods({ ear_trustworthiness_vector: vector({ hardware: '2' }) })),
  claims('a life beyond that of its verdict', 'TOKEN_CLAIM', submods(lasting(seconds + 239))),
  claims('a verdict without a time', 'TOKEN_CLAIM', submods(lasting('2026-11-25T12:00:00Z'))),
  claims(
    'better than another submodule without a vector',
    'TOKEN_STATUS',
    submods({}, { other: { ear_status: 'warning' } }),
  ),
  claims('another submodule with a status that is none', 'TOKEN_CLAIM', submods({}, { other: { ear_status: 'good' } })),
  claims(
    'another submodule that is better than its claims',
    'TOKEN_STATUS',
    submods({}, { other: { ear_status: 'affirming', ear_trustworthiness_vector: { hardware: 96 } } }),
  ),
  claims('better than its submodule', 'TOKEN_STATUS', submods({ ear_status: 'warning' })),
  claims('better than a submodule of which nothing is known', 'TOKEN_STATUS', submods({ ear_status: 'none' })),
  claims(
    'better than another submodule',
    'TOKEN_STATUS',
    submods({}, { other: { ear_status: 'contraindicated', ear_trustworthiness_vector: { hardware: 96 } } }),
  ),
  header('alg none', 'TOKEN_ALGORITHM', { alg: 'none' }),
  header('another algorithm', 'TOKEN_ALGORITHM', { alg: 'ES384' }),
  header('no algorithm', 'TOKEN_ALGORITHM', { alg: undefined }),
  header('a type of something else', 'TOKEN_TYPE', { typ: 'JWT' }),
  header('no type', 'TOKEN_TYPE', { typ: undefined }),
  header('no key id', 'TOKEN_KEY_UNKNOWN', { kid: undefined }),
  header('a key id that the set lacks', 'TOKEN_KEY_UNKNOWN', { kid: other.keyId }),
  header('an extension that must be understood', 'TOKEN_MALFORMED', { crit: ['exp'], exp: 1 }),
  header('a report, by its type alone', 'TOKEN_CLAIM', { typ: 'assay-report+jwt' }),
  {
    name: 'alg none without a signature',
    code: 'TOKEN_ALGORITHM',
    jwt: () => makeToken(signer, earClaims(), { alg: 'none', typ: 'eat+jwt', kid: signer.keyId }).replace(/[^.]+$/, ''),
  },
  { name: 'HS256 with the public key in PEM', code: 'TOKEN_ALGORITHM', jwt: () => withPublicKeyAsSecret(publicPem) },
  {
    name: 'HS256 with the public key as JWK',
    code: 'TOKEN_ALGORITHM',
    jwt: () => withPublicKeyAsSecret(JSON.stringify(signer.jwk)),
  },
  {
    name: 'another key under the id of the good one',
    code: 'TOKEN_SIGNATURE',
    jwt: () => makeToken({ ...other, keyId: signer.keyId }, earClaims()),
  },
  {
    name: 'a key that the token brings along',
    code: 'TOKEN_SIGNATURE',
    jwt: () => makeToken(other, earClaims(), { alg: 'ES256', typ: 'eat+jwt', kid: signer.keyId, jwk: other.jwk }),
  },
  {
    name: 'another payload under the signature',
    code: 'TOKEN_SIGNATURE',
    jwt: () => {
      const [head, , signature] = makeToken(signer, earClaims()).split('.');
      const [, payload] = makeToken(signer, earClaims({ sub: `hosts/h-${'b'.repeat(26)}` })).split('.');
      return `${head}.${payload}.${signature}`;
    },
  },
  {
    name: 'no signature',
    code: 'TOKEN_SIGNATURE',
    jwt: () => makeToken(signer, earClaims()).replace(/[^.]+$/, ''),
  },
  {
    name: 'a name twice in the payload',
    code: 'TOKEN_MALFORMED',
    jwt: () => makeToken(signer, rewritten('"sub":', `"sub":"hosts/h-${'b'.repeat(26)}","sub":`)),
  },
  {
    name: 'a name twice by an escape',
    code: 'TOKEN_MALFORMED',
    jwt: () => makeToken(signer, rewritten('"sub":', `"\\u0073ub":"hosts/h-${'b'.repeat(26)}","sub":`)),
  },
  {
    name: 'a name twice in the header',
    code: 'TOKEN_MALFORMED',
    jwt: () => makeToken(signer, earClaims(), `{"alg":"none","alg":"ES256","typ":"eat+jwt","kid":"${signer.keyId}"}`),
  },
  { name: 'a payload that is a list', code: 'TOKEN_MALFORMED', jwt: () => makeToken(signer, '[1]') },
  { name: 'a payload that is no JSON', code: 'TOKEN_MALFORMED', jwt: () => makeToken(signer, '{') },
  {
    name: 'a payload of thousands of levels',
    code: 'TOKEN_MALFORMED',
    jwt: () => makeToken(signer, rewritten('"sub":', `"a":${'['.repeat(5000)}${']'.repeat(5000)},"sub":`)),
  },
  { name: 'a token of two parts', code: 'TOKEN_MALFORMED', jwt: () => 'e30.e30' },
  { name: 'a token of five parts', code: 'TOKEN_MALFORMED', jwt: () => 'e30.e30.e30.e30.e30' },
  { name: 'padding', code: 'TOKEN_MALFORMED', jwt: () => `${makeToken(signer, earClaims())}=` },
  { name: 'nothing', code: 'TOKEN_MALFORMED', jwt: () => '' },
  { name: 'more than 4 MiB', code: 'TOKEN_TOO_LARGE', jwt: () => 'a'.repeat(MAX_TOKEN_BYTES + 1) },
  claims('more than a result can be', 'TOKEN_TOO_LARGE', { filler: 'a'.repeat(64 * 1024) }),
  report('a report of another profile', 'TOKEN_PROFILE', { assay_profile: 'assay.v2.PlatformReport' }),
  report('a report without a body', 'TOKEN_CLAIM', { assay_report: undefined }),
  report('a report about a host', 'TOKEN_CLAIM', { sub: `hosts/${TOKEN_HOST}` }),
  report('a report of another deployment', 'TOKEN_CLAIM', {}, { deployment: 'd-bbbbbbbbbbbbbbbb' }),
  report('a report of another shape', 'TOKEN_CLAIM', {}, { hosts: 'all of them' }),
  report('a report that has lost a host', 'TOKEN_STATUS', {}, { hostCount: '4' }),
  report('a report that hides an exception', 'TOKEN_STATUS', {}, { exceptionCount: '0' }),
  {
    name: 'a report where a host is expected',
    code: 'TOKEN_HOST',
    jwt: () => makeToken(signer, reportClaims(), REPORT_HEADER),
    expected: { host: TOKEN_HOST },
  },
];

describe('a token is refused', () => {
  it.each(REFUSALS)('for $name: $code', async ({ code, jwt, expected }) => {
    expect(await refusal(jwt(), expected)).toBe(code);
  });

  it('for any bit that was turned', async () => {
    const jwt = makeToken(signer, earClaims());
    for (let index = 0; index < jwt.length; index += 7) {
      if (jwt[index] === '.') continue;
      const turned = `${jwt.slice(0, index)}${jwt[index] === 'A' ? 'E' : 'A'}${jwt.slice(index + 1)}`;
      // oxlint-disable-next-line no-await-in-loop -- one after another, so that a failure names its place
      await expect(verify(turned), `character ${index}`).rejects.toBeInstanceOf(TokenRefusal);
    }
  });

  it('with every code that the page of tokens has, and no other', () => {
    const root = join(import.meta.dirname, '..', '..', '..');
    const page = readFileSync(join(root, 'docs', 'tokens.md'), 'utf8');
    const source = readFileSync(join(root, 'client', 'sdk', 'token-refusal.ts'), 'utf8');
    const onPage = [...page.matchAll(/^\| ((?:TOKEN|KEYS)_[A-Z_]+) \|/gm)].map(([, code]) => code);
    const inSource = [...source.matchAll(/'((?:TOKEN|KEYS)_[A-Z_]+)'/g)].map(([, code]) => code);
    expect(onPage.toSorted()).toEqual(inSource.toSorted());
    const tested = new Set(REFUSALS.map(({ code }) => code));
    expect(inSource.filter((code) => code?.startsWith('TOKEN_') && !tested.has(code))).toEqual([]);
  });
});
