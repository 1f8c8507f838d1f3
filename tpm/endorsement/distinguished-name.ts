import { DER_TAG, DerReader, decodeOid } from './der.ts';
import type { DerElement } from './der.ts';
import { EndorsementError } from './endorsement-error.ts';

/** A distinguished name (RFC 5280 §4.1.2.4). */
export interface DistinguishedName {
  readonly raw: Buffer;
  /** Equal for names that RFC 5280 §7.1 calls the same: kind of string, letter case and runs of blanks do not count. */
  readonly canonical: string;
  readonly attributes: readonly NameAttribute[];
  /** For people: `C=DE, O=Example, CN=…`; control and direction characters are escaped. */
  readonly text: string;
}

export interface NameAttribute {
  readonly oid: string;
  /** The decoded string as it is, which may be hostile: escape it before a person sees it. */
  readonly value: string;
}

const MAX_RDNS = 32;
const MAX_ATTRIBUTES = 64;
const MAX_VALUE_BYTES = 1024;
/** Upper bounds of X.520 as RFC 5280 appendix A.1 repeats them (ub-common-name and its like). */
const UPPER_BOUND = 64;

const SHORT_NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'street',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'emailAddress',
  '2.23.133.2.1': 'tpmManufacturer',
  '2.23.133.2.2': 'tpmModel',
  '2.23.133.2.3': 'tpmVersion',
};

const STRINGS: Readonly<Record<number, (bytes: Buffer) => string>> = {
  [DER_TAG.utf8String]: (bytes) => bytes.toString('utf8'),
  [DER_TAG.printableString]: (bytes) => bytes.toString('latin1'),
  [DER_TAG.ia5String]: (bytes) => bytes.toString('latin1'),
  [DER_TAG.teletexString]: (bytes) => bytes.toString('latin1'),
  [DER_TAG.bmpString]: (bytes) =>
    Buffer.from(bytes.subarray(0, bytes.length & ~1))
      .swap16()
      .toString('utf16le'),
};

/** Reads a Name: RDNSequence of sets of attributes. Throws {@link EndorsementError}. */
export function parseName(element: DerElement, field: string): DistinguishedName {
  if (element.tag !== DER_TAG.sequence) throw new EndorsementError('malformed', `${field} is not a name`);
  const attributes: NameAttribute[] = [];
  const canonical: string[] = [];
  const rdns = new DerReader(element.contents, field, 4);
  while (!rdns.done) {
    if (canonical.length >= MAX_RDNS) throw new EndorsementError('too_many', `${field} has too many parts`);
    const part = parsePart(rdns.enter(DER_TAG.set, `${field} part`), field);
    attributes.push(...part);
    if (attributes.length > MAX_ATTRIBUTES) throw new EndorsementError('too_many', `${field} has too many attributes`);
    canonical.push(canonicalPart(part));
  }
  const text = attributes.map(
    ({ oid, value }) => `${SHORT_NAMES[oid] ?? oid}=${escapeText(value.replace(/[,\\]/g, '\\$&'))}`,
  );
  return { raw: element.raw, canonical: canonical.join('\n'), attributes, text: text.join(', ') };
}

/** Whether two names are the same (RFC 5280 §7.1), and whether they are so byte for byte. */
export function compareNames(a: DistinguishedName, b: DistinguishedName): 'identical' | 'equivalent' | 'different' {
  if (a.raw.equals(b.raw)) return 'identical';
  return a.canonical === b.canonical ? 'equivalent' : 'different';
}

/** Whether a value is longer than X.520 allows, which real CAs exceed. */
export function exceedsUpperBound(name: DistinguishedName): boolean {
  return name.attributes.some((attribute) => attribute.oid in SHORT_NAMES && attribute.value.length > UPPER_BOUND);
}

/** Escapes control, format (bidirectional), separator, invisible and invalid characters as `\u{…}`. */
export function escapeText(text: string): string {
  return text.replace(
    /[\p{C}\p{Zl}\p{Zp}\p{DI}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`,
  );
}

function parsePart(set: DerReader, field: string): readonly NameAttribute[] {
  if (set.done) throw new EndorsementError('malformed', `${field} has an empty part`);
  const part: NameAttribute[] = [];
  while (!set.done) {
    if (part.length >= MAX_ATTRIBUTES) throw new EndorsementError('too_many', `${field} has too many attributes`);
    part.push(parseAttribute(set, field));
  }
  return part;
}

/** JSON keeps the borders between attributes, whatever characters are in them. */
function canonicalPart(part: readonly NameAttribute[]): string {
  const folded = part.map(({ oid, value }) => `${oid}=${value.trim().replace(/\s+/g, ' ').toLowerCase()}`);
  return JSON.stringify(folded.toSorted());
}

function parseAttribute(set: DerReader, field: string): NameAttribute {
  const attribute = set.enter(DER_TAG.sequence, `${field} attribute`);
  const oid = decodeOid(attribute.read(DER_TAG.objectIdentifier, 'type').contents, `${field} attribute type`);
  const value = attribute.next();
  attribute.end();
  if (value.contents.length > MAX_VALUE_BYTES)
    throw new EndorsementError('too_large', `${field} has an attribute that is too long`);
  const decode = STRINGS[value.tag];
  return { oid, value: decode === undefined ? `#${value.raw.toString('hex')}` : decode(value.contents) };
}
