import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import {
  enrollmentKey,
  enrollmentOutcomeDigest,
  enrollmentOutcomeMac,
  enrollmentProofMac,
  enrollmentTranscript,
  factsDigest,
} from '../../../proto/transcript.ts';
import type { EnrollmentTranscript } from '../../../proto/transcript.ts';
import {
  createAuthority,
  issueClientCertificate,
  issueServiceIdentityCertificate,
} from '../../../server/identity/ca.ts';
import type { CertificateAuthority } from '../../../server/identity/ca.ts';
import { makeCredential } from '../../../tpm/crypto/make-credential.ts';
import { objectName } from '../../../tpm/crypto/name.ts';
import { decodePublicArea } from '../../../tpm/structures/public-area.ts';
import type {
  BeginEnrollment,
  EnrollmentAnswer,
  EnrollmentChallenge,
  EnrollmentPart,
  EnrollmentProof,
  EnrollmentService,
} from '../../../client/sdk/evidence.ts';

export const TEST_HOST = `h-${'a'.repeat(26)}`;
const DAY_SECONDS = 86_400;

/** A service with a CA and a service identity of its own. */
export interface FakeIdentity {
  readonly authority: CertificateAuthority;
  readonly serviceKey: KeyObject;
  readonly serviceCertificate: Buffer;
}

export async function makeFakeIdentity(now = new Date()): Promise<FakeIdentity> {
  const authority = await createAuthority({ now, random: randomBytes });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const serviceCertificate = await issueServiceIdentityCertificate(authority, {
    publicKey: publicKey.export({ type: 'spki', format: 'der' }),
    lifetimeSeconds: DAY_SECONDS,
    now,
    random: randomBytes,
  });
  return { authority, serviceKey: privateKey, serviceCertificate };
}

export async function issueHostCertificate(
  { authority }: FakeIdentity,
  publicKey: Buffer,
  options: { readonly host?: string; readonly now?: Date; readonly lifetimeSeconds?: number } = {},
): Promise<Buffer> {
  return issueClientCertificate(authority, {
    publicKey,
    lifetimeSeconds: options.lifetimeSeconds ?? DAY_SECONDS,
    now: options.now ?? new Date(),
    random: randomBytes,
    subject: { host: options.host ?? TEST_HOST },
  });
}

/** What a test changes: of what is signed, or of what is sent after it was signed. */
export interface Tampering {
  /** Changes what the service takes for the values of this enrolment, signed as such. */
  readonly signed?: (values: EnrollmentTranscript) => EnrollmentTranscript;
  readonly challenge?: (challenge: EnrollmentChallenge) => EnrollmentChallenge;
  readonly answer?: (answer: EnrollmentAnswer) => EnrollmentAnswer | Promise<EnrollmentAnswer>;
  readonly replacementPending?: boolean;
}

/** The service's side of an enrolment, with real credentials and real signatures, over no network. */
export class FakeEnrollment implements EnrollmentService {
  readonly #identity: FakeIdentity;
  readonly #tls: { readonly sha256: Buffer; readonly publicKey: Buffer };
  readonly #tampering: Tampering;
  #begun: { readonly transcript: Buffer; readonly secrets: readonly Buffer[] } | undefined;
  /** What came in at CompleteEnrollment. */
  proof: EnrollmentProof | undefined;
  receivedLogBytes = 0;

  constructor(
    identity: FakeIdentity,
    tls: { readonly sha256: Buffer; readonly publicKey: Buffer },
    tampering: Tampering = {},
  ) {
    this.#identity = identity;
    this.#tls = tls;
    this.#tampering = tampering;
  }

  async begin(request: BeginEnrollment): Promise<EnrollmentChallenge> {
    const { authority, serviceCertificate, serviceKey } = this.#identity;
    const eks = request.endorsementKeys.map(({ publicArea }) => decodePublicArea(publicArea));
    const akName = objectName(decodePublicArea(request.akPublicArea));
    const secrets = eks.map(() => randomBytes(32));
    const credentials = eks.map((ek, index) =>
      makeCredential({ ek, akName }, secrets[index] ?? Buffer.alloc(32), { random: randomBytes }),
    );
    const own = {
      enrollmentId: randomBytes(16),
      ekNames: eks.map(objectName),
      parentIndex: request.parentIndex,
      akName,
      tlsKeySha256: this.#tls.sha256,
      credentials,
      nonce: randomBytes(32),
      expireMillis: Date.now() + 60_000,
    };
    const values = this.#tampering.signed?.(own) ?? own;
    const transcript = enrollmentTranscript(values);
    this.#begun = { transcript, secrets };
    const challenge: EnrollmentChallenge = {
      enrollmentId: own.enrollmentId,
      nonce: own.nonce,
      credentials,
      tlsKeySha256: own.tlsKeySha256,
      expireMillis: values.expireMillis,
      token: Buffer.from('token'),
      serviceCertificate,
      authorityCertificate: authority.certificate,
      signature: sign('sha256', transcript, serviceKey),
    };
    return this.#tampering.challenge?.(challenge) ?? challenge;
  }

  async complete(parts: AsyncIterable<EnrollmentPart>): Promise<EnrollmentAnswer> {
    for await (const part of parts) {
      if (part.kind === 'proof') this.proof = part.proof;
      else this.receivedLogBytes += part.chunk.data.length;
    }
    const { proof } = this;
    if (proof === undefined || this.#begun === undefined) throw new TypeError('no proof came');
    const { transcript, secrets } = this.#begun;
    const key = enrollmentKey(secrets, transcript);
    const mac = enrollmentProofMac(key, {
      transcript,
      attest: proof.quote.attest,
      signature: proof.quote.signature,
      pcrValues: proof.pcrValues,
      bankProof: proof.bankProof,
      facts: factsDigest(proof.facts),
      logs: proof.logs,
    });
    if (!mac.equals(proof.hmac)) throw new TypeError('the proof does not verify');
    return this.#answer(key, transcript, mac);
  }

  async #answer(key: Buffer, transcript: Buffer, proofMac: Buffer): Promise<EnrollmentAnswer> {
    const { authority, serviceCertificate, serviceKey } = this.#identity;
    const replacementPending = this.#tampering.replacementPending ?? false;
    const clientCertificate = replacementPending
      ? Buffer.alloc(0)
      : await issueHostCertificate(this.#identity, this.#tls.publicKey);
    const stated = {
      hostId: TEST_HOST,
      state: 2,
      replacementPending,
      akCertificate: Buffer.alloc(0),
      clientCertificate,
    };
    const digest = enrollmentOutcomeDigest({ transcript, proofMac, ...stated });
    const answer: EnrollmentAnswer = {
      hostId: TEST_HOST,
      state: 'ACTIVE',
      stateNumber: 2,
      replacementPending,
      akCertificate: stated.akCertificate,
      clientCertificate,
      authorityCertificate: authority.certificate,
      hmac: enrollmentOutcomeMac(key, digest),
      serviceCertificate,
      signature: sign('sha256', digest, serviceKey),
    };
    return (await this.#tampering.answer?.(answer)) ?? answer;
  }
}
