/** Evidence as an honest agent makes it; a test changes one field of it. */
import { createHash, generateKeyPairSync } from 'node:crypto';

import {
  attestationBinding,
  bankProofBinding,
  enrollmentKey,
  enrollmentProofMac,
  enrollmentQuoteBinding,
  factsDigest,
} from '../../proto/transcript.ts';
import type { ClaimedFacts, LogAnnouncement, PcrReading } from '../../proto/transcript.ts';
import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import { signingKeyOf } from '../../tpm/crypto/verify-signature.ts';
import type { Challenge, RoundEvidence } from '../../server/attestation/messages.ts';
import type { BeginRequest, EnrollmentChallenge } from '../../server/enrollment/begin.ts';
import type { EnrollmentProof } from '../../server/enrollment/prove.ts';
import type { LogKind } from '../../server/store/records.ts';
import type { AnnouncedLog, LogChunk } from '../../server/verifier/collect-logs.ts';
import type { Evidence, EvidenceDemand } from '../../server/verifier/verify-evidence.ts';
import type { BankRequest, QuoteRequest, SoftwareAk, SoftwareTpm } from './software-tpm.ts';

export const FACTS: ClaimedFacts = {
  hostname: 'node-7',
  os: 'Debian GNU/Linux 12',
  kernel: '6.1.0-28-amd64',
  agentVersion: '0.1.0',
  bootId: '0d3b0b64-40a5-4bd1-a6e5-7e8de6b2e6d1',
};

/** What a TPM states in place of the truth. */
export interface Lies {
  readonly quote?: NonNullable<QuoteRequest['lie']>;
  readonly banks?: NonNullable<BankRequest['lie']>;
}

/** Evidence over every active bank that answers `demand`, as it is at enrolment and after a reset. */
export function makeEvidence(tpm: SoftwareTpm, ak: SoftwareAk, extraData: Buffer, lies: Lies = {}): Evidence {
  return {
    ...tpm.quote(ak, { extraData, ...(lies.quote === undefined ? {} : { lie: lies.quote }) }),
    pcrValues: tpm.read(),
    bankProof: tpm.proveBanks(ak, {
      extraData: bankProofBinding(extraData),
      ...(lies.banks === undefined ? {} : { lie: lies.banks }),
    }),
  };
}

export function demandOf(ak: SoftwareAk, extraData: Buffer, change: Partial<EvidenceDemand> = {}): EvidenceDemand {
  return {
    ak: { signingKey: signingKeyOf(ak.publicArea), qualifiedName: ak.qualifiedName },
    extraData,
    bankExtraData: bankProofBinding(extraData),
    selection: 'all',
    lastClock: null,
    ...change,
  };
}

export interface Log {
  readonly kind: LogKind;
  readonly data: Buffer;
  readonly offset?: number;
}

export function announce({ kind, data, offset = 0 }: Log): AnnouncedLog {
  const sha256 = data.length === 0 ? Buffer.alloc(0) : createHash('sha256').update(data).digest();
  return { kind, offset, size: data.length, sha256, unreadable: '' };
}

/** The chunks of a log, at most `size` bytes each. */
export function chunksOf({ kind, data, offset = 0 }: Log, size = 64 * 1024): readonly LogChunk[] {
  return Array.from({ length: Math.ceil(data.length / size) }, (_, index) => ({
    kind,
    offset: offset + index * size,
    data: data.subarray(index * size, (index + 1) * size),
  }));
}

/** Gives chunks one at a time, then null. */
export function feedOf(chunks: readonly LogChunk[]): () => Promise<LogChunk | null> {
  const left = [...chunks];
  return () => Promise.resolve(left.shift() ?? null);
}

export interface RoundOptions {
  readonly hostId: string;
  /** Hex. */
  readonly tlsKeySha256: string;
  readonly newTlsPublicKey?: Buffer;
  readonly logs?: readonly Log[];
  readonly facts?: ClaimedFacts;
  /** Runs between quote and read. */
  readonly afterQuote?: () => void;
  readonly lie?: NonNullable<QuoteRequest['lie']>;
  readonly bankLie?: NonNullable<BankRequest['lie']>;
}

