import { parseAlgorithm } from './certificate.ts';
import type { AlgorithmIdentifier, Certificate } from './certificate.ts';
import { DER_TAG, DerReader, decodeInteger, decodeOctetBits, decodeSmallInteger, decodeTime } from './der.ts';
import type { Deviation } from './deviation.ts';
import { compareNames, parseName } from './distinguished-name.ts';
import type { DistinguishedName } from './distinguished-name.ts';
import { EndorsementError } from './endorsement-error.ts';
import { parseAuthorityKeyIdentifier, readExtensionList } from './extensions.ts';
import type { EcSubjectKey, RsaSubjectKey } from './subject-key.ts';
import { verifySignature } from './verify-signature.ts';

/** A complete, direct certificate revocation list (RFC 5280 §5) as read; its signature is checked where it is used. */
export interface RevocationList {
  readonly tbs: Buffer;
  readonly signatureAlgorithm: AlgorithmIdentifier;
  readonly signature: Buffer;
  readonly issuer: DistinguishedName;
  readonly authorityKeyIdentifier: Buffer | undefined;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  /** Serial numbers, hexadecimal without leading zeros. */
  readonly revoked: ReadonlySet<string>;
}

export type RevocationFinding =
  | { readonly status: 'revoked' }
  | { readonly status: 'not-revoked' | 'no-list'; readonly deviations: readonly Deviation[] };

/** Largest list that is read, in bytes. */
export const MAX_REVOCATION_LIST_BYTES = 8 * 1024 * 1024;
const MAX_ENTRIES = 200_000;
const MAX_SERIAL_BYTES = 64;
const AUTHORITY_KEY_IDENTIFIER = '2.5.29.35';

/**
 * Reads a revocation list, DER. Delta and indirect lists, and lists of one distribution point, have critical
 * extensions and are refused as `unsupported`. Throws {@link EndorsementError}.
 */
export function parseRevocationList(der: Uint8Array): RevocationList {
  if (der.length > MAX_REVOCATION_LIST_BYTES) throw new EndorsementError('too_large', 'revocation list is too large');
  const outer = new DerReader(der, 'revocation list');
  const fields = outer.enter(DER_TAG.sequence, 'revocation list');
  outer.end();
  const tbs = fields.read(DER_TAG.sequence, 'signed part');
  const signatureAlgorithm = parseAlgorithm(fields, fields.read(DER_TAG.sequence, 'signature algorithm'));
  const signature = decodeOctetBits(fields.read(DER_TAG.bitString, 'signature').contents, 'signature');
  fields.end();
  const body = fields.inside(tbs, 'signed part');
  const version = body.optional(DER_TAG.integer);
  if (version !== undefined && decodeSmallInteger(version.contents, 'version') !== 1) {
    throw new EndorsementError('unsupported', 'revocation list is of another version');
  }
  if (!body.read(DER_TAG.sequence, 'signature algorithm').raw.equals(signatureAlgorithm.raw)) {
    throw new EndorsementError('malformed', 'revocation list names two signature algorithms');
  }
  const issuer = parseName(body.read(DER_TAG.sequence, 'issuer'), 'issuer');
  const thisUpdate = decodeTime(body.next(), 'this update');
  const hasNext = body.nextTag === DER_TAG.utcTime || body.nextTag === DER_TAG.generalizedTime;
  const nextUpdate = hasNext ? decodeTime(body.next(), 'next update') : undefined;
  const entries = body.optional(DER_TAG.sequence);
  const revoked = entries === undefined ? new Set<string>() : readEntries(body.inside(entries, 'revoked certificates'));
  const authorityKeyIdentifier = readListExtensions(body);
  return {
    tbs: tbs.raw,
    signatureAlgorithm,
    signature,
    issuer,
    authorityKeyIdentifier,
    thisUpdate,
    nextUpdate,
    revoked,
  };
}

/**
 * Looks a certificate up in the lists that its issuer signed. A list past its next update still counts: what it
 * revokes is revoked, and its age is reported.
 */
export function findRevocation(
  certificate: Certificate,
  issuer: Certificate,
  issuerKey: RsaSubjectKey | EcSubjectKey,
  lists: readonly RevocationList[],
  now: Date,
): RevocationFinding {
  const { keyUsage, subjectKeyIdentifier } = issuer.extensions;
  if (keyUsage !== undefined && !keyUsage.has('cRLSign')) return { status: 'no-list', deviations: [] };
  const usable = lists.filter(
    (list) =>
      compareNames(list.issuer, certificate.issuer) !== 'different' &&
      (list.authorityKeyIdentifier === undefined ||
        subjectKeyIdentifier === undefined ||
        list.authorityKeyIdentifier.equals(subjectKeyIdentifier)) &&
      list.thisUpdate <= now &&
      verifySignature(list, issuerKey).status === 'verified',
  );
  if (usable.length === 0) return { status: 'no-list', deviations: [] };
  if (usable.some((list) => list.revoked.has(certificate.serial.hex))) return { status: 'revoked' };
  const current = usable.some((list) => list.nextUpdate === undefined || list.nextUpdate >= now);
  const deviations: Deviation[] = current ? [] : [{ code: 'CRL_STALE', detail: issuer.subject.text }];
  return { status: 'not-revoked', deviations };
}

function readEntries(list: DerReader): Set<string> {
  const revoked = new Set<string>();
  while (!list.done) {
    if (revoked.size >= MAX_ENTRIES) throw new EndorsementError('too_many', 'revocation list has too many entries');
    const entry = list.enter(DER_TAG.sequence, 'revoked certificate');
    const serial = entry.read(DER_TAG.integer, 'serial number').contents;
    if (serial.length > MAX_SERIAL_BYTES) throw new EndorsementError('too_large', 'serial number is too long');
    decodeTime(entry.next(), 'revocation date');
    const extensions = entry.optional(DER_TAG.sequence);
    if (extensions !== undefined) refuseCritical(entry.inside(extensions, 'entry extensions'));
    entry.end();
    revoked.add(decodeInteger(serial, 'serial number').magnitude.toString('hex'));
  }
  return revoked;
}

function readListExtensions(body: DerReader): Buffer | undefined {
  const tagged = body.optional(0xa0);
  body.end();
  if (tagged === undefined) return undefined;
  const outer = body.inside(tagged, 'extensions');
  const all = refuseCritical(outer.enter(DER_TAG.sequence, 'extensions'));
  outer.end();
  const identifier = all.get(AUTHORITY_KEY_IDENTIFIER)?.value;
  return identifier === undefined ? undefined : parseAuthorityKeyIdentifier(identifier).keyIdentifier;
}

function refuseCritical(list: DerReader): ReturnType<typeof readExtensionList> {
  const all = readExtensionList(list, []);
  if ([...all.values()].some((extension) => extension.critical)) {
    throw new EndorsementError('unsupported', 'revocation list is a delta, an indirect or a partial one');
  }
  return all;
}
