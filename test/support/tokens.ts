/** Tokens that are made by hand, so that each part can be wrong, with none of the code that makes or checks them. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

export type Json = Readonly<Record<string, unknown>>;

/** A key that signs tokens. */
export interface Signer {
  readonly privateKey: KeyObject;
  readonly jwk: Json;
  readonly keyId: string;
}

export function makeSigner(): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const { kty, crv, x, y } = publicKey.export({ format: 'jwk' });
  const keyId = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  return { privateKey, keyId, jwk: { kty, crv, x, y, kid: keyId, use: 'sig', alg: 'ES256' } };
}

/** A key set with these keys, as bytes. */
export function keySet(...signers: readonly Signer[]): Buffer {
  return Buffer.from(JSON.stringify({ keys: signers.map(({ jwk }) => jwk) }));
}

/** `header.payload.signature`; a part that is text already is taken as it is. */
export function makeToken(
  signer: Signer,
  payload: Json | string,
  header: Json | string = { alg: 'ES256', typ: 'eat+jwt', kid: signer.keyId },
): string {
  const signed = [header, payload]
    .map((part) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url'))
    .join('.');
  const key = { key: signer.privateKey, dsaEncoding: 'ieee-p1363' } as const;
  return `${signed}.${sign('sha256', Buffer.from(signed), key).toString('base64url')}`;
}

export const TOKEN_HOST = `h-${'a'.repeat(26)}`;
export const TOKEN_TIME = new Date('2026-11-25T12:00:00Z');
const SECONDS = TOKEN_TIME.getTime() / 1000;

/** A submodule that affirms. */
export function appraisal(change: Json = {}): Json {
  return {
    ear_status: 'affirming',
    ear_trustworthiness_vector: { 'instance-identity': 2, configuration: 2, executables: 3, hardware: 2 },
    ear_appraisal_policy_ids: ['trustPolicies/base@3'],
    ear_attester_claims: {
      assay_ak_name: `000b${'11'.repeat(32)}`,
      assay_evidence_digest: '22'.repeat(32),
      assay_reset_count: 1,
      assay_restart_count: 0,
    },
    ear_verifier_claims: { assay_revision: 7, assay_appraisal_input_digest: '33'.repeat(32), assay_reasons: [] },
    ...change,
  };
}

/** Claims of an EAR as the service makes them, issued a minute ago, good for four more. */
export function earClaims(change: Json = {}): Json {
  return {
    iss: 'assay://d-aaaaaaaaaaaaaaaa',
    sub: `hosts/${TOKEN_HOST}`,
    eat_profile: 'tag:ietf.org,2026:rats/ear#04',
    ear_status: 'affirming',
    ear_verifier_id: { developer: 'assay', build: 'assayd 1.2.3' },
    submods: { 'tpm20-host': appraisal() },
    iat: SECONDS - 60,
    exp: SECONDS + 240,
    jti: 'AAAAAAAAAAAAAAAAAAAAAA',
    ...change,
  };
}

/** Claims of a platform report with three hosts, one of which is not affirmed. */
export function reportClaims(change: Json = {}, report: Json = {}): Json {
  const { iss, iat, exp, jti } = earClaims();
  return {
    ...{ iss, iat, exp, jti },
    sub: 'platform',
    assay_profile: 'assay.v1.PlatformReport',
    assay_report: {
      deployment: 'd-aaaaaaaaaaaaaaaa',
      reportTime: '2026-11-25T11:59:00Z',
      revision: '7',
      hostCount: '3',
      hosts: { affirming: '2', contraindicated: '1' },
      policies: [
        {
          trustPolicy: 'trustPolicies/base',
          version: '3',
          requirements: ['PCR 7 of the sha256 bank holds 00; else the host is contraindicated.'],
          requirementCount: 1,
          hosts: { affirming: '2', contraindicated: '1' },
        },
      ],
      policyCount: 1,
      exceptions: [
        {
          host: `hosts/${TOKEN_HOST}`,
          status: 'TRUST_STATUS_CONTRAINDICATED',
          reasons: [{ reason: 'PCR_MISMATCH', check: 'pcr.sha256.7', message: 'It holds another value.' }],
          reasonCount: 1,
          trustPolicy: 'trustPolicies/base',
          sinceTime: '2026-11-25T11:00:00Z',
        },
      ],
      exceptionCount: '1',
      ...report,
    },
    ...change,
  };
}
