import { X509Certificate } from 'node:crypto';

/** A certificate in NV below this size has a one-byte length; no X.509 certificate is that short. */
const SEQUENCE_LONG_LENGTH = Buffer.from([0x30, 0x82]);
/** TCG_PCCLIENT_STORED_CERT: tag 0x1001, type 0 (full certificate), 16-bit size (PC Client Implementation §7.3.2). */
const STORED_CERT_HEADER = Buffer.from([0x10, 0x01, 0x00]);
const STORED_CERT_HEADER_SIZE = 5;

const MAX_CERTIFICATES = 16;

/**
 * The certificate in an NV index: without the TCG 1.2 wrapper that some vendors kept, and without the padding behind it,
 * both by explicit length.
 * @returns undefined if there is none
 */
export function storedCertificate(stored: Buffer): Buffer | undefined {
  if (!stored.subarray(0, STORED_CERT_HEADER.length).equals(STORED_CERT_HEADER)) return sequenceAt(stored, 0);
  if (stored.length < STORED_CERT_HEADER_SIZE) return undefined;
  const size = stored.readUInt16BE(STORED_CERT_HEADER.length);
  return sequenceAt(stored.subarray(0, STORED_CERT_HEADER_SIZE + size), STORED_CERT_HEADER_SIZE);
}

/**
 * The certificates of a chain, which NV indexes hold one after the other and across their borders (EK Credential Profile
 * v2.6 §2.2.1.5.3). What lies between them is padding or wrapping; at most 16 are taken.
 */
export function storedChain(stored: Buffer): readonly Buffer[] {
  const certificates: Buffer[] = [];
  let offset = stored.indexOf(SEQUENCE_LONG_LENGTH);
  while (offset !== -1 && certificates.length < MAX_CERTIFICATES) {
    const certificate = sequenceAt(stored, offset);
    const isCertificate = certificate !== undefined && parses(certificate);
    if (isCertificate) certificates.push(certificate);
    offset = stored.indexOf(SEQUENCE_LONG_LENGTH, offset + (isCertificate ? certificate.length : 1));
  }
  return certificates;
}

/** The DER SEQUENCE with a two-byte length that begins here, if all of it is there. */
function sequenceAt(bytes: Buffer, offset: number): Buffer | undefined {
  if (offset + 4 > bytes.length || !bytes.subarray(offset, offset + 2).equals(SEQUENCE_LONG_LENGTH)) return undefined;
  const end = offset + 4 + bytes.readUInt16BE(offset + 2);
  return end > bytes.length ? undefined : Buffer.from(bytes.subarray(offset, end));
}

function parses(der: Buffer): boolean {
  try {
    return new X509Certificate(der).raw.length === der.length;
  } catch {
    return false;
  }
}
