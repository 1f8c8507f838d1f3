import { DER_TAG, DerReader, decodeBoolean, decodeInteger, decodeOid, decodeSmallInteger } from './der.ts';
import type { Deviation } from './deviation.ts';
import { parseName } from './distinguished-name.ts';
import type { DistinguishedName } from './distinguished-name.ts';
import { EndorsementError } from './endorsement-error.ts';

/** Extensions of a certificate (RFC 5280 §4.2): all of them as received, and the ones that are judged, decoded. */
export interface CertificateExtensions {
  /** By object identifier, in the order of the certificate. */
  readonly all: ReadonlyMap<string, Extension>;
  readonly basicConstraints: BasicConstraints | undefined;
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined;
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly subjectKeyIdentifier: Buffer | undefined;
  readonly authorityKeyIdentifier: AuthorityKeyIdentifier | undefined;
  readonly subjectAlternativeName: readonly GeneralName[] | undefined;
}

export interface Extension {
  readonly critical: boolean;
  readonly value: Buffer;
}

export interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | undefined;
}

export interface AuthorityKeyIdentifier {
  readonly keyIdentifier: Buffer | undefined;
  /** Serial number of the issuer's certificate, without leading zeros. */
  readonly serial: Buffer | undefined;
}

/** Only directory names are decoded; other kinds are kept by their tag (RFC 5280 §4.2.1.6). */
export type GeneralName =
  | { readonly kind: 'directory'; readonly name: DistinguishedName }
  | { readonly kind: 'other'; readonly tag: number };

const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
] as const;
export type KeyUsage = (typeof KEY_USAGES)[number];

export const EXTENSION = {
  subjectDirectoryAttributes: '2.5.29.9',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAlternativeName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
} as const;

const MAX_EXTENSIONS = 64;
const MAX_USAGES = 32;
const MAX_NAMES = 16;
const DIRECTORY_NAME = 0xa4;

/** Reads the extensions from a reader of their SEQUENCE; notes what DER does not allow in `deviations`. */
export function parseExtensions(list: DerReader, deviations: Deviation[]): CertificateExtensions {
  const all = readExtensionList(list, deviations);
  const value = (oid: string) => all.get(oid)?.value;
  return {
    all,
    basicConstraints: decode(value(EXTENSION.basicConstraints), (bytes) => parseBasicConstraints(bytes, deviations)),
    keyUsage: decode(value(EXTENSION.keyUsage), parseKeyUsage),
    extendedKeyUsage: decode(value(EXTENSION.extendedKeyUsage), parseExtendedKeyUsage),
    subjectKeyIdentifier: decode(value(EXTENSION.subjectKeyIdentifier), parseSubjectKeyIdentifier),
    authorityKeyIdentifier: decode(value(EXTENSION.authorityKeyIdentifier), parseAuthorityKeyIdentifier),
    subjectAlternativeName: decode(value(EXTENSION.subjectAlternativeName), parseGeneralNames),
  };
}

/** Extensions of a certificate that has none. */
export function noExtensions(): CertificateExtensions {
  return parseExtensions(new DerReader(Buffer.alloc(0), 'extensions'), []);
}

/** Extensions as pairs of identifier and value, as certificates and revocation lists have them. */
export function readExtensionList(list: DerReader, deviations: Deviation[]): ReadonlyMap<string, Extension> {
  const all = new Map<string, Extension>();
  while (!list.done) {
    if (all.size >= MAX_EXTENSIONS) throw new EndorsementError('too_many', 'certificate has too many extensions');
    const fields = list.enter(DER_TAG.sequence, 'extension');
    const oid = decodeOid(fields.read(DER_TAG.objectIdentifier, 'identifier').contents, 'extension identifier');
    const flag = fields.optional(DER_TAG.boolean);
    const critical = flag !== undefined && decodeBoolean(flag.contents, 'critical flag');
    if (flag !== undefined && !critical)
      deviations.push({ code: 'EXPLICIT_DEFAULT', detail: `critical flag of extension ${oid}` });
    const value = fields.read(DER_TAG.octetString, 'value').contents;
    fields.end();
    if (all.has(oid)) throw new EndorsementError('malformed', 'certificate has an extension twice');
    all.set(oid, { critical, value });
  }
  return all;
}

