import { createHash } from 'node:crypto';

import { ChainReader } from './certificate-chain.ts';
import { verifyCertificatePath } from './certificate-path.ts';
import type { PathDemand, PathRefusalCode } from './certificate-path.ts';
import type { Deviation } from './deviation.ts';
import { checkEkProfile, EK_EXTENDED_KEY_USAGE, parseEkCertificate } from './ek-certificate.ts';
import type { ProfileRefusalCode, TpmClaims } from './ek-certificate.ts';
import { EndorsementError } from './endorsement-error.ts';
import { checkKeySanity } from './key-sanity.ts';
import type { KeyRefusalCode } from './key-sanity.ts';
import { parseSubjectKey } from './subject-key.ts';

export type EkRefusalCode =
  | KeyRefusalCode
  | PathRefusalCode
  | ProfileRefusalCode
  | 'EK_KEY_MALFORMED'
  | 'EK_CERT_MALFORMED'
  | 'EK_CERT_KEY_MISMATCH'
  | 'EK_CERT_CHAIN_MALFORMED';

export interface EkRefusal {
  readonly status: 'refused';
  readonly code: EkRefusalCode;
  /** For the operator: a sentence without full stop, text of certificates escaped. */
  readonly detail: string;
}

/** An EK that its manufacturer certified; only {@link verifyEk} makes one. */
export interface VerifiedEk {
  readonly status: 'verified';
  /** SHA-256 of the EK's SubjectPublicKeyInfo, hexadecimal. */
  readonly ekFingerprint: string;
  /** SHA-256 of the EK certificate, without what followed it in NV, hexadecimal. */
  readonly certificateFingerprint: string;
  /** SHA-256 of the trust anchor's certificate, hexadecimal. */
  readonly anchorFingerprint: string;
  /** End of the EK certificate's validity: later the same evidence is refused. */
  readonly notAfter: Date;
  readonly claims: TpmClaims;
  readonly deviations: readonly Deviation[];
}

/** A key that may be an EK as far as the key alone tells; only {@link checkEkKey} makes one. */
export interface SoundEkKey {
  readonly status: 'sound';
  readonly ekFingerprint: string;
  /** The canonical SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
}

export interface EkEvidence extends Omit<PathDemand, 'extendedKeyUsage'> {
  /** SubjectPublicKeyInfo (DER) made from the EK's TPMT_PUBLIC, which is the key that credentials are made for. */
  readonly spki: Uint8Array;
  /** The EK certificate as it stands in NV. */
  readonly certificate: Uint8Array;
  /** Certificates that the host sent along, DER; one entry may hold several one after another. Nothing is trusted. */
  readonly chain: readonly Uint8Array[];
  /** Shared by the EKs that are judged together; default: of this one alone. */
  readonly chains?: ChainReader;
}

/** Checks an EK's key alone, as admission by inventory or approval needs it: kind, size, exponent, ROCA, point. */
export function checkEkKey(spki: Uint8Array): SoundEkKey | EkRefusal {
  try {
    const sanity = checkKeySanity(parseSubjectKey(Buffer.from(spki.buffer, spki.byteOffset, spki.length)));
    if (sanity.status === 'refused') return sanity;
    const ekFingerprint = createHash('sha256').update(sanity.key.spki).digest('hex');
    return { status: 'sound', ekFingerprint, spki: sanity.key.spki };
  } catch (error) {
    return refusalOf(error, 'EK_KEY_MALFORMED');
  }
}

/**
 * Verifies that a manufacturer certified this EK: sound key, certificate of this very key, TCG profile, path to a
 * trust anchor. Never throws on what a host sends.
 */
export function verifyEk(evidence: EkEvidence): VerifiedEk | EkRefusal {
  const key = checkEkKey(evidence.spki);
  if (key.status === 'refused') return key;
  const certificate = attempt(() => parseEkCertificate(evidence.certificate), 'EK_CERT_MALFORMED');
  if (certificate.status === 'refused') return certificate;
  const { subjectKey } = certificate.value;
  if (subjectKey.kind === 'unusable' || !subjectKey.spki.equals(key.spki)) {
    return { status: 'refused', code: 'EK_CERT_KEY_MISMATCH', detail: 'certificate is of another key than the EK' };
  }
  const profile = checkEkProfile(certificate.value);
  if (profile.status === 'refused') return profile;
  const chain = attempt(() => (evidence.chains ?? new ChainReader()).read(evidence.chain), 'EK_CERT_CHAIN_MALFORMED');
  if (chain.status === 'refused') return chain;
  const intermediates = [...chain.value.certificates, ...evidence.intermediates];
  const path = verifyCertificatePath(certificate.value, {
    ...evidence,
    intermediates,
    extendedKeyUsage: EK_EXTENDED_KEY_USAGE,
  });
  if (path.status === 'refused') return path;
  return {
    status: 'verified',
    ekFingerprint: key.ekFingerprint,
    certificateFingerprint: certificate.value.fingerprint,
    anchorFingerprint: path.anchor.fingerprint,
    notAfter: certificate.value.notAfter,
    claims: profile.claims,
    deviations: [...profile.deviations, ...chain.value.deviations, ...path.deviations],
  };
}

function attempt<Value>(
  act: () => Value,
  code: EkRefusalCode,
): { readonly status: 'done'; readonly value: Value } | EkRefusal {
  try {
    return { status: 'done', value: act() };
  } catch (error) {
    return refusalOf(error, code);
  }
}

function refusalOf(error: unknown, code: EkRefusalCode): EkRefusal {
  if (!(error instanceof EndorsementError)) throw error;
  return { status: 'refused', code, detail: error.message };
}
