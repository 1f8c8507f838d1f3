/** Who the certificates of Secure Boot are of, for people: to decide, compare digests. */
import { X509Certificate, createHash } from 'node:crypto';
import { FindingList } from './finding.ts';
import type { EventLogFinding } from './finding.ts';
import type { SecureBootState } from './secure-boot-state.ts';

export interface Signer {
  readonly subject: string;
  readonly issuer: string;
  readonly serialNumber: string;
  /** As in the certificate. Firmware does not look at it: certificates in db stay valid for ever. */
  readonly notAfter: Date;
}

export interface Signers {
  /** By SHA-256 of the certificate, hexadecimal. */
  readonly bySha256: ReadonlyMap<string, Signer>;
  /** The subject of a certificate (DER) that was read. */
  readonly subjectOf: (certificate: Buffer) => string | undefined;
  readonly findings: readonly EventLogFinding[];
}

/** Certificates of one log that are read: each costs as much as twenty events. */
const MAX_CERTIFICATES = 256;

/**
 * Reads the certificates in PK, KEK, db and dbx and those of the authorities. One that does not parse stays a digest, with a
 * finding: firmware is less strict than OpenSSL.
 */
export function readSigners(state: SecureBootState): Signers {
  const findings = new FindingList();
  const bySha256 = new Map<string, Signer>();
  const seen = new Set<string>();
  for (const { event, certificate } of certificatesOf(state)) {
    const sha256 = fingerprint(certificate);
    if (seen.has(sha256) || seen.size >= MAX_CERTIFICATES) continue;
    seen.add(sha256);
    const signer = readSigner(certificate);
    if (signer === undefined) {
      const message = `certificate ${sha256} cannot be read`;
      findings.add('SIGNATURE_CERTIFICATE_UNREADABLE', { event, pcr: 7 }, message);
    } else {
      bySha256.set(sha256, signer);
    }
  }
  const subjectOf = (certificate: Buffer): string | undefined => bySha256.get(fingerprint(certificate))?.subject;
  return { bySha256, subjectOf, findings: findings.list() };
}

function fingerprint(certificate: Buffer): string {
  return createHash('sha256').update(certificate).digest('hex');
}

function certificatesOf(state: SecureBootState): readonly { readonly event: number; readonly certificate: Buffer }[] {
  const enrolled = Object.values(state.databases).flatMap((database) => {
    if (database.state !== 'read') return [];
    const { event, lists } = database;
    return lists.signatures.filter(({ kind }) => kind === 'x509').map(({ data }) => ({ event, certificate: data }));
  });
  const used = state.authorities
    .filter(({ data }) => data[0] === 0x30)
    .map(({ event, data }) => ({ event, certificate: data }));
  return [...enrolled, ...used];
}

function readSigner(certificate: Buffer): Signer | undefined {
  try {
    const { subject, issuer, serialNumber, validToDate } = new X509Certificate(certificate);
    return { subject: oneLine(subject), issuer: oneLine(issuer), serialNumber, notAfter: validToDate };
  } catch {
    return undefined;
  }
}

/** `CN=…, O=…`: Node puts a line for each attribute. */
function oneLine(name: string | undefined): string {
  return (name ?? '').split('\n').toReversed().join(', ');
}
