import { generateKeyPairSync, randomBytes } from 'node:crypto';

import { decodeProtectedHeader, jwtVerify } from 'jose';
import { describe, expect, it } from 'vitest';

import { parseJwks } from '../../../client/sdk/jwks.ts';
import { verifyToken } from '../../../client/sdk/verify-token.ts';
import { TokenIssuer } from '../../../server/result/issue-token.ts';
import { formatJwks } from '../../../server/identity/token-keys.ts';
import { expiredResult } from '../../../server/store/own-verdicts.ts';
import type { ResultRecord } from '../../../server/store/records.ts';

const NOW = Date.UTC(2026, 10, 25, 12) + 700;
const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const signer = { keyId: 'key-1', version: 1, createTime: 0, retired: null, privateKey };
const keys = await parseJwks(Buffer.from(formatJwks([signer])));
const NOBODY = { audience: '', nonce: Buffer.alloc(0) };

const RESULT: ResultRecord = {
  hostId: `h-${'a'.repeat(26)}`,
  status: 'affirming',
  vector: { instanceIdentity: 2, configuration: 2, executables: 3, hardware: 2 },
  checks: [{ id: 'quote', outcome: 'passed', reason: '', observed: '', expected: '', message: '' }],
  policyId: 'base',
  policyVersion: 3,
  inputDigest: '33'.repeat(32),
  endorsementVersion: 4,
  akName: `000b${'11'.repeat(32)}`,
  resetCount: 4,
  restartCount: 5,
  revision: 9,
  evidenceDigest: '22'.repeat(32),
  challengeTime: NOW - 10_000,
  validUntil: NOW + 3_600_000,
  confirmations: 2,
  connectivity: 'connected',
  nodeName: 'node-1',
  labels: { zone: 'n' },
  revisionTime: NOW - 60_000,
};

function issuer(maxLifetime = 300_000): TokenIssuer {
  return new TokenIssuer({
    keys: { signer: () => Promise.resolve(signer) },
    deployment: 'd-aaaaaaaaaaaaaaaa',
    version: '1.2.3',
    maxLifetime,
    now: () => NOW,
    clockBehind: () => 0,
    random: (size) => randomBytes(size),
  });
}

async function claimsOf(result: ResultRecord, maxLifetime?: number): Promise<Readonly<Record<string, unknown>>> {
  const { jwt, expires } = await issuer(maxLifetime).issueResult(result, NOBODY);
  const { payload } = await jwtVerify(jwt, publicKey, { currentDate: new Date(NOW) });
  expect(expires).toBe((payload.exp ?? 0) * 1000);
  return payload;
}

const life = async (result: ResultRecord, maxLifetime?: number): Promise<number> => {
  const { iat, exp } = (await claimsOf(result, maxLifetime)) as { readonly iat: number; readonly exp: number };
  return exp - iat;
};

