import type { Certificate } from './certificate.ts';
import type { EcSubjectKey, RsaSubjectKey } from './subject-key.ts';
import { verifySignature } from './verify-signature.ts';
import type { SignatureVerdict } from './verify-signature.ts';

/** Of all paths of one judgement: a TPM with eight EKs under several CAs needs about sixteen. */
const MAX_SIGNATURES = 24;

/**
 * The signatures of certificates that one judgement verifies: each once, however many paths lead over it, and so many in all. It
 * bounds the work that whoever brings certificates can cause.
 */
export class PathSignatures {
  readonly #limit: number;
  /** By the fingerprints of the certificate and its issuer. */
  readonly #verdicts = new Map<string, SignatureVerdict>();

  constructor(limit = MAX_SIGNATURES) {
    this.#limit = limit;
  }

  /** How many were verified. */
  get count(): number {
    return this.#verdicts.size;
  }

  /** Undefined when no more signatures may be verified. */
  verify(
    certificate: Certificate,
    issuer: Certificate,
    issuerKey: RsaSubjectKey | EcSubjectKey,
  ): SignatureVerdict | undefined {
    const pair = `${certificate.fingerprint} ${issuer.fingerprint}`;
    const known = this.#verdicts.get(pair);
    if (known !== undefined || this.count >= this.#limit) return known;
    const verdict = verifySignature(certificate, issuerKey);
    this.#verdicts.set(pair, verdict);
    return verdict;
  }
}
