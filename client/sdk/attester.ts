import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { AttestationService as AttestationDescriptor } from '../../proto/gen/assay/v1/attestation_pb.ts';
import type {
  AttestRequestSchema,
  AttestResponse,
  VerdictConfirmation,
} from '../../proto/gen/assay/v1/attestation_pb.ts';
import type { AttestationResult as ResultMessage } from '../../proto/gen/assay/v1/attestation_result_pb.ts';
import {
  EnrollmentService as EnrollmentDescriptor,
  type BeginEnrollmentResponseSchema,
  type CompleteEnrollmentRequestSchema,
  type CompleteEnrollmentResponseSchema,
} from '../../proto/gen/assay/v1/enrollment_pb.ts';
import type {
  EvidenceSchema,
  LogChunkSchema,
  LogDescriptorSchema,
  LogKind,
  PcrBankValuesSchema,
} from '../../proto/gen/assay/v1/evidence_pb.ts';
import type { LogAnnouncement, PcrReading } from '../../proto/transcript.ts';
import type { Connection } from './connection.ts';
import { fromProtoHost, fromProtoResult, required } from './convert.ts';
import type {
  AttestationService,
  AttestIncoming,
  AttestOutgoing,
  Challenge,
  EnrollmentAnswer,
  EnrollmentChallenge,
  EnrollmentPart,
  EnrollmentService,
  Evidence,
  LogChunk,
} from './evidence.ts';
import { SdkError } from './sdk-error.ts';

/** The two services of an Attester over one connection. */

const BEGIN_TIMEOUT_MS = 30_000;
/** Opening the credentials, quoting and sending the logs has to fit into the token's life; the answer comes soon after. */
const COMPLETE_TIMEOUT_MS = 120_000;

export function enrollmentService(connection: Connection): EnrollmentService {
  const client = connection.channel.client(EnrollmentDescriptor);
  return {
    begin: async (request, signal) => {
      const init = {
        endorsementKeys: request.endorsementKeys.map((ek) => ({ ...ek, chain: [...ek.chain] })),
        akPublicArea: request.akPublicArea,
        parentIndex: request.parentIndex,
      };
      return fromProtoChallenge(
        await client.beginEnrollment(init, connection.call({ signal, timeoutMillis: BEGIN_TIMEOUT_MS })),
      );
    },
    complete: async (parts, signal) => {
      const requests = mapped(parts, toProtoEnrollmentPart);
      const call = connection.call({ signal, timeoutMillis: COMPLETE_TIMEOUT_MS });
      return fromProtoAnswer(await client.completeEnrollment(requests, call));
    },
  };
}

export function attestationService(connection: Connection): AttestationService {
  const client = connection.channel.client(AttestationDescriptor);
  return {
    attest: (outgoing, signal) => incoming(client.attest(mapped(outgoing, toProtoAttestRequest), { signal })),
  };
}

async function* incoming(responses: AsyncIterable<AttestResponse>): AsyncGenerator<AttestIncoming> {
  let last: ResultMessage | undefined;
  for await (const { part } of responses) {
    if (part.case === 'result') last = part.value;
    if (part.case === 'confirmation') last = confirmed(last, part.value);
    const message = fromProtoPart(part, last);
    if (message !== undefined) yield message;
  }
}

/** A confirmation tells what has moved of the result that the stream brought last. */
function confirmed(last: ResultMessage | undefined, confirmation: VerdictConfirmation): ResultMessage {
  const { revision, evidenceDigest, challengeTime, validUntil, confirmations } = confirmation;
  if (last?.revision !== revision)
    throw new SdkError('bad_answer', 'the service confirms a result that it did not send on this stream');
  return {
    ...last,
    evidenceDigest,
    confirmations,
    ...(challengeTime === undefined ? {} : { challengeTime }),
    ...(validUntil === undefined ? {} : { validUntil }),
  };
}

async function* mapped<A, B>(source: AsyncIterable<A>, convert: (item: A) => B): AsyncGenerator<B> {
  for await (const item of source) yield convert(item);
}

function fromProtoChallenge(message: MessageShape<typeof BeginEnrollmentResponseSchema>): EnrollmentChallenge {
  return {
    enrollmentId: Buffer.from(message.enrollmentId),
    nonce: Buffer.from(message.nonce),
    credentials: message.credentials.map(({ credentialBlob, encryptedSecret }) => ({
      credentialBlob: Buffer.from(credentialBlob),
      encryptedSecret: Buffer.from(encryptedSecret),
    })),
    tlsKeySha256: Buffer.from(message.tlsKeySha256),
    expireMillis: message.expireTime === undefined ? undefined : timestampMs(message.expireTime),
    token: Buffer.from(message.token),
    serviceCertificate: Buffer.from(message.serviceCertificate),
    authorityCertificate: Buffer.from(message.authorityCertificate),
    signature: Buffer.from(message.signature),
  };
}