describe('a token of a result', () => {
  it('has the names of EAR draft 04, and is bound to host, AK, policy, input and evidence', async () => {
    expect(await claimsOf(RESULT)).toEqual({
      iss: 'assay://d-aaaaaaaaaaaaaaaa',
      sub: `hosts/${RESULT.hostId}`,
      iat: Math.floor(NOW / 1000),
      exp: Math.floor((NOW + 300_000) / 1000),
      jti: expect.stringMatching(/^[\w-]{22}$/),
      eat_profile: 'tag:ietf.org,2026:rats/ear#04',
      ear_status: 'affirming',
      ear_verifier_id: { developer: 'assay', build: 'assayd 1.2.3' },
      submods: {
        'tpm20-host': {
          ear_status: 'affirming',
          ear_trustworthiness_vector: { 'instance-identity': 2, configuration: 2, executables: 3, hardware: 2 },
          ear_appraisal_policy_ids: ['trustPolicies/base@3'],
          ear_attester_claims: {
            assay_ak_name: RESULT.akName,
            assay_evidence_digest: RESULT.evidenceDigest,
            assay_reset_count: 4,
            assay_restart_count: 5,
          },
          ear_verifier_claims: {
            assay_revision: 9,
            assay_appraisal_input_digest: RESULT.inputDigest,
            assay_challenge_time: Math.floor((NOW - 10_000) / 1000),
            assay_valid_until: Math.floor((NOW + 3_600_000) / 1000),
            assay_node_name: 'node-1',
            assay_reasons: [],
          },
        },
      },
    });
  });

  it('names its algorithm, type and key', async () => {
    const { jwt } = await issuer().issueResult(RESULT, NOBODY);
    expect(decodeProtectedHeader(jwt)).toEqual({ alg: 'ES256', typ: 'eat+jwt', kid: 'key-1' });
  });

  it('carries the audience and the nonce of who asked, and no two have one id', async () => {
    const demand = { audience: 'https://rp.example', nonce: Buffer.alloc(64, 1) };
    const tokens = await Promise.all([0, 1].map(() => issuer().issueResult(RESULT, demand)));
    const verified = await Promise.all(
      tokens.map(({ jwt }) => verifyToken(jwt, { keys, now: new Date(NOW), ...demand, host: RESULT.hostId })),
    );
    expect(new Set(verified.map(({ id }) => id)).size).toBe(2);
  });

  it('lives as long as is configured, and never longer than its result', async () => {
    expect(await life(RESULT)).toBe(300);
    expect(await life(RESULT, 20_000)).toBe(20);
    for (const left of [299_000, 1_300, 2_000]) {
      const validUntil = NOW + left;
      const { exp } = (await claimsOf({ ...RESULT, validUntil })) as { readonly exp: number };
      expect(exp * 1000).toBeLessThanOrEqual(validUntil);
    }
  });

  it.each([
    ['whose validity ends now', { ...RESULT, validUntil: NOW }],
    ['with less than a second left', { ...RESULT, validUntil: NOW + 299 }],
    ['that has lapsed', expiredResult(RESULT)],
  ])('is not made of a result %s', async (_name, result) => {
    await expect(issuer().issueResult(result, NOBODY)).rejects.toMatchObject({ code: 'RESULT_LAPSED' });
  });

  it('says for a minute that nothing is known, or nothing good', async () => {
    const nothing = {
      ...RESULT,
      status: 'none' as const,
      vector: { instanceIdentity: 0, configuration: 0, executables: 0, hardware: 0 },
      checks: [
        {
          id: 'evidence',
          outcome: 'error',
          reason: 'AWAITING_EVIDENCE',
          observed: '',
          expected: '',
          message: '',
        } as const,
      ],
      policyId: '',
      policyVersion: 0,
      inputDigest: '',
      evidenceDigest: '',
      challengeTime: 0,
      validUntil: null,
    };
    expect(await life(nothing)).toBe(60);
    expect(await life(nothing, 20_000)).toBe(20);
    const { jwt } = await issuer().issueResult(nothing, NOBODY);
    expect(await verifyToken(jwt, { keys, now: new Date(NOW) })).toMatchObject({
      status: 'none',
      reasons: ['AWAITING_EVIDENCE'],
      policies: [],
      evidenceDigest: undefined,
    });
    const bad = { ...RESULT, status: 'contraindicated' as const, vector: { ...RESULT.vector, hardware: 96 } };
    expect(await life(bad)).toBe(60);
    expect(await life({ ...bad, status: 'contraindicated', validUntil: null })).toBe(60);
    expect(await life({ ...bad, validUntil: NOW + 30_000 })).toBe(30);
  });

  it('is never made of a status that is better than its worst claim', async () => {
    const bad = { ...RESULT, vector: { ...RESULT.vector, configuration: 36 } };
    await expect(issuer().issueResult(bad, NOBODY)).rejects.toBeInstanceOf(TypeError);
  });
});

describe('a token of a report', () => {
  const reportLife = async (left: number | null, maxLifetime?: number): Promise<number> => {
    const earliestValidUntil = left === null ? null : NOW + left;
    const { jwt } = await issuer(maxLifetime).issueReport({ body: {}, earliestValidUntil }, NOBODY);
    const { payload } = await jwtVerify(jwt, publicKey, { currentDate: new Date(NOW) });
    return (payload.exp ?? 0) - (payload.iat ?? 0);
  };

  it.each([
    ['as long as is configured where no verdict holds', null, 300],
    ['as long as is configured where every verdict holds longer', 3_600_000, 300],
    ['no longer than the first of its verdicts', 100_000, 100],
    ['for a minute where the first of its verdicts ends before', 1_000, 60],
  ])('lives %s', async (_name, left, seconds) => {
    expect(await reportLife(left)).toBe(seconds);
  });

  it('never lives longer than is configured', async () => {
    expect(await reportLife(1_000, 20_000)).toBe(20);
  });
});
