import { timingSafeEqual, verify } from 'node:crypto';
import { CertificateError, checkAuthorityFingerprint, isHostId, verifyLeaf } from '../../proto/certificate-profile.ts';
import type { VerifiedLeaf } from '../../proto/certificate-profile.ts';
import { enrollmentOutcomeDigest, enrollmentOutcomeMac, enrollmentTranscript } from '../../proto/transcript.ts';
import type { EnrollmentAnswer, EnrollmentChallenge } from '../sdk/evidence.ts';
import { AgentError } from './agent-error.ts';

/**
 * How the agent tells the service that it pinned from any other. Each check throws {@link AgentError} `untrusted_service`, or
 * `outside_validity` where only the clock speaks against it.
 */

/** An encrypted secret for an RSA-4096 EK has 512 bytes (Part 2 §11.4.3); identity objects are smaller. */
const MAX_CREDENTIAL_BYTES = 1024;

/** What the agent knows by itself; nothing of it comes from the service. */
export interface OwnValues {
  /** Names of its EKs, in the order in which it sent them. */
  readonly ekNames: readonly Buffer[];
  readonly parentIndex: number;
  readonly akName: Buffer;
  /** SHA-256 of the SubjectPublicKeyInfo of the key under which it speaks TLS. */
  readonly tlsKeySha256: Buffer;
  /** `sha256:…` */
  readonly pin: string;
}

declare const verified: unique symbol;

/** A challenge that the pinned service signed for this TPM and this connection. Only {@link verifyChallenge} makes it. */
export type VerifiedChallenge = EnrollmentChallenge & {
  readonly transcript: Buffer;
  readonly [verified]: true;
};

/** Checks a challenge before anything of it is opened. */
export function verifyChallenge(challenge: EnrollmentChallenge, own: OwnValues, now: Date): VerifiedChallenge {
  checkSizes(challenge, own);
  const { tlsKeySha256, expireMillis } = challenge;
  if (!same(tlsKeySha256, own.tlsKeySha256)) {
    refuse('the service sees another TLS key than this agent has: somebody stands between them');
  }
  // Our own names and hash go in, not what was received: a signature over anything else does not verify.
  const transcript = enrollmentTranscript({
    enrollmentId: challenge.enrollmentId,
    ekNames: own.ekNames,
    parentIndex: own.parentIndex,
    akName: own.akName,
    tlsKeySha256: own.tlsKeySha256,
    credentials: challenge.credentials,
    nonce: challenge.nonce,
    expireMillis: expireMillis ?? refuse('the challenge has no end'),
  });
  checkServiceSignature(challenge, transcript, own.pin, now);
  if (expireMillis === undefined || expireMillis <= now.getTime()) {
    throw new AgentError('outside_validity', 'the challenge of the service has expired by the clock of this machine');
  }
  return { ...challenge, transcript } as VerifiedChallenge;
}

/** What the service proved to have accepted. */
export interface VerifiedAnswer {
  /** `h-…` */
  readonly hostId: string;
  readonly state: EnrollmentAnswer['state'];
  readonly replacementPending: boolean;
  readonly akCertificate: Buffer;
  readonly clientCertificate: Buffer;
  readonly authority: Buffer;
}

/** Checks the service's answer to a proof: its HMAC under the TPM's secrets, its signature, the certificates. */
export function verifyAnswer(
  answer: EnrollmentAnswer,
  expected: OwnValues & { readonly key: Buffer; readonly transcript: Buffer; readonly proofMac: Buffer },
  now: Date,
): VerifiedAnswer {
  const outcome = enrollmentOutcomeDigest({
    transcript: expected.transcript,
    proofMac: expected.proofMac,
    hostId: answer.hostId,
    state: answer.stateNumber,
    replacementPending: answer.replacementPending,
    akCertificate: answer.akCertificate,
    clientCertificate: answer.clientCertificate,
  });
  if (!same(answer.hmac, enrollmentOutcomeMac(expected.key, outcome))) {
    refuse('the service does not hold the secrets that it sent');
  }
  const service = checkServiceSignature(answer, outcome, expected.pin, now);
  if (!isHostId(answer.hostId)) refuse('the service named no host');
  // A host whose new AK waits for an operator gets nothing new.
  if (!answer.replacementPending || answer.clientCertificate.length > 0) {
    checkClientCertificate(answer.clientCertificate, {
      authority: answer.authorityCertificate,
      deployment: service.identity.deployment,
      hostId: answer.hostId,
      tlsKeySha256: expected.tlsKeySha256,
      now,
    });
  }
  const { hostId, state, replacementPending, akCertificate, clientCertificate, authorityCertificate } = answer;
  return { hostId, state, replacementPending, akCertificate, clientCertificate, authority: authorityCertificate };
}

