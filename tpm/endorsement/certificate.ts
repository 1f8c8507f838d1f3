import { createHash } from 'node:crypto';

import {
  DER_TAG,
  DerReader,
  decodeInteger,
  decodeOctetBits,
  decodeOid,
  decodeSmallInteger,
  decodeTime,
} from './der.ts';
import type { DerElement } from './der.ts';
import type { Deviation } from './deviation.ts';
import { compareNames, exceedsUpperBound, parseName } from './distinguished-name.ts';
import type { DistinguishedName } from './distinguished-name.ts';
import { EndorsementError } from './endorsement-error.ts';
import { noExtensions, parseExtensions } from './extensions.ts';
import type { CertificateExtensions } from './extensions.ts';
import { parseSubjectKey } from './subject-key.ts';
import type { SubjectKey } from './subject-key.ts';

/** An X.509 certificate (RFC 5280 §4.1) as read; nothing in it is proven yet. */
export interface Certificate {
  readonly raw: Buffer;
  /** SHA-256 of `raw`, in hexadecimal. */
  readonly fingerprint: string;
  /** The signed part as received: signatures are verified over these bytes. */
  readonly tbs: Buffer;
  readonly version: number;
  readonly serial: SerialNumber;
  readonly issuer: DistinguishedName;
  readonly subject: DistinguishedName;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly subjectKey: SubjectKey;
  readonly extensions: CertificateExtensions;
  readonly signatureAlgorithm: AlgorithmIdentifier;
  readonly signature: Buffer;
  readonly deviations: readonly Deviation[];
}

export interface SerialNumber {
  readonly positive: boolean;
  /** Hexadecimal, without leading zeros. */
  readonly hex: string;
}

export interface AlgorithmIdentifier {
  readonly oid: string;
  /** The parameters as received, header included; undefined where absent. */
  readonly parameters: Buffer | undefined;
  readonly raw: Buffer;
}

/** Largest certificate that is read, in bytes. */
export const MAX_CERTIFICATE_BYTES = 16 * 1024;
const MAX_SERIAL_BYTES = 64;
const NO_EXPIRY = '9999-12-31T23:59:59.000Z';
const EXTENSIONS = 0xa3;

/** Reads exactly one certificate, DER, without trailing bytes. Throws {@link EndorsementError}. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES) throw new EndorsementError('too_large', 'certificate is too large');
  const reader = new DerReader(der, 'certificate');
  const outer = reader.read(DER_TAG.sequence, 'certificate');
  reader.end();
  const fields = reader.inside(outer, 'certificate');
  const tbs = fields.read(DER_TAG.sequence, 'signed part');
  const signatureAlgorithm = parseAlgorithm(fields, fields.read(DER_TAG.sequence, 'signature algorithm'));
  const signature = decodeOctetBits(fields.read(DER_TAG.bitString, 'signature').contents, 'signature');
  fields.end();
  const body = parseBody(fields.inside(tbs, 'signed part'), signatureAlgorithm);
  const fingerprint = createHash('sha256').update(outer.raw).digest('hex');
  return { raw: outer.raw, fingerprint, tbs: tbs.raw, signatureAlgorithm, signature, ...body };
}

/** Whether issuer and subject are one name (RFC 5280 §6.1: self-issued). */
export function isSelfIssued(certificate: Certificate): boolean {
  return compareNames(certificate.issuer, certificate.subject) !== 'different';
}

/** Reads an AlgorithmIdentifier (RFC 5280 §4.1.1.2). */
export function parseAlgorithm(parent: DerReader, element: DerElement): AlgorithmIdentifier {
  const fields = parent.inside(element, 'algorithm');
  const oid = decodeOid(fields.read(DER_TAG.objectIdentifier, 'identifier').contents, 'algorithm');
  const parameters = fields.done ? undefined : fields.next().raw;
  fields.end();
  return { oid, parameters, raw: element.raw };
}

type Body = Omit<Certificate, 'raw' | 'fingerprint' | 'tbs' | 'signatureAlgorithm' | 'signature'>;

function parseBody(fields: DerReader, outerAlgorithm: AlgorithmIdentifier): Body {
  const deviations: Deviation[] = [];
  const version = readVersion(fields, deviations);
  const serial = readSerial(fields.read(DER_TAG.integer, 'serial number').contents, deviations);
  // The outer algorithm is not signed: it must repeat the signed one (RFC 5280 §4.1.1.2).
  if (!fields.read(DER_TAG.sequence, 'signature algorithm').raw.equals(outerAlgorithm.raw)) {
    throw new EndorsementError('malformed', 'certificate names two signature algorithms');
  }
  const issuer = parseName(fields.read(DER_TAG.sequence, 'issuer'), 'issuer');
  const validity = fields.enter(DER_TAG.sequence, 'validity');
  const notBefore = decodeTime(validity.next(), 'start of validity');
  const notAfter = decodeTime(validity.next(), 'end of validity');
  validity.end();
  const subject = parseName(fields.read(DER_TAG.sequence, 'subject'), 'subject');
  const subjectKey = parseSubjectKey(fields.read(DER_TAG.sequence, 'public key').raw);
  // issuerUniqueID and subjectUniqueID, which nobody uses and which carry nothing that is judged.
  fields.optional(0x81);
  fields.optional(0x82);
  const extensions = readExtensions(fields, version, deviations);
  fields.end();
  if (exceedsUpperBound(issuer)) deviations.push({ code: 'NAME_TOO_LONG', detail: 'issuer' });
  if (exceedsUpperBound(subject)) deviations.push({ code: 'NAME_TOO_LONG', detail: 'subject' });
  if (notAfter.toISOString() === NO_EXPIRY) deviations.push({ code: 'NO_EXPIRY', detail: 'end of validity' });
  deviations.push(...subjectKey.deviations);
  return { version, serial, issuer, notBefore, notAfter, subject, subjectKey, extensions, deviations };
}

/** Version 1 is the default and must not be encoded (X.690 §11.5). */
function readVersion(fields: DerReader, deviations: Deviation[]): number {
  const tagged = fields.optional(0xa0);
  if (tagged === undefined) return 1;
  const inner = fields.inside(tagged, 'version');
  const version = decodeSmallInteger(inner.read(DER_TAG.integer, 'version').contents, 'version') + 1;
  inner.end();
  if (version === 1) deviations.push({ code: 'EXPLICIT_DEFAULT', detail: 'version' });
  return version;
}

function readSerial(contents: Buffer, deviations: Deviation[]): SerialNumber {
  if (contents.length > MAX_SERIAL_BYTES) throw new EndorsementError('too_large', 'serial number is too long');
  const { negative, magnitude, minimal } = decodeInteger(contents, 'serial number');
  if (!minimal) deviations.push({ code: 'SERIAL_LEADING_ZERO', detail: 'serial number' });
  const hex = magnitude.toString('hex');
  return { positive: !negative && /[1-9a-f]/.test(hex), hex };
}

function readExtensions(fields: DerReader, version: number, deviations: Deviation[]): CertificateExtensions {
  if (fields.nextTag !== EXTENSIONS) return noExtensions();
  if (version !== 3) throw new EndorsementError('malformed', 'certificate has extensions before version 3');
  const tagged = fields.enter(EXTENSIONS, 'extensions');
  const list = tagged.enter(DER_TAG.sequence, 'extensions');
  tagged.end();
  return parseExtensions(list, deviations);
}
