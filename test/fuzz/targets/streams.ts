import { create, fromBinary } from '@bufbuild/protobuf';
import type { MessageInitShape } from '@bufbuild/protobuf';

import { makeBareCertificate } from '../../../client/agent/tls-key.ts';
import { EncodedMessage } from '../../../proto/encoded-message.ts';
import {
  AttestRequestSchema,
  AttestResponseSchema,
  SubmitEvidenceRequestSchema,
} from '../../../proto/gen/assay/v1/attestation_pb.ts';
import { CompleteEnrollmentRequestSchema } from '../../../proto/gen/assay/v1/enrollment_pb.ts';
import type { LogKind } from '../../../proto/gen/assay/v1/evidence_pb.ts';
import { Sending } from '../../../proto/sending.ts';
import { StatusError } from '../../../proto/status.ts';
import type { Context } from '../../../proto/service.ts';
import type { Challenge } from '../../../server/attestation/messages.ts';
import { createChallenge } from '../../../server/attestation/single-round.ts';
import { EnrollmentLimits } from '../../../server/enrollment/enrollment-limits.ts';
import type { Access } from '../../../server/rpc/access.ts';
import { attestationHandlers } from '../../../server/rpc/attestation.ts';
import { enrollmentHandlers } from '../../../server/rpc/enrollment.ts';
import { translateError } from '../../../server/rpc/errors.ts';
import { evidenceMessage } from '../../server/rpc/agent-online.ts';
import { answerChallenge, answerEnrollment, chunksOf } from '../../support/evidence-builder.ts';
import type { Log } from '../../support/evidence-builder.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import { enrollMachine } from '../../support/stream-agent.ts';
import type { Machine } from '../../support/stream-agent.ts';
import { beginEnrollment, openHouse, putPolicy } from '../../support/test-service.ts';
import type { House } from '../../support/test-service.ts';
import { decodedBy, Mangler, Outgoing } from '../mangle-stream.ts';
import { BrokenPromise } from '../target.ts';
import type { Target } from '../target.ts';

const LOGS: readonly Log[] = [
  { kind: 'boot', data: Buffer.from('boot log '.repeat(40)) },
  { kind: 'ima', data: Buffer.alloc(9_000, 7) },
];
const CHUNK = 2_500;
/** Rounds of one stream. */
const ROUNDS = 2;

/**
 * Whole streams of a service without its network, of a host whose boot the policy does not allow. Whatever becomes of its
 * messages, it is never affirmed, it stays one host, and no other AK becomes its own.
 */
export function streamTargets(): Readonly<Record<string, () => Promise<Target>>> {
  return {
    attest: () => stage((scene, random) => scene.attest(random)),
    'submit-evidence': () => stage((scene, random) => scene.submitEvidence(random)),
    'complete-enrollment': () => stage((scene, random) => scene.completeEnrollment(random)),
  };
}

async function stage(play: (scene: Scene, random: SeededRandom) => Promise<unknown>): Promise<Target> {
  const scene = await Scene.open();
  return {
    corpus: [],
    next: (random) => random.bytes(4),
    run: async (input) => {
      const random = new SeededRandom(input.length < 4 ? 0 : input.readUInt32LE());
      try {
        await play(scene, random);
        return 'taken';
      } catch (error) {
        if (error instanceof StatusError || translateError(error) !== undefined) return 'refused';
        throw error;
      } finally {
        await scene.check();
      }
    },
    [Symbol.asyncDispose]: () => scene.close(),
  };
}

class Scene {
  readonly #house: House;
  readonly #bad: Machine;
  /** Of the TLS key of that machine, as no CA signed it. */
  readonly #certificate: Buffer;
  readonly #stranger = new SoftwareTpm();
  readonly #attestation: ReturnType<typeof attestationHandlers>;
  readonly #enrollment: ReturnType<typeof enrollmentHandlers>;

