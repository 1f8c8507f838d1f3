import type { ClaimedFacts, LogAnnouncement, PcrReading } from '../../proto/transcript.ts';
import { LogKind as ProtoLogKind } from '../../proto/gen/assay/v1/evidence_pb.ts';
import type {
  BankProof as ProtoBankProof,
  ClaimedFacts as ProtoFacts,
  Evidence as ProtoEvidence,
  LogChunk as ProtoChunk,
  LogDescriptor,
  PcrBankValues,
  Quote,
} from '../../proto/gen/assay/v1/evidence_pb.ts';
import { HASH_ALGORITHMS, IMPLEMENTATION_PCR } from '../../tpm/structures/constants.ts';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import { CHALLENGE_LIFETIME } from '../attestation/challenge.ts';
import type { Challenge, RoundEvidence } from '../attestation/messages.ts';
import type { LogKind } from '../store/records.ts';
import { MAX_CHUNK_BYTES } from '../verifier/collect-logs.ts';
import type { AnnouncedLog, LogChunk } from '../verifier/collect-logs.ts';
import type { BankProof } from '../verifier/verify-evidence.ts';
import { bytes, invalid, required, safeInteger, text } from './invalid.ts';

const MAX_ATTEST = 1024;
const MAX_SIGNATURE = 1024;
const MAX_CAPABILITY = 1024;
const MAX_BANKS = 16;
const MAX_LOGS = 3;
const MAX_SPKI = 1024;

/** What enrolment and rounds have in common. */
type QuotedEvidence = Omit<RoundEvidence, 'newTlsPublicKey'>;

interface ProtoQuoted {
  readonly quote?: Quote | undefined;
  readonly pcrValues: readonly PcrBankValues[];
  readonly facts?: ProtoFacts | undefined;
  readonly logs: readonly LogDescriptor[];
  readonly bankProof?: ProtoBankProof | undefined;
}

/** Evidence of an enrolment, with what its HMAC covers as it came. `path` leads to the message in the request. */
export function evidenceFromProto(
  message: ProtoQuoted,
  path: string,
): QuotedEvidence & { readonly readings: readonly PcrReading[]; readonly announcements: readonly LogAnnouncement[] } {
  return {
    ...quotedFromProto(message, path),
    readings: message.pcrValues.flatMap(({ algorithm, values }) =>
      values.map(({ index, digest }) => ({ algorithm, index, digest })),
    ),
    announcements: message.logs.map(({ kind, offset, size, sha256, unreadable }) => ({
      kind,
      offset,
      size,
      sha256,
      unreadable,
    })),
  };
}

export function roundEvidenceFromProto(message: ProtoEvidence, path: string): RoundEvidence {
  return {
    ...quotedFromProto(message, path),
    newTlsPublicKey: bytes(message.newTlsPublicKey, `${path}.new_tls_public_key`, { max: MAX_SPKI }),
  };
}

function quotedFromProto(message: ProtoQuoted, path: string): QuotedEvidence {
  const quote = required(message.quote, `${path}.quote`);
  const values = pcrValues(message.pcrValues, `${path}.pcr_values`);
  if (message.logs.length > MAX_LOGS) throw invalid(`${path}.logs`, `has more than ${MAX_LOGS} entries`);
  return {
    attest: bytes(quote.attest, `${path}.quote.attest`, { min: 1, max: MAX_ATTEST }),
    signature: bytes(quote.signature, `${path}.quote.signature`, { min: 1, max: MAX_SIGNATURE }),
    pcrValues: values,
    bankProof: message.bankProof === undefined ? null : bankProof(message.bankProof, `${path}.bank_proof`),
    facts: facts(required(message.facts, `${path}.facts`), `${path}.facts`),
    logs: message.logs.map((log, index) => announcedLog(log, `${path}.logs[${index}]`)),
  };
}

export function logChunkFromProto(chunk: ProtoChunk, path: string): LogChunk {
  return {
    kind: logKind(chunk.kind, `${path}.kind`),
    offset: safeInteger(chunk.offset, `${path}.offset`),
    data: bytes(chunk.data, `${path}.data`, { min: 1, max: MAX_CHUNK_BYTES }),
  };
}

