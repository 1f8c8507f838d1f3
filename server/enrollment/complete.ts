import { sign, timingSafeEqual } from 'node:crypto';

import {
  bankProofBinding,
  enrollmentKey,
  enrollmentOutcomeDigest,
  enrollmentOutcomeMac,
  enrollmentProofMac,
  enrollmentQuoteBinding,
  factsDigest,
} from '../../proto/transcript.ts';
import type { ClaimedFacts, LogAnnouncement, PcrReading } from '../../proto/transcript.ts';
import { childQualifiedName, objectName } from '../../tpm/crypto/name.ts';
import { signingKeyOf } from '../../tpm/crypto/verify-signature.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import type { Endorsements, EndorsementVerdict } from '../endorsement/endorsements.ts';
import type { Admission, AkRecord, EkRecord, HostRecord, LogPart } from '../store/records.ts';
import type { EnrollInput, EnrollOutcome, Store } from '../store/store.ts';
import { checkAnnouncements, collectLogs } from '../verifier/collect-logs.ts';
import type { AnnouncedLog, LogChunk } from '../verifier/collect-logs.ts';
import { EvidenceError } from '../verifier/evidence-error.ts';
import { verifyEvidence } from '../verifier/verify-evidence.ts';
import type { Evidence, VerifiedEvidence } from '../verifier/verify-evidence.ts';
import { decideAdmission } from './admission.ts';
import { checkAk } from './ak-rules.ts';
import type { EnrollmentKeys } from './begin.ts';
import { checkEks } from './ek-rules.ts';
import type { SoundEk } from './ek-rules.ts';
import { EnrollmentError } from './enrollment-error.ts';
import { openState } from './token.ts';
import type { EnrollmentState } from './token.ts';

/** An enrolment id is remembered this long past its expiry: then its token is no longer accepted by any clock. */
const REMEMBER = 10 * 60_000;
const MAX_FENCED = 5;

/** The proof of an enrolment as it arrived. */
export interface EnrollmentProof extends Evidence {
  readonly token: Buffer;
  readonly hmac: Buffer;
  /** The PCR values in the order in which they came, as the HMAC covers them. */
  readonly readings: readonly PcrReading[];
  readonly facts: ClaimedFacts;
  readonly logs: readonly AnnouncedLog[];
  /** The same, as the HMAC covers them. */
  readonly announcements: readonly LogAnnouncement[];
}

/** Whose call it is. */
export interface EnrollmentCaller {
  readonly tlsKeySha256: Buffer | null;
  /** Of the caller's TLS key, DER. */
  readonly tlsPublicKey: Buffer | null;
  /** Host whose present TLS identity made the call; '' when none. */
  readonly hostId: string;
}

export interface EnrolledHost {
  readonly host: HostRecord;
  readonly akCertificate: Buffer;
  readonly clientCertificate: Buffer;
  readonly replacementPending: boolean;
  readonly hmac: Buffer;
  readonly signature: Buffer;
}

export interface CompleteContext {
  readonly store: Store;
  readonly endorsements: Endorsements;
  readonly admission: readonly Admission[];
  readonly keys: EnrollmentKeys;
  readonly issueClientCertificate: (hostId: string, publicKey: Buffer) => Promise<Buffer>;
  readonly issueAkCertificate: (hostId: string, publicArea: PublicArea) => Promise<Buffer>;
}

/** An enrolment whose proof holds: from here on what is known of hosts may decide. */
interface ProvenEnrollment {
  readonly state: EnrollmentState;
  readonly key: Buffer;
  readonly proof: EnrollmentProof;
  readonly evidence: VerifiedEvidence;
  readonly ak: PublicArea;
  readonly eks: readonly SoundEk[];
  readonly tlsPublicKey: Buffer;
  readonly callerHostId: string;
}

/**
 * The second half of an enrolment: proof first, then the logs, then everything that depends on what the store knows, then one
 * transaction. Throws {@link EnrollmentError} and LogError; nothing is stored then.
 */
export async function completeEnrollment(
  context: CompleteContext,
  request: {
    readonly proof: EnrollmentProof;
    readonly caller: EnrollmentCaller;
    readonly nextChunk: () => Promise<LogChunk | null>;
  },
): Promise<EnrolledHost> {
  const enrollment = prove(context, request.proof, request.caller);
  checkAnnouncements(request.proof.logs, null);
  const logs = await collectLogs(request.proof.logs, request.nextChunk);
  for (let attempt = 0; attempt < MAX_FENCED; attempt++) {
    const enrolled = await admit(context, enrollment, logs);
    if (enrolled !== null) return enrolled;
  }
  throw new EnrollmentError('ENROLLMENT_BUSY', 'the host or the endorsements keep changing; try again');
}

