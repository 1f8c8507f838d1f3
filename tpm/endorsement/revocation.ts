import { createHash } from 'node:crypto';

import { parseAlgorithm } from './certificate.ts';
import type { AlgorithmIdentifier, Certificate } from './certificate.ts';
import { DER_TAG, DerReader, decodeInteger, decodeOctetBits, decodeSmallInteger, decodeTime } from './der.ts';
import type { Deviation } from './deviation.ts';
import { compareNames, parseName } from './distinguished-name.ts';
import type { DistinguishedName } from './distinguished-name.ts';
import { EndorsementError } from './endorsement-error.ts';
import { parseAuthorityKeyIdentifier, readExtensionList } from './extensions.ts';
import type { EcSubjectKey, RsaSubjectKey } from './subject-key.ts';

/** A complete, direct certificate revocation list (RFC 5280 §5) as read; nothing in it is proven yet. */
export interface RevocationList {
  readonly tbs: Buffer;
  readonly signatureAlgorithm: AlgorithmIdentifier;
  readonly signature: Buffer;
  readonly issuer: DistinguishedName;
  readonly authorityKeyIdentifier: Buffer | undefined;
  /** CRL number (RFC 5280 §5.2.3), hexadecimal without leading zeros. */
  readonly number: string | undefined;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
  /** Serial numbers, hexadecimal without leading zeros. */
  readonly revoked: ReadonlySet<string>;
}

/**
 * A revocation list whose issuer signed it: `verifyRevocationList` makes one, and the store gives it back with the key that
 * was proven then.
 */
export interface ProvenRevocationList extends Pick<RevocationList, 'issuer' | 'thisUpdate' | 'nextUpdate' | 'revoked'> {
  /** Fingerprint of the issuer's key, see {@link issuerKeyFingerprint}. */
  readonly issuerKey: string;
}

export type RevocationFinding =
  | { readonly status: 'revoked' }
  | { readonly status: 'not-revoked' | 'no-list'; readonly deviations: readonly Deviation[] };

/** Largest list that is read, in bytes, and most entries in it. */
export const MAX_REVOCATION_LIST_BYTES = 4 * 1024 * 1024;
const MAX_ENTRIES = 100_000;
const MAX_SERIAL_BYTES = 64;
/** RFC 5280 §5.2.3. */
const MAX_NUMBER_BYTES = 20;
const AUTHORITY_KEY_IDENTIFIER = '2.5.29.35';
const CRL_NUMBER = '2.5.29.20';

/** What a critical extension makes of a list or an entry (RFC 5280 §5.2.4, §5.2.5, §5.3.3). */
const UNSUPPORTED: Readonly<Record<string, string>> = {
  '2.5.29.27': 'is a delta: import the complete list',
  '2.5.29.28': 'is a partial or an indirect one (issuing distribution point): import the complete list',
  '2.5.29.29': 'is an indirect one: an entry names another issuer',
};

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
  const extensions = readListExtensions(body);
  return { tbs: tbs.raw, signatureAlgorithm, signature, issuer, thisUpdate, nextUpdate, revoked, ...extensions };
}

/** SHA-256 (hex) of the canonical SubjectPublicKeyInfo: says which key signed a list. */
export function issuerKeyFingerprint(key: RsaSubjectKey | EcSubjectKey): string {
  return createHash('sha256').update(key.spki).digest('hex');
}

/**
 * Looks a certificate up in the lists that its issuer signed. A list past its next update still counts: what it
 * revokes is revoked, and its age is reported. So does one of the future, as a clock that was set back
 * makes one. Issuers are told apart by name and key and not by certificate: whoever sends another certificate of the
 * same key is under the same list.
 */
export function findRevocation(
  certificate: Certificate,
  issuer: Certificate,
  issuerKey: RsaSubjectKey | EcSubjectKey,
  lists: readonly ProvenRevocationList[],
  now: Date,
): RevocationFinding {
  const key = issuerKeyFingerprint(issuerKey);
  const usable = lists.filter(
    (list) => list.issuerKey === key && compareNames(list.issuer, certificate.issuer) !== 'different',
  );
  if (usable.length === 0) return { status: 'no-list', deviations: [] };
  if (usable.some((list) => list.revoked.has(certificate.serial.hex))) return { status: 'revoked' };
  const current = usable.some((list) => list.nextUpdate === undefined || list.nextUpdate >= now);
  const deviations: Deviation[] = current ? [] : [{ code: 'CRL_STALE', detail: issuer.subject.text }];
  return { status: 'not-revoked', deviations };
}

function readEntries(list: DerReader): Set<string> {
  const revoked = new Set<string>();
  for (let count = 0; !list.done; count += 1) {
    if (count >= MAX_ENTRIES) throw new EndorsementError('too_many', 'revocation list has too many entries');
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

function readListExtensions(body: DerReader): Pick<RevocationList, 'authorityKeyIdentifier' | 'number'> {
  const tagged = body.optional(0xa0);
  body.end();
  if (tagged === undefined) return { authorityKeyIdentifier: undefined, number: undefined };
  const outer = body.inside(tagged, 'extensions');
  const all = refuseCritical(outer.enter(DER_TAG.sequence, 'extensions'));
  outer.end();
  const identifier = all.get(AUTHORITY_KEY_IDENTIFIER)?.value;
  const number = all.get(CRL_NUMBER)?.value;
  return {
    authorityKeyIdentifier:
      identifier === undefined ? undefined : parseAuthorityKeyIdentifier(identifier).keyIdentifier,
    number: number === undefined ? undefined : parseNumber(number),
  };
}

function parseNumber(bytes: Buffer): string {
  const reader = new DerReader(bytes, 'list number', 6);
  const { negative, magnitude } = decodeInteger(reader.read(DER_TAG.integer, 'list number').contents, 'list number');
  reader.end();
  if (negative || magnitude.length > MAX_NUMBER_BYTES) {
    throw new EndorsementError('malformed', 'list number is out of range');
  }
  return magnitude.toString('hex');
}

function refuseCritical(list: DerReader): ReturnType<typeof readExtensionList> {
  const all = readExtensionList(list, []);
  for (const [oid, { critical }] of all) {
    if (critical) {
      const why = UNSUPPORTED[oid] ?? `has the critical extension ${oid}, which is not understood`;
      throw new EndorsementError('unsupported', `revocation list ${why}`);
    }
  }
  return all;
}
