import { sign } from 'node:crypto';

import { enrollmentOutcomeDigest, enrollmentOutcomeMac } from '../../proto/transcript.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import type { Endorsements } from '../endorsement/endorsements.ts';
import type { Admission, HostRecord, LogKind, LogPart } from '../store/records.ts';
import type { EnrollOutcome, Store } from '../store/store.ts';
import { checkAnnouncements, collectLogs, withinTime } from '../verifier/collect-logs.ts';
import type { LogChunk } from '../verifier/collect-logs.ts';
import type { HeldLogs, LogBudget } from '../verifier/log-budget.ts';
import { admitBoot, bootOfEnrollment } from './admission-boot.ts';
import type { BootAdmission } from './admission-boot.ts';
import { decideAdmission } from './admission.ts';
import type { EnrollmentKeys } from './begin.ts';
import type { EnrollmentLimits } from './enrollment-limits.ts';
import { EnrollmentError } from './enrollment-error.ts';
import { recordsOf } from './host-records.ts';
import { expired, parentOf, proveEnrollment } from './prove.ts';
import type { EnrollmentCaller, EnrollmentProof, ProvenEnrollment } from './prove.ts';

const MAX_FENCED = 5;
/** Nothing is kept of the logs of a host that waits, and its admission is judged by its boot alone. */
const NOT_OF_PENDING: readonly LogKind[] = ['ima'];

export interface EnrolledHost {
  readonly host: HostRecord;
  readonly akCertificate: Buffer;
  readonly clientCertificate: Buffer;
  readonly replacementPending: boolean;
  readonly hmac: Buffer;
  readonly signature: Buffer;
  readonly serviceCertificate: Buffer;
}

export interface CompleteContext extends BootAdmission {
  readonly store: Store;
  readonly endorsements: Endorsements;
  readonly admission: readonly Admission[];
  readonly keys: EnrollmentKeys;
  readonly limits: Pick<EnrollmentLimits, 'checkProof' | 'checkProven'>;
  /** Of hosts that are let in, and of those that will wait for approval. */
  readonly logBudgets: { readonly admitted: LogBudget; readonly pending: LogBudget };
  /** Hosts that may wait for approval at once. */
  readonly maxPendingHosts: number;
  readonly issueClientCertificate: (hostId: string, publicKey: Buffer) => Promise<Buffer>;
  readonly issueAkCertificate: (hostId: string, publicArea: PublicArea) => Promise<Buffer>;
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
  const enrollment = proveEnrollment(context, request.proof, request.caller);
  const { fingerprint } = parentOf(enrollment.eks, enrollment.state);
  context.limits.checkProven(fingerprint);
  checkAnnouncements(request.proof.logs, null);
  // Who is not admitted sends no logs. It is decided again when they are there, for by then it may have changed.
  const pending = !isAdmitted(await decide(context, enrollment));
  const dropped = pending ? NOT_OF_PENDING : [];
  // Held until the host is written: its logs are in memory so long.
  using held = context.logBudgets[pending ? 'pending' : 'admitted'].hold(
    enrollment.eks.map((ek) => ek.fingerprint),
    request.proof.logs.filter(({ kind }) => !dropped.includes(kind)),
  );
  const logs = await takeLogs(request, held, dropped);
  for (let attempt = 0; attempt < MAX_FENCED; attempt++) {
    const enrolled = await admit(context, enrollment, logs);
    if (enrolled !== null) return enrolled;
  }
  throw new EnrollmentError('ENROLLMENT_BUSY', 'the host or the endorsements keep changing; try again');
}

/** Takes the logs within their time. */
async function takeLogs(
  request: { readonly proof: EnrollmentProof; readonly nextChunk: () => Promise<LogChunk | null> },
  held: HeldLogs,
  dropped: readonly LogKind[],
): Promise<readonly LogPart[]> {
  using chunks = withinTime(request.nextChunk);
  return await collectLogs(request.proof.logs, chunks.next, {
    take: (bytes) => held.take(bytes),
    dropped,
  });
}

type Decided = Awaited<ReturnType<typeof decide>>;

/** Whether the host is active after this; else it waits for approval. */
function isAdmitted({ known, decision }: Pick<Decided, 'known' | 'decision'>): boolean {
  return known?.state === 'active' || decision.state === 'active';
}

/** Whether the host comes in, and as whom, by what the store knows now. Throws {@link EnrollmentError}. */
async function decide(context: CompleteContext, { eks }: ProvenEnrollment) {
  const { policy } = await context.store.epochs();
  const owner = await context.store.findByEks(eks.map(({ fingerprint }) => fingerprint));
  if (owner.owner === 'banned') throw refused('banned');
  if (owner.owner === 'conflict') throw refused('ek_conflict');
  const verdict = await context.endorsements.judge(eks);
  return {
    verdict,
    epochs: { policy, endorsement: verdict.epoch },
    known: owner.owner === 'host' ? owner.host : null,
    decision: decideAdmission(context.admission, verdict),
  };
}

/** Null when what was decided from has changed meanwhile. */
async function admit(
  context: CompleteContext,
  enrollment: ProvenEnrollment,
  logs: readonly LogPart[],
): Promise<EnrolledHost | null> {
  const { eks, state } = enrollment;
  const { epochs, known, verdict, decision } = await decide(context, enrollment);
  const boot = await bootOfEnrollment(context, enrollment, logs);
  const bootState = await admitBoot(context, enrollment, { boot, epochs });
  const hostId = known?.id ?? parentOf(eks, state).hostId;
  const admitted = isAdmitted({ known, decision });
  const akCertificate = admitted ? await context.issueAkCertificate(hostId, enrollment.ak) : Buffer.alloc(0);
  const clientCertificate = await context.issueClientCertificate(hostId, enrollment.tlsPublicKey);
  const outcome = await context.store.enroll({
    ...recordsOf(enrollment, verdict, akCertificate),
    hostId,
    ...decision,
    ...(admitted ? { logs } : { logs: [], unreadable: [] }),
    ...(boot === null || !admitted ? {} : { boot: boot.record }),
    bootState,
    maxPendingHosts: context.maxPendingHosts,
    expected: known === null ? null : { hostId: known.id, version: known.version },
    epochs,
    actor: `agent hosts/${hostId}`,
  });
  if (outcome.outcome === 'fenced') return null;
  return answer(context, enrollment, { outcome, akCertificate, clientCertificate });
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
  const { key: serviceKey, certificate: serviceCertificate } = context.keys.current.serviceIdentity;
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
    signature: sign('sha256', digest, serviceKey),
    serviceCertificate,
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
    case 'expired':
      return expired();
    case 'already_used':
      return new EnrollmentError('ENROLLMENT_USED', 'the enrolment has been completed already');
    case 'ek_conflict':
      return new EnrollmentError('EK_CONFLICT', 'the endorsement keys belong to several hosts');
    case 'ak_conflict':
      return new EnrollmentError('AK_CONFLICT', 'the attestation key belongs to another host');
    case 'too_many_pending':
      return new EnrollmentError(
        'TOO_MANY_PENDING',
        'too many hosts wait for approval: an operator has to approve or delete some',
      );
    case 'fenced':
      return new EnrollmentError('ENROLLMENT_BUSY', 'the host or the endorsements keep changing; try again');
  }
}
