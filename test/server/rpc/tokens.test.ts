import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { parseJwks } from '../../../client/sdk/jwks.ts';
import { verifyToken } from '../../../client/sdk/verify-token.ts';
import type { Channel } from '../../../proto/client.ts';
import { AttestationResultService, TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { AttestationService } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import { HostService } from '../../../proto/gen/assay/v1/host_pb.ts';
import { ReportService } from '../../../proto/gen/assay/v1/report_pb.ts';
import { TokenKeyService } from '../../../proto/gen/assay/v1/token_pb.ts';
import { answerChallenge } from '../../support/evidence-builder.ts';
import { failure } from '../../support/rpc.ts';
import { evidenceMessage, goOnline } from './agent-online.ts';
import type { AgentOnline } from './agent-online.ts';

let online: AgentOnline;
let operator: Channel;
let consumer: Channel;
let stranger: Channel;
beforeEach(async () => {
  online = await goOnline();
  operator = online.running.connect(await online.running.identity('ada', ['operator']));
  consumer = online.running.connect(await online.running.identity('eve', ['consumer']));
  stranger = online.running.connect();
});
afterEach(async () => {
  await online.running[Symbol.asyncDispose]();
  expect(online.running.errors).toEqual([]);
});

const NONCE = Buffer.alloc(8, 9);
const now = (): Date => new Date(online.running.house.store.now());
const host = (): string => `hosts/${online.hostId}`;

/** One honest round of the host, which has no logs: it is AFFIRMING for three minutes. */
async function attest(): Promise<void> {
  const { challenge, token } = await online.agent.client(AttestationService).createChallenge(online.hello());
  const asked = {
    nonce: Buffer.from(challenge?.nonce ?? []),
    selection: (challenge?.selection ?? []).map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs })),
    logs: (['boot', 'userspace', 'ima'] as const).map((kind) => ({ kind, offset: 0 })),
  };
  const evidence = evidenceMessage(answerChallenge(online.tpm, online.ak, asked, online));
  await online.submit({ part: { case: 'submission', value: { token, evidence } } });
}

async function publishedKeys(): Promise<Awaited<ReturnType<typeof parseJwks>>> {
  const { jwks } = await stranger.client(TokenKeyService).listTokenKeys({});
  return parseJwks(Buffer.from(jwks));
}

async function tokenOf(request: { audience?: string; nonce?: Uint8Array } = {}): Promise<string> {
  const answer = await operator.client(AttestationResultService).getAttestationResult({ host: host(), token: request });
  return answer.token?.jwt ?? '';
}

async function rotate() {
  const { tokenKeys } = await stranger.client(TokenKeyService).listTokenKeys({});
  return operator.client(TokenKeyService).rotateTokenKey({ keyId: tokenKeys[0]?.keyId ?? '' });
}