/** Checks a certificate that was issued for one of this agent's TLS keys. */
export function checkClientCertificate(
  certificate: Buffer,
  demand: {
    readonly authority: Buffer;
    readonly hostId: string;
    readonly tlsKeySha256: Buffer;
    readonly now: Date;
    readonly deployment?: string;
  },
): VerifiedLeaf {
  const { authority, now, deployment, hostId } = demand;
  const leaf = trusting('client certificate', () =>
    verifyLeaf(certificate, { authority, profile: 'client', now, ...(deployment === undefined ? {} : { deployment }) }),
  );
  if (leaf.identity.kind !== 'host' || leaf.identity.host !== hostId) {
    refuse('the client certificate is not for this host');
  }
  if (!same(Buffer.from(leaf.spkiSha256, 'hex'), demand.tlsKeySha256)) {
    refuse('the client certificate is for another key than this agent has');
  }
  return leaf;
}

/** Checks that a CA certificate is the pinned one. */
export function checkPin(authority: Buffer, pin: string): void {
  trusting('authority', () => checkAuthorityFingerprint(authority, pin));
}

function checkServiceSignature(
  signed: Pick<EnrollmentChallenge, 'authorityCertificate' | 'serviceCertificate' | 'signature'>,
  digest: Buffer,
  pin: string,
  now: Date,
): VerifiedLeaf {
  checkPin(signed.authorityCertificate, pin);
  const leaf = trusting('service certificate', () =>
    verifyLeaf(signed.serviceCertificate, { authority: signed.authorityCertificate, profile: 'service-identity', now }),
  );
  if (!verifies(digest, leaf, signed.signature)) {
    refuse('the signature is not the service identity key’s over the values of this agent');
  }
  return leaf;
}

function verifies(digest: Buffer, leaf: VerifiedLeaf, signature: Buffer): boolean {
  if (leaf.publicKey.asymmetricKeyType !== 'ec') return false;
  return verify('sha256', digest, leaf.publicKey, signature);
}

function checkSizes(challenge: EnrollmentChallenge, own: OwnValues): void {
  if (challenge.enrollmentId.length !== 16) refuse('the enrolment id is not 16 bytes long');
  if (challenge.nonce.length !== 32) refuse('the nonce is not 32 bytes long');
  if (challenge.credentials.length !== own.ekNames.length) {
    refuse(`the service made ${challenge.credentials.length} credentials for ${own.ekNames.length} endorsement keys`);
  }
  for (const { credentialBlob, encryptedSecret } of challenge.credentials) {
    if (credentialBlob.length > MAX_CREDENTIAL_BYTES || encryptedSecret.length > MAX_CREDENTIAL_BYTES) {
      refuse('a credential is larger than any TPM takes');
    }
  }
}

function trusting<T>(what: string, check: () => T): T {
  try {
    return check();
  } catch (cause) {
    if (!(cause instanceof CertificateError)) throw cause;
    const code = cause.code === 'expired' || cause.code === 'not_yet_valid' ? 'outside_validity' : 'untrusted_service';
    throw new AgentError(code, `${what} of the service is refused: ${cause.message}`, { cause });
  }
}

function same(a: Buffer, b: Buffer): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

function refuse(message: string): never {
  throw new AgentError('untrusted_service', message);
}