export function challengeToProto({ nonce, selection, logs }: Challenge) {
  const all = selection === 'all';
  return {
    nonce,
    selection: all ? [] : selection.map(({ hash, pcrs }) => ({ algorithm: hash, pcrs: [...pcrs] })),
    allBanks: all,
    logs: logs.map(({ kind, offset }) => ({ kind: PROTO_LOG_KINDS[kind], offset: BigInt(offset) })),
    deadlineSeconds: CHALLENGE_LIFETIME / 1000,
  };
}

function pcrValues(banks: readonly PcrBankValues[], path: string): PcrValues {
  if (banks.length > MAX_BANKS) throw invalid(path, `has more than ${MAX_BANKS} banks`);
  const values = new Map<number, Map<number, Buffer>>();
  for (const [position, { algorithm, values: given }] of banks.entries()) {
    const hash = HASH_ALGORITHMS.get(algorithm);
    const field = `${path}[${position}]`;
    if (hash === undefined) throw invalid(`${field}.algorithm`, 'is no hash that is known here');
    if (values.has(algorithm)) throw invalid(`${field}.algorithm`, 'occurs twice');
    if (given.length > IMPLEMENTATION_PCR)
      throw invalid(`${field}.values`, `has more than ${IMPLEMENTATION_PCR} values`);
    const bank = new Map<number, Buffer>();
    for (const [place, { index, digest }] of given.entries()) {
      if (index >= IMPLEMENTATION_PCR || bank.has(index))
        throw invalid(`${field}.values[${place}].index`, 'is no PCR, or occurs twice');
      bank.set(index, bytes(digest, `${field}.values[${place}].digest`, { min: hash.size, max: hash.size }));
    }
    values.set(algorithm, bank);
  }
  return values;
}

function announcedLog(log: LogDescriptor, path: string): AnnouncedLog {
  const size = safeInteger(log.size, `${path}.size`);
  const unreadable = text(log.unreadable, `${path}.unreadable`, 256);
  if (unreadable !== '' && size !== 0) throw invalid(`${path}.size`, 'must be 0 for a log that is unreadable');
  return {
    kind: logKind(log.kind, `${path}.kind`),
    offset: safeInteger(log.offset, `${path}.offset`),
    size,
    sha256: size === 0 ? Buffer.alloc(0) : bytes(log.sha256, `${path}.sha256`, { min: 32, max: 32 }),
    unreadable,
  };
}

function bankProof(proof: ProtoBankProof, path: string): BankProof {
  return {
    capabilityData: bytes(proof.capabilityData, `${path}.capability_data`, { max: MAX_CAPABILITY }),
    attest: bytes(proof.attest, `${path}.attest`, { max: MAX_ATTEST }),
    signature: bytes(proof.signature, `${path}.signature`, { max: MAX_SIGNATURE }),
  };
}

function facts(message: ProtoFacts, path: string): ClaimedFacts {
  return {
    hostname: text(message.hostname, `${path}.hostname`, 253),
    os: text(message.os, `${path}.os`, 256),
    kernel: text(message.kernel, `${path}.kernel`, 256),
    agentVersion: text(message.agentVersion, `${path}.agent_version`, 64),
    bootId: text(message.bootId, `${path}.boot_id`, 64),
  };
}

const LOG_KINDS: ReadonlyMap<ProtoLogKind, LogKind> = new Map<ProtoLogKind, LogKind>([
  [ProtoLogKind.BOOT, 'boot'],
  [ProtoLogKind.USERSPACE, 'userspace'],
  [ProtoLogKind.IMA, 'ima'],
]);

export const PROTO_LOG_KINDS: Readonly<Record<LogKind, ProtoLogKind>> = {
  boot: ProtoLogKind.BOOT,
  userspace: ProtoLogKind.USERSPACE,
  ima: ProtoLogKind.IMA,
};

function logKind(kind: ProtoLogKind, field: string): LogKind {
  const known = LOG_KINDS.get(kind);
  if (known === undefined) throw invalid(field, 'is no log that is known here');
  return known;
}