/** Token, TLS key, HMAC and quote: all of it without the store. */
function prove(context: CompleteContext, proof: EnrollmentProof, caller: EnrollmentCaller): ProvenEnrollment {
  const state = openState(proof.token, context.keys.current.tokenMasters);
  if (context.store.now() >= state.expireMillis)
    throw new EnrollmentError('ENROLLMENT_EXPIRED', 'the challenge has expired; begin again');
  checkTlsKey(state, caller);
  const facts = factsDigest(proof.facts);
  const key = enrollmentKey(state.secrets, state.transcript);
  const expected = enrollmentProofMac(key, {
    transcript: state.transcript,
    attest: proof.attest,
    signature: proof.signature,
    pcrValues: proof.readings,
    bankProof: proof.bankProof ?? {
      capabilityData: Buffer.alloc(0),
      attest: Buffer.alloc(0),
      signature: Buffer.alloc(0),
    },
    facts,
    logs: proof.announcements,
  });
  if (proof.hmac.length !== expected.length || !timingSafeEqual(proof.hmac, expected)) {
    throw new EnrollmentError(
      'ENROLLMENT_PROOF_INVALID',
      'the hmac is not made with the secrets of the credentials, over this evidence',
    );
  }
  const eks = checkEks(state.eks);
  const ak = checkAk(state.akPublicArea);
  const extraData = enrollmentQuoteBinding({ nonce: state.nonce, transcript: state.transcript, facts });
  const evidence = verify(proof, { state, eks, ak, extraData });
  return {
    state,
    key,
    proof,
    evidence,
    ak,
    eks,
    tlsPublicKey: caller.tlsPublicKey ?? Buffer.alloc(0),
    callerHostId: caller.hostId,
  };
}

function checkTlsKey(state: EnrollmentState, caller: EnrollmentCaller): void {
  const { tlsKeySha256, tlsPublicKey } = caller;
  if (tlsKeySha256 === null || tlsPublicKey === null) {
    throw new EnrollmentError(
      'TLS_KEY_MISSING',
      'enrolment needs a client certificate: it binds the host to its tls key',
    );
  }
  if (!timingSafeEqual(tlsKeySha256, state.tlsKeySha256)) {
    throw new EnrollmentError('TLS_KEY_MISMATCH', 'the enrolment was begun under another tls key');
  }
}

function verify(
  proof: EnrollmentProof,
  known: {
    readonly state: EnrollmentState;
    readonly eks: readonly SoundEk[];
    readonly ak: PublicArea;
    readonly extraData: Buffer;
  },
): VerifiedEvidence {
  const { state, eks, ak, extraData } = known;
  const parent = parentOf(eks, state);
  try {
    const outcome = verifyEvidence(proof, {
      ak: { signingKey: signingKeyOf(ak), qualifiedName: childQualifiedName(ak, parent.qualifiedName) },
      extraData,
      bankExtraData: bankProofBinding(extraData),
      selection: 'all',
      lastClock: null,
    });
    if (outcome.kind === 'torn') {
      throw new EnrollmentError(
        'ENROLLMENT_EVIDENCE_TORN',
        'the pcr values are not the quoted ones: a pcr moved; begin again',
      );
    }
    const unread = outcome.evidence.findings.find(
      ({ id, outcome: result }) => id === 'pcr-selection' && result === 'failed',
    );
    if (unread !== undefined)
      throw new EnrollmentError(
        'ENROLLMENT_EVIDENCE_REFUSED',
        `${unread.reason}: quoted ${unread.observed}, asked for ${unread.expected}`,
      );
    return outcome.evidence;
  } catch (cause) {
    if (!(cause instanceof EvidenceError)) throw cause;
    throw new EnrollmentError('ENROLLMENT_EVIDENCE_REFUSED', `${cause.code}: ${cause.message}`, { cause });
  }
}

function parentOf(eks: readonly SoundEk[], { parentIndex }: EnrollmentState): SoundEk {
  const parent = eks[parentIndex];
  if (parent === undefined) throw new TypeError('a sealed state names no parent');
  return parent;
}

/** Null when what was decided from has changed meanwhile. */
async function admit(
  context: CompleteContext,
  enrollment: ProvenEnrollment,
  logs: readonly LogPart[],
): Promise<EnrolledHost | null> {
  const { eks, state } = enrollment;
  const epochs = await context.store.epochs();
  const owner = await context.store.findByEks(eks.map(({ fingerprint }) => fingerprint));
  if (owner.owner === 'banned') throw refused('banned');
  if (owner.owner === 'conflict') throw refused('ek_conflict');
  const verdict = await context.endorsements.judge(eks);
  const decision = decideAdmission(context.admission, verdict);
  const known = owner.owner === 'host' ? owner.host : null;
  const hostId = known?.id ?? parentOf(eks, state).hostId;
  const admitted = known?.state === 'active' || decision.state === 'active';
  const akCertificate = admitted ? await context.issueAkCertificate(hostId, enrollment.ak) : Buffer.alloc(0);
  const clientCertificate = await context.issueClientCertificate(hostId, enrollment.tlsPublicKey);
  const outcome = await context.store.enroll({
    ...recordsOf(enrollment, verdict, akCertificate),
    hostId,
    ...decision,
    logs,
    expected: known === null ? null : { hostId: known.id, version: known.version },
    epochs: { policy: epochs.policy, endorsement: verdict.epoch },
    actor: `agent hosts/${hostId}`,
  });
  if (outcome.outcome === 'fenced') return null;
  return answer(context, enrollment, { outcome, akCertificate, clientCertificate });
}