/** KeyIdentifier out of an AuthorityKeyIdentifier extension (RFC 5280 §4.2.1.1). */
export function parseAuthorityKeyIdentifier(bytes: Buffer): AuthorityKeyIdentifier {
  const fields = openSequence(bytes, 'authority key identifier');
  const keyIdentifier = fields.optional(0x80)?.contents;
  fields.optional(0xa1);
  const serial = fields.optional(0x82)?.contents;
  fields.end();
  return { keyIdentifier, serial: decode(serial, (contents) => decodeInteger(contents, 'authority serial').magnitude) };
}

function parseBasicConstraints(bytes: Buffer, deviations: Deviation[]): BasicConstraints {
  const fields = openSequence(bytes, 'basic constraints');
  const flag = fields.optional(DER_TAG.boolean);
  const ca = flag !== undefined && decodeBoolean(flag.contents, 'CA flag');
  if (flag !== undefined && !ca)
    deviations.push({ code: 'EXPLICIT_DEFAULT', detail: 'CA flag of the basic constraints' });
  const pathLength = decode(fields.optional(DER_TAG.integer)?.contents, (contents) =>
    decodeSmallInteger(contents, 'path length'),
  );
  fields.end();
  return { ca, pathLength };
}

function parseKeyUsage(bytes: Buffer): ReadonlySet<KeyUsage> {
  const { contents } = openOne(bytes, DER_TAG.bitString, 'key usage');
  const [unused = 8, ...octets] = contents.subarray(0, 4);
  if (unused > 7 || octets.length === 0) throw new EndorsementError('malformed', 'key usage is not a bit string');
  const limit = octets.length * 8 - unused;
  return new Set(KEY_USAGES.filter((_, bit) => bit < limit && (((octets[bit >> 3] ?? 0) << (bit & 7)) & 0x80) !== 0));
}

function parseExtendedKeyUsage(bytes: Buffer): readonly string[] {
  const fields = openSequence(bytes, 'extended key usage');
  const usages: string[] = [];
  while (!fields.done) {
    if (usages.length >= MAX_USAGES) throw new EndorsementError('too_many', 'certificate has too many key usages');
    usages.push(decodeOid(fields.read(DER_TAG.objectIdentifier, 'usage').contents, 'extended key usage'));
  }
  return usages;
}

function parseSubjectKeyIdentifier(bytes: Buffer): Buffer {
  return openOne(bytes, DER_TAG.octetString, 'subject key identifier').contents;
}

function parseGeneralNames(bytes: Buffer): readonly GeneralName[] {
  const fields = openSequence(bytes, 'alternative names');
  const names: GeneralName[] = [];
  while (!fields.done) {
    if (names.length >= MAX_NAMES) throw new EndorsementError('too_many', 'certificate has too many alternative names');
    const element = fields.next();
    if (element.tag === DIRECTORY_NAME) {
      const inner = fields.inside(element, 'directory name');
      names.push({ kind: 'directory', name: parseName(inner.next(), 'directory name') });
      inner.end();
    } else {
      names.push({ kind: 'other', tag: element.tag });
    }
  }
  return names;
}

function openOne(bytes: Buffer, tag: number, name: string) {
  const outer = new DerReader(bytes, name, 6);
  const element = outer.read(tag, name);
  outer.end();
  return element;
}

function openSequence(bytes: Buffer, name: string): DerReader {
  return new DerReader(openOne(bytes, DER_TAG.sequence, name).contents, name, 7);
}

function decode<Value>(bytes: Buffer | undefined, parse: (bytes: Buffer) => Value): Value | undefined {
  return bytes === undefined ? undefined : parse(bytes);
}
