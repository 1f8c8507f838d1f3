import type { ClaimedFacts, LogAnnouncement, PcrReading } from '../../proto/transcript.ts';
import type { AttestationResult, HostState } from './resources.ts';

/** What an Attester and the service say to each other, as the agent sees it. Bytes are Buffers. */

/** Numbers of LogKind. */
export const LOG_KIND = { boot: 1, userspace: 2, ima: 3 } as const;
export type LogName = keyof typeof LOG_KIND;

/** Bytes of one LogChunk at most. */
export const MAX_CHUNK_BYTES = 256 * 1024;

export interface QuoteBytes {
  /** TPMS_ATTEST as the TPM returned it. */
  readonly attest: Buffer;
  /** TPMT_SIGNATURE as the TPM returned it. */
  readonly signature: Buffer;
}

export interface BankProofBytes extends QuoteBytes {
  /** moreData (1 byte) and TPMS_CAPABILITY_DATA. */
  readonly capabilityData: Buffer;
}

export interface LogChunk {
  readonly kind: number;
  readonly offset: number;
  readonly data: Buffer;
}

export interface BeginEnrollment {
  readonly endorsementKeys: readonly {
    /** TPMT_PUBLIC */
    readonly publicArea: Buffer;
    /** X.509 DER, empty where there is none. */
    readonly certificate: Buffer;
    readonly chain: readonly Buffer[];
  }[];
  /** TPMT_PUBLIC */
  readonly akPublicArea: Buffer;
  readonly parentIndex: number;
}

export interface EnrollmentChallenge {
  readonly enrollmentId: Buffer;
  readonly nonce: Buffer;
  readonly credentials: readonly { readonly credentialBlob: Buffer; readonly encryptedSecret: Buffer }[];
  readonly tlsKeySha256: Buffer;
  /** Milliseconds since 1970; undefined where the service sent none. */
  readonly expireMillis: number | undefined;
  readonly token: Buffer;
  readonly serviceCertificate: Buffer;
  readonly authorityCertificate: Buffer;
  readonly signature: Buffer;
}

export interface EnrollmentProof {
  readonly token: Buffer;
  readonly hmac: Buffer;
  readonly quote: QuoteBytes;
  readonly pcrValues: readonly PcrReading[];
  readonly bankProof: BankProofBytes;
  readonly facts: ClaimedFacts;
  readonly logs: readonly LogAnnouncement[];
}

export type EnrollmentPart =
  | { readonly kind: 'proof'; readonly proof: EnrollmentProof }
  | { readonly kind: 'chunk'; readonly chunk: LogChunk };

export interface EnrollmentAnswer {
  readonly hostId: string;
  readonly state: HostState;
  /** Number of the state, as the transcript has it. */
  readonly stateNumber: number;
  readonly akCertificate: Buffer;
  readonly clientCertificate: Buffer;
  readonly authorityCertificate: Buffer;
  readonly hmac: Buffer;
  readonly serviceCertificate: Buffer;
  readonly signature: Buffer;
  readonly replacementPending: boolean;
}

/** EnrollmentService as the agent uses it; a test's fake implements it too. */
export interface EnrollmentService {
  begin(request: BeginEnrollment, signal: AbortSignal): Promise<EnrollmentChallenge>;
  complete(parts: AsyncIterable<EnrollmentPart>, signal: AbortSignal): Promise<EnrollmentAnswer>;
}

export interface BootState {
  readonly resetCount: number;
  readonly restartCount: number;
}

export interface Challenge {
  readonly nonce: Buffer;
  /** Banks by TPM_ALG_ID; empty with `allBanks`. */
  readonly selection: readonly { readonly hash: number; readonly pcrs: readonly number[] }[];
  readonly allBanks: boolean;
  readonly logs: readonly { readonly kind: number; readonly offset: number }[];
  readonly deadlineSeconds: number;
}

export interface Evidence {
  readonly quote: QuoteBytes;
  readonly pcrValues: readonly PcrReading[];
  readonly facts: ClaimedFacts;
  readonly logs: readonly LogAnnouncement[];
  readonly bankProof: BankProofBytes | undefined;
  /** SubjectPublicKeyInfo (DER), empty where the client certificate needs no renewal. */
  readonly newTlsPublicKey: Buffer;
}

export type AttestOutgoing =
  | { readonly kind: 'hello'; readonly akName: Buffer; readonly bootState: BootState; readonly agentVersion: string }
  | { readonly kind: 'evidence'; readonly evidence: Evidence }
  | { readonly kind: 'chunk'; readonly chunk: LogChunk }
  | { readonly kind: 'wish'; readonly reason: string };

export type AttestIncoming =
  | { readonly kind: 'challenge'; readonly challenge: Challenge }
  | { readonly kind: 'result'; readonly result: AttestationResult }
  | { readonly kind: 'pending'; readonly message: string }
  | { readonly kind: 'torn'; readonly reason: string; readonly attempt: number }
  | { readonly kind: 'renewal'; readonly clientCertificate: Buffer; readonly authorityCertificate: Buffer };

/** AttestationService as the agent uses it. */
export interface AttestationService {
  attest(outgoing: AsyncIterable<AttestOutgoing>, signal: AbortSignal): AsyncIterable<AttestIncoming>;
}
