import type { Certificate } from '../../tpm/endorsement/certificate.ts';
import { parseCertificateBundle } from '../../tpm/endorsement/certificate-bundle.ts';
import { EndorsementError } from '../../tpm/endorsement/endorsement-error.ts';
import { offlineFinding } from './offline-finding.ts';
import type { OfflineFinding } from './offline-finding.ts';

/** Certificates that somebody keeps in files: what is self-issued is trusted, the others may stand between. */
export interface TrustAnchors {
  readonly anchors: readonly Certificate[];
  readonly intermediates: readonly Certificate[];
  /** What could not be read. One bad file loses no other. */
  readonly findings: readonly OfflineFinding[];
}

export interface NamedFile {
  readonly name: string;
  readonly bytes: Buffer;
}

/** Reads files of certificates, PEM or DER. */
export function readTrustAnchors(files: readonly NamedFile[]): TrustAnchors {
  const anchors = new Map<string, Certificate>();
  const intermediates = new Map<string, Certificate>();
  const findings: OfflineFinding[] = [];
  for (const { name, bytes } of files) {
    try {
      const bundle = parseCertificateBundle(bytes);
      for (const each of bundle.anchors) anchors.set(each.fingerprint, each);
      for (const each of bundle.intermediates) intermediates.set(each.fingerprint, each);
      for (const { index, reason } of bundle.rejected) {
        const message = `${name}: certificate ${index + 1} is left out: ${reason}`;
        findings.push(offlineFinding('TRUST_ANCHOR_UNREADABLE', 'warning', message));
      }
    } catch (error) {
      if (!(error instanceof EndorsementError)) throw error;
      findings.push(offlineFinding('TRUST_ANCHOR_FILE_SKIPPED', 'info', `${name}: ${error.message}`));
    }
  }
  return { anchors: [...anchors.values()], intermediates: [...intermediates.values()], findings };
}
