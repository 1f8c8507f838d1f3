import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { AttestationService } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import type { AttestResponse } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import { AttestationResultService, TrustStatus } from '../../../proto/gen/assay/v1/attestation_result_pb.ts';
import { EnrollmentService } from '../../../proto/gen/assay/v1/enrollment_pb.ts';
import { LogKind } from '../../../proto/gen/assay/v1/evidence_pb.ts';
import { FACTS } from '../../support/evidence-builder.ts';
import { failure } from '../../support/rpc.ts';
import { dump, putPolicy } from '../../support/test-service.ts';
import { answerTo, goOnline } from './agent-online.ts';
import type { AgentOnline, AttestPart, EvidenceMessage } from './agent-online.ts';

let online: AgentOnline;
beforeAll(async () => {
  online = await goOnline();
});
afterAll(async () => {
  await online.running[Symbol.asyncDispose]();
  expect(online.running.errors).toEqual([]);
});

const unary = () => online.agent.client(AttestationService);
const strange = () => online.agent.client(EnrollmentService);
const helloPart = (): AttestPart => ({ part: { case: 'hello', value: online.hello() } });

/** A challenge of the unary pair and the honest answer to it. */
async function drawn() {
  const { challenge, token } = await unary().createChallenge(online.hello());
  if (challenge === undefined) throw new TypeError('no challenge');
  return { challenge, token, evidence: answerTo(online, challenge) };
}

const sound: EvidenceMessage = { quote: { attest: Buffer.alloc(1), signature: Buffer.alloc(1) }, facts: FACTS };
const proof = { ...sound, token: Buffer.alloc(64), hmac: Buffer.alloc(32) };