function fromProtoAnswer(message: MessageShape<typeof CompleteEnrollmentResponseSchema>): EnrollmentAnswer {
  const host = required(message.host, 'host');
  return {
    hostId: host.name.replace(/^hosts\//, ''),
    state: fromProtoHost(host).state,
    stateNumber: host.state,
    akCertificate: Buffer.from(message.akCertificate),
    clientCertificate: Buffer.from(message.clientCertificate),
    authorityCertificate: Buffer.from(message.authorityCertificate),
    hmac: Buffer.from(message.hmac),
    serviceCertificate: Buffer.from(message.serviceCertificate),
    signature: Buffer.from(message.signature),
    replacementPending: message.replacementPending,
  };
}

/** @param result that the stream has brought last, confirmations included */
function fromProtoPart(part: AttestResponse['part'], result: ResultMessage | undefined): AttestIncoming | undefined {
  switch (part.case) {
    case 'challenge': {
      const { nonce, selection, allBanks, logs, deadlineSeconds } = part.value;
      const challenge: Challenge = {
        nonce: Buffer.from(nonce),
        selection: selection.map(({ algorithm, pcrs }) => ({ hash: algorithm, pcrs })),
        allBanks,
        logs: logs.map(({ kind, offset }) => ({ kind, offset: Number(offset) })),
        deadlineSeconds,
      };
      return { kind: 'challenge', challenge };
    }
    case 'result':
    case 'confirmation':
      return { kind: 'result', result: fromProtoResult(required(result, 'result')) };
    case 'pending':
      return { kind: 'pending', message: part.value.message };
    case 'torn':
      return { kind: 'torn', reason: part.value.reason, attempt: part.value.attempt };
    case 'renewal':
      return {
        kind: 'renewal',
        clientCertificate: Buffer.from(part.value.clientCertificate),
        authorityCertificate: Buffer.from(part.value.authorityCertificate),
      };
    case undefined:
      // A message of a later release of the service.
      return undefined;
  }
}

function toProtoEnrollmentPart(part: EnrollmentPart): MessageInitShape<typeof CompleteEnrollmentRequestSchema> {
  if (part.kind === 'chunk') return { part: { case: 'chunk', value: toProtoChunk(part.chunk) } };
  const { token, hmac, quote, pcrValues, bankProof, facts, logs } = part.proof;
  const value = {
    token,
    hmac,
    quote,
    pcrValues: toProtoPcrValues(pcrValues),
    bankProof,
    facts,
    logs: logs.map(toProtoLog),
  };
  return { part: { case: 'proof', value } };
}

function toProtoAttestRequest(message: AttestOutgoing): MessageInitShape<typeof AttestRequestSchema> {
  switch (message.kind) {
    case 'hello': {
      const { akName, bootState, agentVersion } = message;
      return { part: { case: 'hello', value: { akName, bootState, agentVersion } } };
    }
    case 'evidence':
      return { part: { case: 'evidence', value: toProtoEvidence(message.evidence) } };
    case 'chunk':
      return { part: { case: 'chunk', value: toProtoChunk(message.chunk) } };
    case 'wish':
      return { part: { case: 'wish', value: { reason: message.reason } } };
  }
}

function toProtoEvidence(evidence: Evidence): MessageInitShape<typeof EvidenceSchema> {
  return {
    quote: evidence.quote,
    pcrValues: toProtoPcrValues(evidence.pcrValues),
    facts: evidence.facts,
    logs: evidence.logs.map(toProtoLog),
    newTlsPublicKey: evidence.newTlsPublicKey,
    ...(evidence.bankProof === undefined ? {} : { bankProof: evidence.bankProof }),
  };
}

/** Readings of one bank stand together already; their order is the one that the digests have. */
function toProtoPcrValues(readings: readonly PcrReading[]): MessageInitShape<typeof PcrBankValuesSchema>[] {
  const banks = new Map<number, { index: number; digest: Uint8Array }[]>();
  for (const { algorithm, index, digest } of readings) {
    const values = banks.get(algorithm) ?? [];
    values.push({ index, digest });
    banks.set(algorithm, values);
  }
  return [...banks].map(([algorithm, values]) => ({ algorithm, values }));
}

function toProtoLog(log: LogAnnouncement): MessageInitShape<typeof LogDescriptorSchema> {
  const { kind, offset, size, sha256, unreadable } = log;
  return { kind: toLogKind(kind), offset: BigInt(offset), size: BigInt(size), sha256, unreadable };
}

function toProtoChunk({ kind, offset, data }: LogChunk): MessageInitShape<typeof LogChunkSchema> {
  return { kind: toLogKind(kind), offset: BigInt(offset), data };
}

/** Enums of proto3 are open: a kind of log that only a later release of the service knows goes back as it came. */
function toLogKind(kind: number): LogKind {
  return kind as LogKind;
}
