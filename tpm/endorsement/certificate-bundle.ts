import { isSelfIssued, MAX_CERTIFICATE_BYTES, parseCertificate } from './certificate.ts';
import type { Certificate } from './certificate.ts';
import { DER_TAG, DerReader } from './der.ts';
import { splitBundle } from './encoded-bundle.ts';
import type { BundleKind } from './encoded-bundle.ts';
import { EndorsementError } from './endorsement-error.ts';

/** Certificates of a file that an operator imports, each once. */
export interface CertificateBundle {
  /** Issued by themselves: roots, which become trust anchors. */
  readonly anchors: readonly Certificate[];
  /** Issued by others: they stand between. An operator may still make one of them an anchor. */
  readonly intermediates: readonly Certificate[];
  /** What could not be read, by its place in the file, from 0. One bad certificate does not lose the others. */
  readonly rejected: readonly { readonly index: number; readonly reason: string }[];
  /** Bytes of padding after the last certificate, as an NV index has them. */
  readonly padding: number;
}

/** Largest file that is read, in bytes, and most certificates in it. */
export const MAX_BUNDLE_BYTES = 4 * 1024 * 1024;
export const MAX_BUNDLE_CERTIFICATES = 2048;

const CERTIFICATES: BundleKind = {
  label: 'CERTIFICATE',
  noun: 'certificate',
  file: 'file of certificates',
  maxBytes: MAX_CERTIFICATE_BYTES,
  maxCount: MAX_BUNDLE_CERTIFICATES,
};

/**
 * Reads PEM text with any number of certificates and anything between them, or certificates in DER one after
 * another, with padding (00 or FF) after them. Throws {@link EndorsementError} where nothing can be read at all or a bound is exceeded.
 */
export function parseCertificateBundle(bytes: Uint8Array): CertificateBundle {
  if (bytes.length > MAX_BUNDLE_BYTES) throw new EndorsementError('too_large', 'file of certificates is too large');
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const content = file[0] === DER_TAG.sequence ? withoutPadding(file) : file;
  const encoded = splitBundle(content, CERTIFICATES);
  const found = new Map<string, Certificate>();
  const rejected: { readonly index: number; readonly reason: string }[] = [];
  encoded.forEach((der, index) => {
    try {
      const certificate = parseCertificate(der);
      found.set(certificate.fingerprint, certificate);
    } catch (error) {
      if (!(error instanceof EndorsementError)) throw error;
      rejected.push({ index, reason: error.message });
    }
  });
  const all = [...found.values()];
  return {
    anchors: all.filter((certificate) => isSelfIssued(certificate)),
    intermediates: all.filter((certificate) => !isSelfIssued(certificate)),
    rejected,
    padding: file.length - content.length,
  };
}

/** Cuts off the padding: what follows the last element that is whole, if it is nothing but 00 or nothing but FF. */
function withoutPadding(file: Buffer): Buffer {
  const reader = new DerReader(file, 'file of certificates');
  while (reader.nextTag === DER_TAG.sequence) reader.next();
  const rest = file.subarray(reader.offset);
  const padded = rest.every((byte) => byte === 0x00) || rest.every((byte) => byte === 0xff);
  return padded ? file.subarray(0, reader.offset) : file;
}
