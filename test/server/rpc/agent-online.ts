/** The agent's calls over the wire, with messages that a test makes as it likes. */
import { announcementOf, answerChallenge } from '../../support/evidence-builder.ts';
import type { MessageInitShape } from '@bufbuild/protobuf';

import type { Channel } from '../../../proto/client.ts';
import { AttestationService } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import type { AttestRequestSchema, SubmitEvidenceRequestSchema } from '../../../proto/gen/assay/v1/attestation_pb.ts';
import { EnrollmentService } from '../../../proto/gen/assay/v1/enrollment_pb.ts';
import type { CompleteEnrollmentRequestSchema } from '../../../proto/gen/assay/v1/enrollment_pb.ts';
import { LogKind } from '../../../proto/gen/assay/v1/evidence_pb.ts';
import type { Challenge } from '../../../proto/gen/assay/v1/evidence_pb.ts';
import type { TlsIdentity } from '../../../proto/tls-identity.ts';
import type { RoundEvidence } from '../../../server/attestation/messages.ts';
import { all } from '../../support/rpc.ts';
import { startAssay, tlsIdentity } from '../../support/running-service.ts';
import type { Running } from '../../support/running-service.ts';
import { SoftwareTpm } from '../../support/software-tpm.ts';
import type { SoftwareAk } from '../../support/software-tpm.ts';
import { enroll, putPolicy } from '../../support/test-service.ts';

export type AttestPart = MessageInitShape<typeof AttestRequestSchema>;
type SubmitPart = MessageInitShape<typeof SubmitEvidenceRequestSchema>;
type CompletePart = MessageInitShape<typeof CompleteEnrollmentRequestSchema>;

/** Evidence as it travels; any part may be left out. */
export interface EvidenceMessage {
  readonly quote?: { readonly attest?: Uint8Array; readonly signature?: Uint8Array };
  readonly pcrValues?: { algorithm: number; values?: { index: number; digest: Uint8Array }[] }[];
  readonly facts?: {
    readonly hostname: string;
    readonly os: string;
    readonly kernel: string;
    readonly agentVersion: string;
    readonly bootId: string;
  };
  readonly logs?: { kind: LogKind; offset: bigint; size: bigint; sha256: Uint8Array; unreadable: string }[];
  readonly bankProof?: {
    readonly capabilityData: Uint8Array;
    readonly attest?: Uint8Array;
    readonly signature?: Uint8Array;
  };
  readonly newTlsPublicKey?: Uint8Array;
}

/** A service with one enrolled host, and its agent's channel. */
export interface AgentOnline {
  readonly running: Running;
  readonly agent: Channel;
  /** What the agent connects with. */
  readonly identity: TlsIdentity;
  readonly tpm: SoftwareTpm;
  readonly ak: SoftwareAk;
  readonly hostId: string;
  /** Hex. */
  readonly tlsKeySha256: string;
  hello(): { akName: Uint8Array; bootState: { resetCount: number; restartCount: number } };
  submit(...messages: SubmitPart[]): Promise<MessageOf<'submitEvidence'>>;
  attest(...messages: AttestPart[]): Promise<unknown>;
  complete(...messages: CompletePart[]): Promise<unknown>;
  /** One honest round without a stream. */
  round(): Promise<MessageOf<'submitEvidence'>>;
}

type MessageOf<Name extends 'submitEvidence'> = Awaited<ReturnType<ReturnType<typeof attestationClient>[Name]>>;

function attestationClient(channel: Channel) {
  return channel.client(AttestationService);
}

export async function goOnline(): Promise<AgentOnline> {
  const running = await startAssay();
  await putPolicy(running.house.store);
  const tpm = new SoftwareTpm();
  const ak = tpm.createAk();
  const { host, tls, clientCertificate } = await enroll(running.house, tpm, ak);
  const identity = tlsIdentity(tls, clientCertificate);
  const agent = running.connect(identity);
  const online: AgentOnline = {
    running,
    agent,
    identity,
    tpm,
    ak,
    hostId: host.id,
    tlsKeySha256: tls.sha256.toString('hex'),
    hello: () => {
      const { resetCount, restartCount } = tpm.clockInfo;
      return { akName: ak.name, bootState: { resetCount, restartCount } };
    },
    submit: (...messages) => attestationClient(agent).submitEvidence(only(messages)),
    attest: (...messages) => all(attestationClient(agent).attest(only(messages))),
    complete: (...messages) => agent.client(EnrollmentService).completeEnrollment(only(messages)),
    round: async () => {
      const { challenge, token } = await attestationClient(agent).createChallenge(online.hello());
      if (challenge === undefined) throw new TypeError('no challenge');
      const evidence = answerTo(online, challenge);
      return online.submit({ part: { case: 'submission', value: { token, evidence } } });
    },
  };
  return online;
}

const LOG_KINDS = new Map<LogKind, 'boot' | 'userspace' | 'ima'>([
  [LogKind.BOOT, 'boot'],
  [LogKind.USERSPACE, 'userspace'],
  [LogKind.IMA, 'ima'],
]);

/** The honest answer of a host without logs. */
export function answerTo(online: AgentOnline, { nonce, selection, logs, allBanks }: Challenge): EvidenceMessage {
  const asked = {
    nonce: Buffer.from(nonce),
    selection: allBanks ? ('all' as const) : selection.map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs })),
    logs: logs.map(({ kind, offset }) => ({ kind: LOG_KINDS.get(kind) ?? 'ima', offset: Number(offset) })),
  };
  return evidenceMessage(answerChallenge(online.tpm, online.ak, asked, online));
}

export function evidenceMessage({
  attest,
  signature,
  pcrValues,
  facts,
  newTlsPublicKey,
  bankProof,
  logs,
}: RoundEvidence): EvidenceMessage {
  const values = [...pcrValues].map(([algorithm, bank]) => ({
    algorithm,
    values: [...bank].map(([index, digest]) => ({ index, digest })),
  }));
  return {
    quote: { attest, signature },
    pcrValues: values,
    facts: { ...facts },
    newTlsPublicKey,
    logs: logs.map((log) => {
      const { kind, offset, size, sha256, unreadable } = announcementOf(log);
      return { kind: kind as LogKind, offset: BigInt(offset), size: BigInt(size), sha256, unreadable };
    }),
    ...(bankProof === null ? {} : { bankProof }),
  };
}

async function* only<T>(messages: readonly T[]): AsyncGenerator<T, void, undefined> {
  yield* messages;
}