describe('a round over the wire', () => {
  it('without a stream gives a result, which relying parties read', async () => {
    const { challenge, token, evidence } = await drawn();
    expect(challenge).toMatchObject({ allBanks: false, deadlineSeconds: 60 });
    const { result } = await online.submit({ part: { case: 'submission', value: { token, evidence } } });
    expect(result).toMatchObject({
      host: `hosts/${online.hostId}`,
      status: TrustStatus.AFFIRMING,
      trustPolicy: 'trustPolicies/base',
    });
    const party = online.running.connect(await online.running.identity('party', ['relying_party']));
    const read = await party.client(AttestationResultService).getAttestationResult({ host: `hosts/${online.hostId}` });
    expect(read.result).toEqual(result);
    const again = await failure(online.submit({ part: { case: 'submission', value: { token, evidence } } }));
    expect(again).toMatchObject({ code: 'ABORTED', reason: 'HOST_CHANGED', retryDelayMillis: 100 });
  });

  it('over a stream gives challenge, result and the next challenge', async () => {
    const { promise: answer, resolve } = Promise.withResolvers<EvidenceMessage>();
    const requests = (async function* (): AsyncGenerator<AttestPart, void, undefined> {
      yield helloPart();
      yield { part: { case: 'evidence', value: await answer } };
      await new Promise(() => undefined);
    })();
    const messages = unary().attest(requests)[Symbol.asyncIterator]();
    const first = await messages.next();
    if (first.done === true || first.value.part.case !== 'challenge') throw new TypeError('no challenge');
    resolve(answerTo(online, first.value.part.value));
    expect((await messages.next()).value).toMatchObject({
      part: { case: 'result', value: { status: TrustStatus.AFFIRMING } },
    });
    await messages.return?.();
  });

  it('over a stream is told in full once, and then by what has moved', async () => {
    const outbox = new TransformStream<AttestPart, AttestPart>();
    const writer = outbox.writable.getWriter();
    void writer.write(helloPart());
    const messages = unary().attest(outbox.readable.values())[Symbol.asyncIterator]();
    const next = async (): Promise<AttestResponse['part'] | undefined> => {
      const message = await messages.next();
      return message.done === true ? undefined : message.value.part;
    };
    const round = async () => {
      const challenge = await next();
      if (challenge?.case !== 'challenge') throw new TypeError('no challenge');
      void writer.write({ part: { case: 'evidence', value: answerTo(online, challenge.value) } });
      const verdict = await next();
      // The next challenge comes at once, not after the interval.
      void writer.write({ part: { case: 'wish', value: {} } });
      return verdict;
    };
    const first = await round();
    if (first?.case !== 'result') throw new TypeError('no result');
    const second = await round();
    if (second?.case !== 'confirmation') throw new TypeError('no confirmation');
    expect(second.value).toMatchObject({
      revision: first.value.revision,
      confirmations: first.value.confirmations + 1n,
    });
    expect(second.value.evidenceDigest).not.toBe(first.value.evidenceDigest);
    const party = online.running.connect(await online.running.identity('reader', ['relying_party']));
    const { result } = await party
      .client(AttestationResultService)
      .getAttestationResult({ host: `hosts/${online.hostId}` });
    const { evidenceDigest, challengeTime, validUntil, confirmations } = second.value;
    expect(result).toEqual({ ...first.value, evidenceDigest, challengeTime, validUntil, confirmations });
    await putPolicy(online.running.house.store, { description: 'another version' });
    expect(await round()).toMatchObject({ case: 'result', value: { trustPolicyVersion: 2n } });
    await messages.return?.();
  });

  it('with evidence for another challenge is PERMISSION_DENIED and changes nothing', async () => {
    const [one, two] = [await drawn(), await drawn()];
    const before = await dump(online.running.house.store);
    const error = await failure(
      online.submit({ part: { case: 'submission', value: { token: one.token, evidence: two.evidence } } }),
    );
    expect(error).toMatchObject({ code: 'PERMISSION_DENIED', reason: 'EXTRA_DATA_MISMATCH' });
    expect(await dump(online.running.house.store)).toEqual(before);
  });

  it.each<[string, () => Promise<unknown>, string, string]>([
    [
      'a token of nobody',
      async () =>
        online.submit({ part: { case: 'submission', value: { ...(await drawn()), token: Buffer.alloc(80, 1) } } }),
      'INVALID_ARGUMENT',
      'CHALLENGE_TOKEN_INVALID',
    ],
    [
      'another AK',
      () => unary().createChallenge({ ...online.hello(), akName: Buffer.alloc(34) }),
      'FAILED_PRECONDITION',
      'AK_UNKNOWN',
    ],
    ['a stream without hello', () => online.attest(), 'INVALID_ARGUMENT', 'HELLO_MISSING'],
    [
      'a wish in place of the hello',
      () => online.attest({ part: { case: 'wish', value: {} } }),
      'INVALID_ARGUMENT',
      'HELLO_MISSING',
    ],
    ['a second hello', () => online.attest(helloPart(), helloPart()), 'INVALID_ARGUMENT', 'MESSAGE_UNEXPECTED'],
    [
      'an enrolment token of nobody',
      () => online.complete({ part: { case: 'proof', value: { ...proof, token: Buffer.alloc(80, 1) } } }),
      'INVALID_ARGUMENT',
      'ENROLLMENT_TOKEN_INVALID',
    ],
  ])('with %s is refused by its reason', async (_name, call, code, reason) => {
    expect(await failure(call())).toMatchObject({ code, reason });
  });
});