function recordsOf(
  { state, proof, evidence, ak, eks, callerHostId }: ProvenEnrollment,
  verdict: EndorsementVerdict,
  akCertificate: Buffer,
): Omit<EnrollInput, 'hostId' | 'admission' | 'state' | 'logs' | 'expected' | 'epochs' | 'actor'> {
  const parent = parentOf(eks, state);
  const records = eks.map((ek, index) => ekRecord(ek, verdict.certificates[index] ?? null));
  const parentRecord = records[state.parentIndex];
  const akRecord: AkRecord = {
    name: objectName(ak).toString('hex'),
    qualifiedName: childQualifiedName(ak, parent.qualifiedName).toString('hex'),
    publicArea: ak.raw.toString('hex'),
    certificate: akCertificate.toString('hex'),
  };
  const { clockInfo } = evidence.quote;
  return {
    enrollmentId: state.enrollmentId.toString('hex'),
    forgetAfter: state.expireMillis + REMEMBER,
    eks: parentRecord === undefined ? records : [parentRecord, ...records.filter((record) => record !== parentRecord)],
    ak: akRecord,
    tlsKeySha256: state.tlsKeySha256.toString('hex'),
    callerHostId,
    claimed: { ...proof.facts },
    clock: {
      clock: String(clockInfo.clock),
      resetCount: clockInfo.resetCount,
      restartCount: clockInfo.restartCount,
      safe: clockInfo.safe,
    },
    banks: evidence.banks.map(({ hash, pcrs }) => ({ algorithm: hash, pcrs })),
    banksProven: evidence.banksProven,
    unreadable: proof.logs
      .filter(({ unreadable }) => unreadable !== '')
      .map(({ kind, unreadable }) => ({ kind, reason: unreadable })),
  };
}

function ekRecord(ek: SoundEk, certificate: EndorsementVerdict['certificates'][number]): EkRecord {
  const verified = certificate?.status === 'verified' ? certificate : null;
  return {
    fingerprint: ek.fingerprint,
    publicArea: ek.publicArea.toString('hex'),
    algorithm: ek.algorithm,
    certificate: ek.certificate.toString('hex'),
    chain: ek.chain.map((each) => each.toString('hex')),
    certified: verified !== null,
    manufacturer: verified?.claims.manufacturer ?? '',
    model: verified?.claims.model ?? '',
    deviations: [...new Set(verified?.deviations.map(({ code }) => code))],
  };
}

function answer(
  context: CompleteContext,
  { state, key, proof }: ProvenEnrollment,
  issued: { readonly outcome: EnrollOutcome; readonly akCertificate: Buffer; readonly clientCertificate: Buffer },
): EnrolledHost {
  const { outcome } = issued;
  if (!('host' in outcome)) throw refused(outcome.outcome);
  const replacementPending = outcome.outcome === 'replacement_pending';
  const none = Buffer.alloc(0);
  const akCertificate = replacementPending || outcome.host.state !== 'active' ? none : issued.akCertificate;
  const clientCertificate = replacementPending ? none : issued.clientCertificate;
  const digest = enrollmentOutcomeDigest({
    transcript: state.transcript,
    proofMac: proof.hmac,
    hostId: outcome.host.id,
    state: STATE_NUMBERS[outcome.host.state],
    replacementPending,
    akCertificate,
    clientCertificate,
  });
  return {
    host: outcome.host,
    akCertificate,
    clientCertificate,
    replacementPending,
    hmac: enrollmentOutcomeMac(key, digest),
    signature: sign('sha256', digest, context.keys.current.serviceIdentity.key),
  };
}

/** HostState in assay/v1/host.proto: the final transcript covers the number. */
const STATE_NUMBERS: Readonly<Record<HostRecord['state'], number>> = { pending: 1, active: 2, revoked: 3 };

function refused(
  outcome: Exclude<EnrollOutcome['outcome'], 'created' | 'refreshed' | 'replaced' | 'replacement_pending'>,
): EnrollmentError {
  switch (outcome) {
    case 'banned':
      return new EnrollmentError('HOST_REVOKED', 'the host is banned');
    case 'already_used':
      return new EnrollmentError('ENROLLMENT_USED', 'the enrolment has been completed already');
    case 'ek_conflict':
      return new EnrollmentError('EK_CONFLICT', 'the endorsement keys belong to several hosts');
    case 'ak_conflict':
      return new EnrollmentError('AK_CONFLICT', 'the attestation key belongs to another host');
    case 'fenced':
      return new EnrollmentError('ENROLLMENT_BUSY', 'the host or the endorsements keep changing; try again');
  }
}