  private constructor(house: House, bad: Machine, certificate: Buffer) {
    this.#house = house;
    this.#certificate = certificate;
    this.#bad = bad;
    const caller = { kind: 'host', ...this.#caller() };
    const access = {
      agent: () => caller,
      caller: () => ({ kind: 'anonymous', refusal: '' }),
      keepChecking: () => ({ [Symbol.dispose]: () => undefined }),
    } as unknown as Access;
    const authorityCertificate = house.keys.current.authority.certificate;
    this.#attestation = attestationHandlers({ access, services: house.services, authorityCertificate });
    const limits = new EnrollmentLimits(() => house.store.now());
    const { beginner, complete } = house;
    this.#enrollment = enrollmentHandlers({ access, beginner, complete, limits, authorityCertificate });
  }

  static async open(): Promise<Scene> {
    const house = await openHouse();
    await putPolicy(house.store);
    const bad = await enrollMachine(house);
    bad.tpm.extend(7);
    const certificate = await makeBareCertificate(bad.tls.privateKey, { now: new Date(), serial: Buffer.alloc(16, 1) });
    return new Scene(house, bad, certificate);
  }

  async close(): Promise<void> {
    await this.#house[Symbol.asyncDispose]();
  }

  async check(): Promise<void> {
    const { store, clock, faults } = this.#house;
    // Limits on enrolment have tests of their own.
    clock.advance(10_000);
    const result = await store.getResult(this.#bad.id);
    if (result?.status === 'affirming') throw new BrokenPromise('a host that the policy does not allow is affirmed');
    const { items } = await store.listHosts({ limit: 10, after: '' }, { states: [], matchLabels: {}, scope: {} });
    if (items.length !== 1 || items[0]?.ak.name !== this.#bad.ak.name.toString('hex'))
      throw new BrokenPromise('an AK that nobody approved is a host’s');
    if (faults.length > 0) throw new BrokenPromise('the change feed failed', { cause: faults[0] });
  }

  /** Some of the rounds begin with a reboot: then everything is asked for, logs among it. */
  async attest(random: SeededRandom): Promise<void> {
    const mangler = new Mangler(random, AttestRequestSchema);
    const { tpm, ak } = this.#bad;
    if (random.below(3) === 0) this.#reboot();
    const outgoing = new Outgoing();
    const send = (init: MessageInitShape<typeof AttestRequestSchema>): void => {
      for (const body of mangler.mangle(create(AttestRequestSchema, init))) outgoing.push(body);
    };
    const { resetCount, restartCount } = tpm.clockInfo;
    send({ part: { case: 'hello', value: { akName: ak.name, bootState: { resetCount, restartCount } } } });
    // What was dropped is not waited for: the agent ends its stream, and the service what it waits for.
    if (outgoing.empty) outgoing.close();
    let rounds = 0;
    const requests = decodedBy(AttestRequestSchema, outgoing);
    await sendingOf(this.#attestation.attest(requests, this.#context())).produce((answer) => {
      const { part } = answerOf(answer);
      if (part?.case === 'result' && (rounds += 1) >= ROUNDS) outgoing.close();
      else if (part?.case !== 'challenge') {
        // The next challenge is wished for, or the stream would wait for its interval.
        this.#house.clock.advance(2_000);
        send({ part: { case: 'wish', value: { reason: 'now' } } });
        if (random.below(2) === 0) outgoing.close();
      } else {
        const challenge = fromProto(part.value);
        const logs = LOGS.filter(({ kind }) =>
          challenge.logs.some((asked) => asked.kind === kind && asked.offset === 0),
        );
        send({ part: { case: 'evidence', value: evidenceMessage(this.#answer(challenge, logs)) } });
        for (const chunk of logs.flatMap((log) => chunksOf(log, CHUNK)))
          send({ part: { case: 'chunk', value: protoChunk(chunk) } });
        if (random.below(3) === 0) outgoing.close();
        else outgoing.closeWhenRead();
      }
      return Promise.resolve();
    });
  }

  async submitEvidence(random: SeededRandom): Promise<void> {
    if (random.below(3) === 0) this.#reboot();
    const { ak, tpm } = this.#bad;
    const { resetCount, restartCount } = tpm.clockInfo;
    const hello = { akName: ak.name.toString('hex'), boot: { resetCount, restartCount } };
    const { challenge, token } = await createChallenge(this.#house.services, this.#caller(), hello);
    const logs = LOGS.filter(({ kind }) => challenge.logs.some((asked) => asked.kind === kind && asked.offset === 0));
    const evidence = evidenceMessage(this.#answer(challenge, logs));
    const messages: MessageInitShape<typeof SubmitEvidenceRequestSchema>[] = [
      { part: { case: 'submission', value: { token, evidence } } },
      ...logs.flatMap((log) =>
        chunksOf(log, CHUNK).map((chunk) => ({ part: { case: 'chunk' as const, value: protoChunk(chunk) } })),
      ),
    ];
    const mangler = new Mangler(random, SubmitEvidenceRequestSchema);
    const bodies = messages.flatMap((init) => mangler.mangle(create(SubmitEvidenceRequestSchema, init)));
    await this.#attestation.submitEvidence(decodedBy(SubmitEvidenceRequestSchema, bodies), this.#context());
  }

  /** Another AK of the same TPM, which waits for an operator, or the AK of another TPM, which is refused. */
  async completeEnrollment(random: SeededRandom): Promise<void> {
    const { tpm } = this.#bad;
    const ak = (random.below(2) === 0 ? tpm : this.#stranger).createAk();
    const { challenge, transcript, tls } = await beginEnrollment(this.#house, tpm, ak, { tls: this.#bad.tls });
    const proof = answerEnrollment(tpm, ak, challenge, { transcript, logs: LOGS });
    const { hmac, token, pcrValues, bankProof, facts, attest, signature, logs } = proof;
    const evidence = evidenceMessage({
      attest,
      signature,
      pcrValues,
      bankProof,
      facts,
      logs,
      newTlsPublicKey: Buffer.alloc(0),
    });
    delete (evidence as { newTlsPublicKey?: unknown }).newTlsPublicKey;
    const messages: MessageInitShape<typeof CompleteEnrollmentRequestSchema>[] = [
      { part: { case: 'proof', value: { ...evidence, hmac, token } } },
      ...LOGS.flatMap((log) =>
        chunksOf(log, CHUNK).map((chunk) => ({ part: { case: 'chunk' as const, value: protoChunk(chunk) } })),
      ),
    ];
    const mangler = new Mangler(random, CompleteEnrollmentRequestSchema);
    const bodies = messages.flatMap((init) => mangler.mangle(create(CompleteEnrollmentRequestSchema, init)));
    const context = this.#context({ tlsKeySha256: tls.sha256, certificate: this.#certificate });
    await this.#enrollment.completeEnrollment(decodedBy(CompleteEnrollmentRequestSchema, bodies), context);
  }

  #reboot(): void {
    this.#bad.tpm.reset();
    this.#bad.tpm.extend(7);
  }

  #answer(challenge: Challenge, logs: readonly Log[]) {
    const { tpm, ak, id: hostId, tls } = this.#bad;
    return answerChallenge(tpm, ak, challenge, { hostId, tlsKeySha256: tls.sha256.toString('hex'), logs });
  }

  #caller() {
    const { id: hostId, tls } = this.#bad;
    return { hostId, tlsKeySha256: tls.sha256.toString('hex'), expires: Number.MAX_SAFE_INTEGER };
  }

  #context(peer: object = {}): Context {
    return {
      signal: new AbortController().signal,
      draining: new AbortController().signal,
      peer: { address: '127.0.0.1', port: 1, ...peer },
    } as unknown as Context;
  }
}

type Answer = MessageInitShape<typeof AttestResponseSchema> | EncodedMessage<typeof AttestResponseSchema>;

function sendingOf(answers: unknown): Sending<Answer> {
  if (answers instanceof Sending) return answers as Sending<Answer>;
  throw new TypeError('the handler sends its messages by itself no longer');
}

function answerOf(answer: Answer): MessageInitShape<typeof AttestResponseSchema> {
  return answer instanceof EncodedMessage ? fromBinary(AttestResponseSchema, answer.bytes) : answer;
}

function protoChunk({ kind, offset, data }: ReturnType<typeof chunksOf>[number]) {
  return { kind: { boot: 1, userspace: 2, ima: 3 }[kind] as LogKind, offset: BigInt(offset), data };
}

function fromProto(value: unknown): Challenge {
  const { nonce, selection, allBanks, logs } = value as {
    readonly nonce: Uint8Array;
    readonly selection: readonly { readonly algorithm: number; readonly pcrs: readonly number[] }[];
    readonly allBanks: boolean;
    readonly logs: readonly { readonly kind: number; readonly offset: bigint }[];
  };
  const kinds = ['boot', 'boot', 'userspace', 'ima'] as const;
  return {
    nonce: Buffer.from(nonce),
    selection: allBanks ? 'all' : selection.map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs })),
    logs: logs.map(({ kind, offset }) => ({ kind: kinds[kind] ?? 'ima', offset: Number(offset) })),
    time: 0,
  };
}