describe('a result as token', () => {
  it('is made when it is asked for, and verifies with the published keys', async () => {
    const client = operator.client(AttestationResultService);
    expect((await client.getAttestationResult({ host: host() })).token).toBeUndefined();
    const jwt = await tokenOf({ audience: 'rp', nonce: NONCE });
    const keys = await publishedKeys();
    const expected = { keys, now: now(), audience: 'rp', nonce: NONCE, host: online.hostId };
    expect(await verifyToken(jwt, expected)).toMatchObject({ kind: 'result', status: 'none' });
  });

  it('says what the answer beside it says', async () => {
    await attest();
    const answer = await operator.client(AttestationResultService).getAttestationResult({ host: host(), token: {} });
    const token = await verifyToken(answer.token?.jwt ?? '', { keys: await publishedKeys(), now: now() });
    expect(answer.result?.status).toBe(TrustStatus.AFFIRMING);
    expect(token).toMatchObject({
      status: 'affirming',
      akName: answer.result?.akName,
      evidenceDigest: answer.result?.evidenceDigest,
      inputDigest: answer.result?.appraisalInputDigest,
      policies: [`trustPolicies/base@${answer.result?.trustPolicyVersion}`],
      vector: { 'instance-identity': answer.result?.vector?.instanceIdentity },
    });
    expect(token.expires.getTime()).toBe(Number(answer.token?.expireTime?.seconds) * 1000);
  });

  it('is not signed while the wall clock is far behind, and neither is a report: others would take it for days', async () => {
    await attest();
    const { clock } = online.running.house;
    clock.wall -= 6 * 60_000;
    const refused = { code: 'UNAVAILABLE', reason: 'CLOCK_BEHIND' };
    expect(await failure(tokenOf())).toMatchObject(refused);
    expect(await failure(consumer.client(ReportService).getPlatformReport({ token: {} }))).toMatchObject(refused);
    clock.wall += 6 * 60_000;
    expect(await tokenOf()).not.toBe('');
  });

  it('never outlives its result, and a lapsed result gives none', async () => {
    await attest();
    const { validUntil } = (await online.running.house.store.getResult(online.hostId)) ?? { validUntil: 0 };
    const { clock } = online.running.house;
    for (const left of [170_000, 60_000, 1_000]) {
      clock.advance((validUntil ?? 0) - left - clock.wall);
      const { exp = 0 } = decodeJwt(await tokenOf());
      expect(exp * 1000).toBeLessThanOrEqual(validUntil ?? 0);
    }
    clock.advance(1_000);
    const request = { host: host(), token: {} };
    const lapsed = { code: 'FAILED_PRECONDITION', reason: 'RESULT_LAPSED' };
    expect(await failure(operator.client(AttestationResultService).getAttestationResult(request))).toMatchObject(
      lapsed,
    );
    await online.running.house.store.expireResults(10);
    expect(await failure(operator.client(AttestationResultService).getAttestationResult(request))).toMatchObject(
      lapsed,
    );
  });

  it('says of a revoked host that it is contraindicated', async () => {
    await attest();
    await operator.client(HostService).revokeHost({ name: host(), reason: 'stolen' });
    const token = await verifyToken(await tokenOf(), { keys: await publishedKeys(), now: now() });
    expect(token).toMatchObject({ status: 'contraindicated', reasons: ['HOST_REVOKED'] });
    expect(token.expires.getTime() - token.issued.getTime()).toBe(60_000);
  });

  it.each([
    ['a nonce of 7 bytes', { nonce: Buffer.alloc(7) }, 'token.nonce'],
    ['a nonce of 65 bytes', { nonce: Buffer.alloc(65) }, 'token.nonce'],
    ['an audience of 257 bytes', { audience: 'a'.repeat(257) }, 'token.audience'],
    ['an audience with a control character', { audience: 'a\u001b[31m' }, 'token.audience'],
  ])('is not made for %s', async (_name, token, field) => {
    const results = operator.client(AttestationResultService);
    const error = await failure(results.getAttestationResult({ host: host(), token }));
    expect(error.fieldViolations.map((violation) => violation.field)).toEqual([field]);
    expect((await failure(consumer.client(ReportService).getPlatformReport({ token }))).reason).toBe('INVALID_FIELD');
  });
});

describe('the keys of tokens', () => {
  it('are told to everybody, and changed by an operator', async () => {
    const before = await tokenOf();
    const { tokenKey } = await rotate();
    const { tokenKeys } = await stranger.client(TokenKeyService).listTokenKeys({});
    expect(tokenKeys.map(({ version }) => version)).toEqual([2n, 1n]);
    expect(tokenKeys[0]).toMatchObject({ keyId: tokenKey?.keyId });
    expect(tokenKeys[0]?.retireTime).toBeUndefined();
    expect(tokenKeys[1]?.publishEndTime).toBeDefined();
    const after = await tokenOf();
    expect(decodeProtectedHeader(after).kid).toBe(tokenKey?.keyId);
    expect(decodeProtectedHeader(before).kid).toBe(tokenKeys[1]?.keyId);
    const keys = await publishedKeys();
    for (const jwt of [before, after])
      expect(await verifyToken(jwt, { keys, now: now() })).toMatchObject({ kind: 'result' });
    const audit = await online.running.house.store.listAudit(0, 1000);
    expect(audit.at(-1)).toMatchObject({ actor: 'identities/ada', action: 'key.add', target: 'keys/token-signing/2' });
  });

  it('are rotated in place of the one that signs alone', async () => {
    const client = operator.client(TokenKeyService);
    const { tokenKeys } = await client.listTokenKeys({});
    await rotate();
    const request = { keyId: tokenKeys[0]?.keyId ?? '' };
    expect(await failure(client.rotateTokenKey(request))).toMatchObject({ code: 'ABORTED', reason: 'ETAG_MISMATCH' });
    for (const keyId of ['', 'a'.repeat(65)]) {
      expect(await failure(client.rotateTokenKey({ keyId }))).toMatchObject({ reason: 'INVALID_FIELD' });
    }
  });

  it('are withdrawn by an operator: what the former one signed is refused from then on', async () => {
    const stolen = await tokenOf();
    const keyId = decodeProtectedHeader(stolen).kid ?? '';
    const client = operator.client(TokenKeyService);
    expect(await failure(client.withdrawTokenKey({ keyId }))).toMatchObject({ reason: 'WRONG_STATE' });
    await rotate();
    await client.withdrawTokenKey({ keyId });
    const refused = verifyToken(stolen, { keys: await publishedKeys(), now: now() });
    await expect(refused).rejects.toMatchObject({ code: 'TOKEN_KEY_UNKNOWN' });
    expect(await failure(client.withdrawTokenKey({ keyId }))).toMatchObject({ reason: 'NOT_FOUND' });
    expect(await failure(client.withdrawTokenKey({}))).toMatchObject({ reason: 'INVALID_FIELD' });
  });

  it('are not rotated more often than they expire', async () => {
    for (let version = 2; version <= 16; version++) await rotate();
    expect(await failure(rotate())).toMatchObject({
      code: 'FAILED_PRECONDITION',
      reason: 'WRONG_STATE',
    });
  });
});