describe('a message with', () => {
  const chunk = { kind: LogKind.IMA, offset: 0n, data: Buffer.alloc(1) };
  it.each<[string, () => Promise<unknown>, string]>([
    ['no part on a stream', () => online.attest({}), 'part'],
    ['no part in a submission', () => online.submit({}), 'part'],
    ['no part in an enrolment', () => online.complete({}), 'part'],
    ['a chunk first in a submission', () => online.submit({ part: { case: 'chunk', value: chunk } }), 'part'],
    ['a chunk first in an enrolment', () => online.complete({ part: { case: 'chunk', value: chunk } }), 'part'],
    [
      'no AK name in a hello',
      () => online.attest({ part: { case: 'hello', value: { bootState: online.hello().bootState } } }),
      'hello.ak_name',
    ],
    [
      'a long AK name in a hello',
      () => online.attest({ part: { case: 'hello', value: { ...online.hello(), akName: Buffer.alloc(67) } } }),
      'hello.ak_name',
    ],
    [
      'no boot state in a hello',
      () => online.attest({ part: { case: 'hello', value: { akName: online.ak.name } } }),
      'hello.boot_state',
    ],
    [
      'a long version in a hello',
      () => online.attest({ part: { case: 'hello', value: { ...online.hello(), agentVersion: 'x'.repeat(65) } } }),
      'hello.agent_version',
    ],
    [
      'a long reason in a wish',
      () => online.attest(helloPart(), { part: { case: 'wish', value: { reason: 'x'.repeat(257) } } }),
      'wish.reason',
    ],
    [
      'an empty chunk',
      () => online.attest(helloPart(), { part: { case: 'chunk', value: { ...chunk, data: Buffer.alloc(0) } } }),
      'chunk.data',
    ],
    [
      'a large chunk',
      () =>
        online.attest(helloPart(), {
          part: { case: 'chunk', value: { ...chunk, data: Buffer.alloc(256 * 1024 + 1) } },
        }),
      'chunk.data',
    ],
    [
      'a chunk of no log',
      () => online.attest(helloPart(), { part: { case: 'chunk', value: { ...chunk, kind: LogKind.UNSPECIFIED } } }),
      'chunk.kind',
    ],
    ['no AK name in a challenge', () => unary().createChallenge({ bootState: online.hello().bootState }), 'ak_name'],
    ['no boot state in a challenge', () => unary().createChallenge({ akName: online.ak.name }), 'boot_state'],
    [
      'no token in a submission',
      () => online.submit({ part: { case: 'submission', value: { evidence: sound } } }),
      'submission.token',
    ],
    [
      'no evidence in a submission',
      () => online.submit({ part: { case: 'submission', value: { token: Buffer.alloc(64) } } }),
      'submission.evidence',
    ],
    [
      'no token in a proof',
      () => online.complete({ part: { case: 'proof', value: { ...proof, token: Buffer.alloc(0) } } }),
      'proof.token',
    ],
    [
      'a short HMAC in a proof',
      () => online.complete({ part: { case: 'proof', value: { ...proof, hmac: Buffer.alloc(31) } } }),
      'proof.hmac',
    ],
    [
      'no AK in a begin',
      () => strange().beginEnrollment({ endorsementKeys: [{ publicArea: Buffer.alloc(1) }] }),
      'ak_public_area',
    ],
    [
      'no public area of an EK in a begin',
      () => strange().beginEnrollment({ endorsementKeys: [{}] }),
      'endorsement_keys[0].public_area',
    ],
    [
      'nine EKs in a begin',
      () => strange().beginEnrollment({ endorsementKeys: Array.from({ length: 9 }, () => ({})) }),
      'endorsement_keys',
    ],
    [
      'nine certificates of a chain in a begin',
      () =>
        strange().beginEnrollment({ endorsementKeys: [{ chain: Array.from({ length: 9 }, () => Buffer.alloc(1)) }] }),
      'endorsement_keys[0].chain',
    ],
    [
      'a large certificate in a begin',
      () =>
        strange().beginEnrollment({
          endorsementKeys: [{ publicArea: Buffer.alloc(1), certificate: Buffer.alloc(8 * 1024 + 1) }],
        }),
      'endorsement_keys[0].certificate',
    ],
  ])('%s is INVALID_ARGUMENT at its field, and changes nothing', async (_name, call, field) => {
    const before = await dump(online.running.house.store);
    const error = await failure(call());
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.fieldViolations.map((violation) => violation.field)).toEqual([field]);
    expect(await dump(online.running.house.store)).toEqual(before);
  });
});
