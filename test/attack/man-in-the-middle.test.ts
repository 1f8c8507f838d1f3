import { isMessage } from '@bufbuild/protobuf';
import type { Message } from '@bufbuild/protobuf';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { tlsKeySha256 } from '../../client/agent/tls-key.ts';
import {
  BeginEnrollmentRequestSchema,
  BeginEnrollmentResponseSchema,
  CompleteEnrollmentRequestSchema,
  CompleteEnrollmentResponseSchema,
} from '../../proto/gen/assay/v1/enrollment_pb.ts';
import type { MiddleOptions } from '../support/man-in-the-middle.ts';
import { dump } from '../support/test-service.ts';
import { bareIdentity, makeVictim, openScene } from './scene.ts';
import type { Scene, Victim } from './scene.ts';

let scene: Scene;
let victim: Victim;
let before: unknown;
beforeAll(async () => {
  scene = await openScene();
});
afterAll(async () => {
  await scene[Symbol.asyncDispose]();
  expect(scene.running.errors).toEqual([]);
});
beforeEach(async () => {
  victim = await makeVictim();
  before = await dump(scene.running.house.store);
});

describe('enrolment through a man in the middle who has the TLS key of the service', () => {
  const nothingOpened = async (options: Partial<MiddleOptions>): Promise<void> => {
    await using between = await scene.middle(options);
    await expect(scene.enrol(victim, between.endpoint)).rejects.toMatchObject({ code: 'untrusted_service' });
    expect(between.seen.some((message) => isMessage(message, BeginEnrollmentResponseSchema))).toBe(true);
    expect(victim.tpm.calls).toEqual([]);
    expect(await dump(scene.running.house.store)).toEqual(before);
  };

  it('opens no credential: the service names the TLS key that it sees', () => nothingOpened({}));

  it('opens none where he writes the TLS key of the agent over his own', () =>
    nothingOpened({
      toAgent: (message) =>
        isMessage(message, BeginEnrollmentResponseSchema)
          ? { ...message, tlsKeySha256: tlsKeySha256(victim.key) }
          : message,
    }));

  it('opens none that was made for an AK of his: the TPM is no oracle', () =>
    nothingOpened({
      toService: (message) =>
        isMessage(message, BeginEnrollmentRequestSchema)
          ? { ...message, akPublicArea: scene.own.ak.publicArea.raw }
          : message,
    }));

  it('opens none that was made for fewer EKs than it has', () =>
    nothingOpened({
      toService: (message) =>
        isMessage(message, BeginEnrollmentRequestSchema)
          ? { ...message, endorsementKeys: message.endorsementKeys.slice(0, 1) }
          : message,
    }));

  it('makes no host of his TLS key where he also has the agent’s: he may only relay', async () => {
    await using between = await scene.middle({ own: await bareIdentity(victim.key) });
    const answer = await scene.enrol(victim, between.endpoint);
    expect(await scene.running.house.store.getHost(answer.hostId)).toMatchObject({
      state: 'active',
      tlsKeySha256: tlsKeySha256(victim.key).toString('hex'),
    });
  });

  const CHANGED: readonly (readonly [string, Partial<MiddleOptions>, object])[] = [
    [
      'facts',
      { toService: inProof((value) => (value.facts = { ...value.facts, hostname: 'other' } as typeof value.facts)) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'PCR values',
      { toService: inProof((value) => value.pcrValues[0]?.values[3]?.digest.fill(1)) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'the proof of the banks',
      { toService: inProof((value) => delete value.bankProof) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'the quote',
      { toService: inProof((value) => value.quote?.attest.fill(0, 20, 30)) },
      { reason: 'ENROLLMENT_PROOF_INVALID' },
    ],
    [
      'the answer',
      {
        toAgent: (message) =>
          isMessage(message, CompleteEnrollmentResponseSchema) ? { ...message, replacementPending: true } : message,
      },
      { code: 'untrusted_service' },
    ],
  ];
  it.each(CHANGED)('is not believed where he has both TLS keys and changes %s', async (_name, change, failure) => {
    await using between = await scene.middle({ own: await bareIdentity(victim.key), ...change });
    await expect(scene.enrol(victim, between.endpoint)).rejects.toMatchObject(failure);
  });
});

type Proof = Extract<ReturnType<typeof proofOf>, object>;

function proofOf(message: Message) {
  return isMessage(message, CompleteEnrollmentRequestSchema) && message.part.case === 'proof'
    ? message.part.value
    : null;
}

function inProof(change: (proof: Proof) => unknown): (message: Message) => Message {
  return (message) => {
    const proof = proofOf(message);
    if (proof !== null) change(proof);
    return message;
  };
}
