import { DER_TAG, DerReader } from './der.ts';
import { EndorsementError } from './endorsement-error.ts';

/** What stands in a file, one after another: certificates or revocation lists. */
export interface BundleKind {
  /** Of the PEM armour (RFC 7468), such as `CERTIFICATE`. */
  readonly label: string;
  /** One of it, for errors. */
  readonly noun: string;
  /** The file, for errors. */
  readonly file: string;
  /** Largest one, DER, in bytes. */
  readonly maxBytes: number;
  readonly maxCount: number;
}

/**
 * Cuts PEM text with any number of items and anything between them, or items in DER one after another, into DER.
 * Throws {@link EndorsementError} where nothing is found or a bound is exceeded; the items are not looked into.
 */
export function splitBundle(file: Buffer, kind: BundleKind): readonly Buffer[] {
  const encoded = file[0] === DER_TAG.sequence ? splitDer(file, kind) : splitPem(file.toString('latin1'), kind);
  if (encoded.length === 0) throw new EndorsementError('malformed', `${kind.file} holds no ${kind.noun}`);
  return encoded;
}

function splitDer(file: Buffer, kind: BundleKind): Buffer[] {
  const reader = new DerReader(file, kind.file);
  const encoded: Buffer[] = [];
  while (!reader.done) {
    encoded.push(reader.next().raw);
    checkCount(encoded, kind);
  }
  return encoded;
}

function splitPem(text: string, kind: BundleKind): Buffer[] {
  const begin = `-----BEGIN ${kind.label}-----`;
  const end = `-----END ${kind.label}-----`;
  const encoded: Buffer[] = [];
  for (let start = text.indexOf(begin); start !== -1; start = text.indexOf(begin, start + begin.length)) {
    const stop = text.indexOf(end, start);
    if (stop === -1) throw new EndorsementError('malformed', `PEM text ends within a ${kind.noun}`);
    const body = text.slice(start + begin.length, stop);
    // Base64 takes a third more than the bytes, line ends a little more.
    if (body.length > kind.maxBytes * 2) throw new EndorsementError('too_large', `${kind.noun} is too large`);
    encoded.push(Buffer.from(body, 'base64'));
    checkCount(encoded, kind);
  }
  return encoded;
}

function checkCount(encoded: readonly Buffer[], kind: BundleKind): void {
  if (encoded.length > kind.maxCount) throw new EndorsementError('too_many', `${kind.file} holds too many`);
}
