/** The keys that file signatures are checked against, found by the identifiers that signatures carry. */
import { X509Certificate, createPublicKey, hash as oneShotHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { DER, DerError, DerReader } from './der.ts';

export type ImaKeyErrorCode = 'KEY_UNREADABLE' | 'KEY_UNSUITABLE';

/** Why bytes are no key of a keyring. */
export class ImaKeyError extends Error {
  override readonly name = 'ImaKeyError';
  readonly code: ImaKeyErrorCode;

  constructor(code: ImaKeyErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A verification key. Validity dates of a certificate do not count: the kernel ignores them, and old files stay signed. */
export interface ImaKey {
  readonly key: KeyObject;
  /** What signs: `rsa` and `ec` over digests, `mldsa` over messages. */
  readonly type: 'rsa' | 'ec' | 'mldsa';
  /** The SHA-256 of the SubjectPublicKeyInfo in hexadecimal: how policies and findings name the key. */
  readonly fingerprint: string;
  /**
   * Identifiers in hexadecimal: the certificate's SKI, and the SHA-1 of the bare public key (PKCS #1, or the uncompressed point).
   * The last four bytes of either are the key id of a signature.
   */
  readonly identifiers: readonly string[];
  /** DER of issuer and serial number in hexadecimal, by which PKCS #7 names a certificate. */
  readonly issuerAndSerial: string | undefined;
  /** The subject of the certificate, as the certificate says it. */
  readonly subject: string | undefined;
}

/** A signature that may be of a key, over a digest of this hash, or over a message where the hash is ''. */
export interface SignatureTrial {
  readonly key: ImaKey;
  readonly hash: string;
  readonly signed: Buffer;
  readonly signature: Buffer;
}

/** Whether the signature verifies: by `verify`, or as that said of the same trial before. */
export type TrySignature = (trial: SignatureTrial, verify: () => boolean) => boolean;

/** Keys of one or more keyrings. Different keys may share an id of four bytes: each is tried. */
export class ImaKeyring {
  readonly keys: readonly ImaKey[];
  /** Null where no signature is tried: then one that a key is here for is not valid. */
  readonly try: TrySignature | null;
  readonly #byKeyId = new Map<string, ImaKey[]>();
  #untried: ImaKeyring | undefined;

  constructor(keys: readonly ImaKey[], trySignature: TrySignature | null = (_trial, verify) => verify()) {
    this.keys = keys;
    this.try = trySignature;
    for (const key of keys) {
      for (const keyId of new Set(key.identifiers.map((identifier) => identifier.slice(-8)))) {
        this.#byKeyId.set(keyId, [...(this.#byKeyId.get(keyId) ?? []), key]);
      }
    }
  }

  /** The same keys, with no signature tried. */
  get untried(): ImaKeyring {
    if (this.try === null) return this;
    return (this.#untried ??= new ImaKeyring(this.keys, null));
  }

  /** Keys of an id, eight hexadecimal digits. */
  byKeyId(keyId: string): readonly ImaKey[] {
    return this.#byKeyId.get(keyId) ?? [];
  }

  /** Keys of a whole subject key identifier, in hexadecimal. */
  byIdentifier(identifier: string): readonly ImaKey[] {
    return this.byKeyId(identifier.slice(-8)).filter(({ identifiers }) => identifiers.includes(identifier));
  }

  byIssuerAndSerial(name: string): readonly ImaKey[] {
    return this.keys.filter(({ issuerAndSerial }) => issuerAndSerial === name);
  }
}

/** Bytes of a certificate or key, before anything looks into it. */
const MAX_KEY_BYTES = 64 * 1024;
const MAX_KEYS_PER_FILE = 1000;
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]+)-----END \1-----/g;

/**
 * The keys of a file: certificates or SubjectPublicKeyInfo, one in DER or any number in PEM.
 * @throws ImaKeyError when one of them cannot be read or could never verify a signature
 */
export function readImaKeys(file: Buffer): readonly ImaKey[] {
  if (file[0] === DER.sequence) return [readImaKey(file)];
  const text = file.toString('latin1');
  const blocks = [...text.matchAll(PEM_BLOCK)];
  if (blocks.length === 0) throw new ImaKeyError('KEY_UNREADABLE', 'neither der nor pem');
  if (blocks.length > MAX_KEYS_PER_FILE) throw new ImaKeyError('KEY_UNREADABLE', `more than ${MAX_KEYS_PER_FILE} keys`);
  return blocks.map(([, label = '', base64 = '']) => {
    if (label !== 'CERTIFICATE' && label !== 'PUBLIC KEY') {
      throw new ImaKeyError(
        'KEY_UNREADABLE',
        `pem of ${label.toLowerCase()} where a certificate or public key must be`,
      );
    }
    return readImaKey(Buffer.from(base64, 'base64'));
  });
}

/**
 * A certificate or SubjectPublicKeyInfo in DER, as a file or a measured keyring holds it.
 * @throws ImaKeyError
 */
export function readImaKey(der: Buffer): ImaKey {
  if (der.length > MAX_KEY_BYTES) throw new ImaKeyError('KEY_UNREADABLE', `a key of ${der.length} bytes`);
  try {
    return isCertificate(der)
      ? fromCertificate(der)
      : makeKey(createPublicKey({ key: der, format: 'der', type: 'spki' }));
  } catch (cause) {
    if (cause instanceof ImaKeyError) throw cause;
    throw new ImaKeyError('KEY_UNREADABLE', 'no certificate or public key in der', { cause });
  }
}

/**
 * Whether a key, in DER, is a certificate that one of these keys signed: what a kernel asks of a key before it takes it into `.ima`
 * (restrict_link_by_signature). A bare key, or a certificate that names no authority, is vouched for by nobody.
 */
export function isVouchedFor(der: Buffer, by: ImaKeyring): boolean {
  try {
    if (!isCertificate(der)) return false;
    const { authorityKeyId } = readCertificate(der);
    if (authorityKeyId === undefined || authorityKeyId.length < 8) return false;
    const certificate = new X509Certificate(der);
    return by.byIdentifier(authorityKeyId).some(({ key }) => certificate.verify(key));
  } catch {
    return false;
  }
}

/** Both are a SEQUENCE whose first member is one; a certificate's holds more than an algorithm's name. */
function isCertificate(der: Buffer): boolean {
  const outer = new DerReader(der);
  const body = outer.open(DER.sequence);
  // node:crypto would let trailing bytes pass.
  if (!outer.isAtEnd) throw new DerError('trailing bytes');
  return body.open(DER.sequence).tag !== DER.oid;
}

function fromCertificate(der: Buffer): ImaKey {
  const certificate = new X509Certificate(der);
  const { serial, issuer, subjectKeyId } = readCertificate(der);
  return makeKey(certificate.publicKey, {
    issuerAndSerial: Buffer.concat([issuer, serial]).toString('hex'),
    subject: certificate.subject,
    subjectKeyId,
  });
}

/** The parts of a TBSCertificate (RFC 5280 §4.1) that identify its key. */
function readCertificate(der: Buffer): {
  readonly serial: Buffer;
  readonly issuer: Buffer;
  readonly subjectKeyId?: string;
  readonly authorityKeyId?: string;
} {
  const body = new DerReader(der).open(DER.sequence).open(DER.sequence);
  if (body.tag === DER.context0) body.read();
  const serial = body.read(DER.integer).raw;
  body.read(DER.sequence);
  const issuer = body.read(DER.sequence).raw;
  const extensions = body.rest(8).find(({ tag }) => tag === DER.context3);
  if (extensions === undefined) return { serial, issuer };
  const subject = findExtension(extensions.content, SUBJECT_KEY_ID);
  const authority = findExtension(extensions.content, AUTHORITY_KEY_ID);
  // keyIdentifier [0] is the first member of an AuthorityKeyIdentifier, where it is there (RFC 5280 §4.2.1.1).
  const [keyId] = authority === undefined ? [] : new DerReader(authority).open(DER.sequence).rest(3);
  return {
    serial,
    issuer,
    ...(subject === undefined
      ? {}
      : { subjectKeyId: new DerReader(subject).read(DER.octetString).content.toString('hex') }),
    ...(keyId?.tag === KEY_IDENTIFIER ? { authorityKeyId: keyId.content.toString('hex') } : {}),
  };
}

/** id-ce-subjectKeyIdentifier, 2.5.29.14, and id-ce-authorityKeyIdentifier, 2.5.29.35 */
const SUBJECT_KEY_ID = '551d0e';
const AUTHORITY_KEY_ID = '551d23';
/** [0] IMPLICIT OCTET STRING */
const KEY_IDENTIFIER = 0x80;
const MAX_EXTENSIONS = 64;

/** The value of an extension; undefined where the certificate does not have it. */
function findExtension(extensions: Buffer, wanted: string): Buffer | undefined {
  for (const { content } of new DerReader(extensions).open(DER.sequence).rest(MAX_EXTENSIONS)) {
    const [oid, ...others] = new DerReader(content).rest(3);
    if (oid?.content.toString('hex') !== wanted) continue;
    const value = others.at(-1);
    if (value === undefined) throw new DerError('extension without a value');
    return value.content;
  }
  return undefined;
}

interface CertificateFacts {
  readonly issuerAndSerial: string;
  readonly subject: string;
  readonly subjectKeyId: string | undefined;
}

function makeKey(key: KeyObject, certificate?: CertificateFacts): ImaKey {
  const type = typeOf(key);
  const spki = key.export({ type: 'spki', format: 'der' });
  const own = barePublicKey(key, type);
  const hashed = own === undefined ? [] : [oneShotHash('sha1', own, 'hex')];
  const claimed = certificate?.subjectKeyId;
  // Shorter than a key id it identifies nothing.
  const identifiers = claimed !== undefined && claimed.length >= 8 ? [claimed, ...hashed] : hashed;
  return {
    key,
    type,
    fingerprint: oneShotHash('sha256', spki, 'hex'),
    identifiers,
    issuerAndSerial: certificate?.issuerAndSerial,
    subject: certificate?.subject,
  };
}

/** Curves that `verifyDigest` has, by node's names. */
export const IMA_CURVES = ['prime256v1', 'secp384r1', 'secp521r1', 'secp256k1'] as const;

/** Verification costs grow with the square of the modulus and with the exponent's length. */
const RSA_BITS = { least: 1024, most: 8192 } as const;
const MAX_EXPONENT = 0xffff_ffffn;

function typeOf(key: KeyObject): ImaKey['type'] {
  const { asymmetricKeyType, asymmetricKeyDetails } = key;
  if (asymmetricKeyType === 'rsa') {
    const { modulusLength = 0, publicExponent = 0n } = asymmetricKeyDetails ?? {};
    if (modulusLength < RSA_BITS.least || modulusLength > RSA_BITS.most || publicExponent > MAX_EXPONENT) {
      throw new ImaKeyError('KEY_UNSUITABLE', `rsa key of ${modulusLength} bits is out of bounds`);
    }
    return 'rsa';
  }
  if (asymmetricKeyType === 'ec') {
    const curve = asymmetricKeyDetails?.namedCurve ?? '';
    if (!IMA_CURVES.some((name) => name === curve)) {
      throw new ImaKeyError('KEY_UNSUITABLE', `curve ${curve} is not supported`);
    }
    return 'ec';
  }
  if (asymmetricKeyType?.startsWith('ml-dsa-') === true) return 'mldsa';
  throw new ImaKeyError('KEY_UNSUITABLE', `${asymmetricKeyType ?? 'such'} keys sign no files`);
}

/** What the kernel's tools hash for a key id; ML-DSA keys have only what their certificate says and the hash of the raw key. */
function barePublicKey(key: KeyObject, type: ImaKey['type']): Buffer | undefined {
  if (type === 'rsa') return key.export({ type: 'pkcs1', format: 'der' });
  const [, bits] = new DerReader(key.export({ type: 'spki', format: 'der' })).open(DER.sequence).rest(2);
  return bits?.content.subarray(1);
}
