import { timingSafeEqual } from 'node:crypto';

import {
  bankProofBinding,
  enrollmentKey,
  enrollmentProofMac,
  enrollmentQuoteBinding,
  factsDigest,
} from '../../proto/transcript.ts';
import type { ClaimedFacts, LogAnnouncement, PcrReading } from '../../proto/transcript.ts';
import { childQualifiedName } from '../../tpm/crypto/name.ts';
import { signingKeyOf } from '../../tpm/crypto/verify-signature.ts';
import type { PublicArea } from '../../tpm/structures/public-area.ts';
import type { AnnouncedLog } from '../verifier/collect-logs.ts';
import { EvidenceError } from '../verifier/evidence-error.ts';
import { verifyEvidence } from '../verifier/verify-evidence.ts';
import type { Evidence, VerifiedEvidence } from '../verifier/verify-evidence.ts';
import { checkAk } from './ak-rules.ts';
import { ENROLLMENT_LIFETIME } from './begin.ts';
import type { EnrollmentKeys } from './begin.ts';
import { checkEks } from './ek-rules.ts';
import type { SoundEk } from './ek-rules.ts';
import { EnrollmentError } from './enrollment-error.ts';
import type { EnrollmentLimits } from './enrollment-limits.ts';
import { openState } from './token.ts';
import type { EnrollmentState } from './token.ts';

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

export interface ProveContext {
  readonly keys: EnrollmentKeys;
  /** The store's clock. */
  readonly store: { readonly now: () => number };
  readonly limits: Pick<EnrollmentLimits, 'checkProof'>;
}

declare const proven: unique symbol;

/** An enrolment whose proof holds: from here on what is known of hosts may decide. Only {@link proveEnrollment} makes it. */
export interface ProvenEnrollment {
  readonly [proven]: true;
  readonly state: EnrollmentState;
  readonly key: Buffer;
  readonly proof: EnrollmentProof;
  readonly evidence: VerifiedEvidence;
  readonly ak: PublicArea;
  readonly eks: readonly SoundEk[];
  readonly tlsPublicKey: Buffer;
  readonly callerHostId: string;
}

/** Token, TLS key, HMAC and quote: all of it without the store. */
export function proveEnrollment(
  context: ProveContext,
  proof: EnrollmentProof,
  caller: EnrollmentCaller,
): ProvenEnrollment {
  const state = openState(proof.token, context.keys.current.tokenMasters);
  const left = state.expireMillis - context.store.now();
  // More than a whole life is left only where the clock has been set back since.
  if (left <= 0 || left > ENROLLMENT_LIFETIME) throw expired();
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
  context.limits.checkProof(state.enrollmentId);
  const eks = checkEks(state.eks);
  const ak = checkAk(state.akPublicArea);
  const extraData = enrollmentQuoteBinding({ nonce: state.nonce, transcript: state.transcript, facts });
  const evidence = verify(proof, { state, eks, ak, extraData });
  const enrollment: Omit<ProvenEnrollment, typeof proven> = {
    state,
    key,
    proof,
    evidence,
    ak,
    eks,
    tlsPublicKey: caller.tlsPublicKey ?? Buffer.alloc(0),
    callerHostId: caller.hostId,
  };
  return enrollment as ProvenEnrollment;
}

/** The challenge has had its time. */
export function expired(): EnrollmentError {
  return new EnrollmentError('ENROLLMENT_EXPIRED', 'the challenge has expired; begin again');
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

export function parentOf(eks: readonly SoundEk[], { parentIndex }: EnrollmentState): SoundEk {
  const parent = eks[parentIndex];
  if (parent === undefined) throw new TypeError('a sealed state names no parent');
  return parent;
}