/** The answer to a challenge of a round. */
export function answerChallenge(
  tpm: SoftwareTpm,
  ak: SoftwareAk,
  challenge: Pick<Challenge, 'nonce' | 'selection'> & Partial<Pick<Challenge, 'logs'>>,
  options: RoundOptions,
): RoundEvidence {
  const { newTlsPublicKey = Buffer.alloc(0), logs = [], facts = FACTS, lie, bankLie } = options;
  const extraData = attestationBinding({
    nonce: challenge.nonce,
    hostId: options.hostId,
    tlsKeySha256: Buffer.from(options.tlsKeySha256, 'hex'),
    facts: factsDigest(facts, newTlsPublicKey),
  });
  const selection = challenge.selection === 'all' ? tpm.activeBanks : challenge.selection;
  const quote = tpm.quote(ak, { extraData, selection, ...(lie === undefined ? {} : { lie }) });
  const bankProof =
    challenge.selection === 'all'
      ? tpm.proveBanks(ak, {
          extraData: bankProofBinding(extraData),
          ...(bankLie === undefined ? {} : { lie: bankLie }),
        })
      : null;
  options.afterQuote?.();
  // Of a log that was asked for and is not given, the host says why.
  const unreadable = (challenge.logs ?? [])
    .filter(({ kind }) => !logs.some((log) => log.kind === kind))
    .map(({ kind, offset }) => ({ kind, offset, size: 0, sha256: Buffer.alloc(0), unreadable: 'no such file' }));
  const announced = [...logs.map(announce), ...unreadable];
  return { ...quote, pcrValues: tpm.read(selection), bankProof, facts, logs: announced, newTlsPublicKey };
}

/** A TLS key of an agent. */
export interface TlsKey {
  readonly spki: Buffer;
  readonly sha256: Buffer;
  /** PKCS#8, PEM. */
  readonly privateKey: string;
}

export function makeTlsKey(): TlsKey {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const spki = pair.publicKey.export({ type: 'spki', format: 'der' });
  const privateKey = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { spki, sha256: createHash('sha256').update(spki).digest(), privateKey };
}

/** The request of a host that names every EK of its TPM. */
export function beginRequest(
  tpm: SoftwareTpm,
  ak: SoftwareAk,
  options: {
    readonly tls: TlsKey;
    readonly certificates?: readonly (Buffer | undefined)[];
    readonly chain?: readonly Buffer[];
  },
): BeginRequest {
  return {
    eks: tpm.eks.map(({ publicArea }, index) => ({
      publicArea: publicArea.raw,
      certificate: options.certificates?.[index] ?? Buffer.alloc(0),
      chain: options.chain ?? [],
    })),
    akPublicArea: ak.publicArea.raw,
    parentIndex: ak.parentIndex,
    tlsKeySha256: options.tls.sha256,
  };
}

export interface ProofOptions {
  readonly logs?: readonly Log[];
  readonly afterQuote?: () => void;
  readonly lie?: NonNullable<QuoteRequest['lie']>;
  readonly bankLie?: NonNullable<BankRequest['lie']>;
  readonly transcript: Buffer;
}

/** The proof of an enrolment: credentials opened, quote, banks and HMAC. */
export function answerEnrollment(
  tpm: SoftwareTpm,
  ak: SoftwareAk,
  challenge: EnrollmentChallenge,
  options: ProofOptions,
): EnrollmentProof {
  const { transcript, logs = [], lie, bankLie } = options;
  const secrets = challenge.credentials.map((credential, index) => tpm.activate(ak, index, credential));
  const facts = factsDigest(FACTS);
  const extraData = enrollmentQuoteBinding({ nonce: challenge.nonce, transcript, facts });
  const quote = tpm.quote(ak, { extraData, ...(lie === undefined ? {} : { lie }) });
  const bankProof = tpm.proveBanks(ak, {
    extraData: bankProofBinding(extraData),
    ...(bankLie === undefined ? {} : { lie: bankLie }),
  });
  options.afterQuote?.();
  const pcrValues = tpm.read();
  const proof = {
    ...quote,
    token: challenge.token,
    pcrValues,
    readings: readingsOf(pcrValues),
    bankProof,
    facts: FACTS,
    logs: logs.map(announce),
    announcements: logs.map((log) => announcementOf(announce(log))),
  };
  return { ...proof, hmac: macOf(proof, enrollmentKey(secrets, transcript), transcript) };
}

/** The HMAC of a proof under a key. */
export function macOf(proof: Omit<EnrollmentProof, 'hmac'>, key: Buffer, transcript: Buffer): Buffer {
  const none = { capabilityData: Buffer.alloc(0), attest: Buffer.alloc(0), signature: Buffer.alloc(0) };
  return enrollmentProofMac(key, {
    transcript,
    attest: proof.attest,
    signature: proof.signature,
    pcrValues: proof.readings,
    bankProof: proof.bankProof ?? none,
    facts: factsDigest(proof.facts),
    logs: proof.announcements,
  });
}

export function announcementOf({ kind, offset, size, sha256, unreadable }: AnnouncedLog): LogAnnouncement {
  return { kind: { boot: 1, userspace: 2, ima: 3 }[kind], offset, size, sha256, unreadable };
}

function readingsOf(values: PcrValues): readonly PcrReading[] {
  return [...values].flatMap(([algorithm, bank]) =>
    [...bank].map(([index, digest]): PcrReading => ({ algorithm, index, digest })),
  );
}