describe('the report of the platform', () => {
  it('counts, and tells what the policies require and which hosts are not affirmed', async () => {
    await attest();
    const client = consumer.client(ReportService);
    const { report, token } = await client.getPlatformReport({});
    expect(token).toBeUndefined();
    expect(report).toMatchObject({ hostCount: 1n, hosts: { affirming: 1n }, exceptionCount: 0n, policyCount: 1 });
    expect(report?.policies[0]).toMatchObject({
      trustPolicy: 'trustPolicies/base',
      version: 1n,
      hosts: { affirming: 1n },
    });
    expect(report?.policies[0]?.requirements).toContain(
      `PCR 7 of the sha256 bank holds ${'00'.repeat(32)}; else the host is contraindicated.`,
    );
    expect(report?.earliestValidUntil).toBeDefined();
    online.running.house.clock.advance(180_000);
    const { report: later } = await client.getPlatformReport({});
    expect(later).toMatchObject({ hosts: { none: 1n }, exceptionCount: 1n });
    expect(later?.exceptions).toMatchObject([
      {
        host: host(),
        status: TrustStatus.NONE,
        reasons: [{ reason: 'RESULT_EXPIRED' }],
        trustPolicy: 'trustPolicies/base',
      },
    ]);
    expect(later?.earliestValidUntil).toBeUndefined();
  });

  it('is signed when that is asked for: the same report, which is no token of a host', async () => {
    const request = { token: { audience: 'auditor', nonce: NONCE } };
    const { report, token } = await consumer.client(ReportService).getPlatformReport(request);
    const expected = { keys: await publishedKeys(), now: now(), audience: 'auditor', nonce: NONCE };
    const verified = await verifyToken(token?.jwt ?? '', expected);
    expect(verified).toMatchObject({
      kind: 'report',
      report: { hostCount: report?.hostCount, revision: report?.revision },
    });
    await expect(verifyToken(token?.jwt ?? '', { ...expected, host: online.hostId })).rejects.toMatchObject({
      code: 'TOKEN_HOST',
    });
  });

  it('is about the hosts with the labels that are asked for', async () => {
    const name = host();
    const change = { host: { name, labels: { zone: 'n' } }, updateMask: { paths: ['labels'] } };
    await operator.client(HostService).updateHost(change);
    const client = consumer.client(ReportService);
    const count = async (zone: string): Promise<bigint | undefined> =>
      (await client.getPlatformReport({ matchLabels: { zone } })).report?.hostCount;
    expect([await count('n'), await count('s')]).toEqual([1n, 0n]);
  });

  it.each([
    ['a label that is none', { matchLabels: { 'a b': 'c' } }, 'match_labels["a b"]'],
    [
      'too many labels',
      { matchLabels: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`l${n}`, ''])) },
      'match_labels',
    ],
    ['fewer than no exceptions', { maxExceptions: -1 }, 'max_exceptions'],
  ])('refuses %s', async (_name, request, field) => {
    const error = await failure(consumer.client(ReportService).getPlatformReport(request));
    expect(error.fieldViolations.map((violation) => violation.field)).toEqual([field]);
  });
});
