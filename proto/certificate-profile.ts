import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

/**
 * The profile of every leaf that stands under Assay's own CA. Client and server verify with this file, so that both
 * demand the same: exactly one extended key usage and exactly one typed URI among the subject alternative names.
 */

/** Extended key usages, one for each kind of leaf; a leaf has exactly one of them. */
export const EXTENDED_KEY_USAGE = {
  /** RFC 5280 §4.2.1.12, id-kp-serverAuth. */
  server: '1.3.6.1.5.5.7.3.1',
  /** RFC 5280 §4.2.1.12, id-kp-clientAuth. */
  client: '1.3.6.1.5.5.7.3.2',
  /** TCG OID registry, tcg-kp-AIKCertificate. */
  ak: '2.23.133.8.3',
  /**
   * Assay's own: the key that signs challenges and enrolment transcripts. An OID under 2.25 needs no registration
   * (ITU-T X.667); the last arc is the UUID b6065aca-2952-48f6-bc8e-fbeabf8a71b8 as an integer.
   */
  'service-identity': '2.25.241952490447747416247754847366016561592',
} as const;

export type CertificateProfile = keyof typeof EXTENDED_KEY_USAGE;

/** Who a leaf speaks for, as its URI says: `assay://DEPLOYMENT/hosts/ID` and so on. */
export type Identity =
  | { readonly kind: 'host'; readonly deployment: string; readonly host: string }
  | { readonly kind: 'identity'; readonly deployment: string; readonly name: string }
  | { readonly kind: 'service'; readonly deployment: string }
  | { readonly kind: 'server'; readonly deployment: string };

const PROFILE_KINDS: Readonly<Record<CertificateProfile, readonly Identity['kind'][]>> = {
  server: ['server'],
  client: ['host', 'identity'],
  ak: ['host'],
  'service-identity': ['service'],
};

export type CertificateErrorCode =
  | 'malformed'
  | 'unknown_authority'
  | 'not_yet_valid'
  | 'expired'
  | 'wrong_eku'
  | 'wrong_san'
  | 'wrong_deployment'
  | 'not_a_leaf'
  | 'bad_fingerprint';

/** A certificate of Assay's own CA, or the pin of that CA, is not what it must be. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
  readonly code: CertificateErrorCode;

  constructor(code: CertificateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';
const DEPLOYMENT = /^d-[a-z2-7]{16}$/;
const HOST = /^h-[a-z2-7]{26}$/;
const IDENTITY_NAME = /^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/;
const MAX_URI_LENGTH = 128;
const MAX_CERTIFICATE_BYTES = 8192;
const MAX_AUTHORITIES = 16;

/** Deployment id from 10 random bytes: `d-` and 16 lower-case base32 characters (RFC 4648 §6, no padding). */
export function formatDeploymentId(random: Uint8Array): string {
  if (random.length !== 10) throw new TypeError('a deployment id is made of 10 bytes');
  return `d-${base32(random, 16)}`;
}

/** Host id from the SHA-256 of the parent EK's SubjectPublicKeyInfo: `h-` and its first 26 base32 characters. */
export function formatHostId(ekDigest: Uint8Array): string {
  if (ekDigest.length !== 32) throw new TypeError('a host id is made of a SHA-256 digest');
  return `h-${base32(ekDigest, 26)}`;
}

export function isDeploymentId(text: string): boolean {
  return DEPLOYMENT.test(text);
}

export function isHostId(text: string): boolean {
  return HOST.test(text);
}

/** Names of operators and other callers: 1 to 64 of a-z 0-9 . _ -, with a letter or digit at either end. */
export function isIdentityName(text: string): boolean {
  return IDENTITY_NAME.test(text);
}

/** The URI of an identity. Throws {@link CertificateError} `wrong_san` for parts outside the grammar. */
export function formatIdentity(identity: Identity): string {
  const uri = `assay://${identity.deployment}/${pathOf(identity)}`;
  parseIdentity(uri);
  return uri;
}

/** Reads an identity's URI by its exact grammar. Throws {@link CertificateError} `wrong_san`. */
export function parseIdentity(uri: string): Identity {
  if (uri.length > MAX_URI_LENGTH || !uri.startsWith('assay://')) throw wrongUri();
  const [deployment = '', collection = '', id, ...rest] = uri.slice('assay://'.length).split('/');
  if (!DEPLOYMENT.test(deployment) || rest.length > 0) throw wrongUri();
  if (id === undefined) {
    if (collection === 'service' || collection === 'server') return { kind: collection, deployment };
    throw wrongUri();
  }
  if (collection === 'hosts' && HOST.test(id)) return { kind: 'host', deployment, host: id };
  if (collection === 'identities' && IDENTITY_NAME.test(id)) return { kind: 'identity', deployment, name: id };
  throw wrongUri();
}

export interface LeafDemand {
  /** The CA's certificate (DER), or several while a rotation overlaps. They are trusted as given. */
  readonly authority: Uint8Array | readonly Uint8Array[];
  readonly profile: CertificateProfile;
  readonly now: Date;
  /** When given, the identity must be of this deployment. */
  readonly deployment?: string;
}

/** A leaf that was proven to stand under the authority; only {@link verifyLeaf} makes one. */
export interface VerifiedLeaf {
  readonly identity: Identity;
  readonly publicKey: KeyObject;
  readonly notAfter: Date;
  /** Serial number in lower-case hexadecimal. */
  readonly serial: string;
  /** SHA-256 of the SubjectPublicKeyInfo (DER), in hexadecimal. */
  readonly spkiSha256: string;
}

/**
 * Verifies a leaf of Assay's own CA: encoding, issuer and signature, validity of leaf and CA, extended key usage,
 * identity. Throws {@link CertificateError}.
 */
export function verifyLeaf(der: Uint8Array, demand: LeafDemand): VerifiedLeaf {
  const leaf = parseCertificate(der);
  const authority = findAuthority(leaf, demand.authority);
  checkValidity(leaf, demand.now, 'certificate');
  checkValidity(authority, demand.now, 'certificate of the authority');
  if (leaf.ca) throw new CertificateError('not_a_leaf', 'certificate is one of an authority');
  checkExtendedKeyUsage(leaf, demand.profile);
  const identity = readIdentity(leaf, demand.profile);
  if (demand.deployment !== undefined && identity.deployment !== demand.deployment) {
    throw new CertificateError('wrong_deployment', 'certificate is one of another deployment');
  }
  const publicKey = publicKeyOf(leaf);
  return {
    identity,
    publicKey,
    notAfter: leaf.validToDate,
    serial: leaf.serialNumber.toLowerCase(),
    spkiSha256: spkiDigest(publicKey).toString('hex'),
  };
}

/** The pin of a CA: SHA-256 of its SubjectPublicKeyInfo (DER), printed `sha256:` and 64 hexadecimal digits. */
export function authorityFingerprint(der: Uint8Array): string {
  return `sha256:${spkiDigest(publicKeyOf(parseCertificate(der))).toString('hex')}`;
}

/** The 32 bytes of a printed pin, letter case ignored. Throws {@link CertificateError} `bad_fingerprint`. */
export function parseFingerprint(text: string): Buffer {
  const match = /^sha256:([0-9a-f]{64})$/i.exec(text);
  if (match?.[1] === undefined) {
    throw new CertificateError('bad_fingerprint', 'a fingerprint is sha256: and 64 hexadecimal digits');
  }
  return Buffer.from(match[1], 'hex');
}

/** Checks that a CA certificate (DER) is the pinned one. Throws {@link CertificateError} `unknown_authority`. */
export function checkAuthorityFingerprint(der: Uint8Array, pin: string): void {
  const found = parseFingerprint(authorityFingerprint(der));
  if (!timingSafeEqual(found, parseFingerprint(pin))) {
    throw new CertificateError('unknown_authority', 'authority is not the one that was pinned');
  }
}

function parseCertificate(der: Uint8Array): X509Certificate {
  if (der.length === 0 || der.length > MAX_CERTIFICATE_BYTES) {
    throw new CertificateError('malformed', `certificate has ${der.length} bytes`);
  }
  const bytes = Buffer.from(der.buffer, der.byteOffset, der.length);
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(bytes);
  } catch (cause) {
    throw new CertificateError('malformed', 'certificate does not parse', { cause });
  }
  // OpenSSL reads PEM too and drops trailing bytes in silence; only the plain DER encoding equals its own output.
  if (!certificate.raw.equals(bytes)) throw new CertificateError('malformed', 'certificate is not plain DER');
  return certificate;
}

function findAuthority(leaf: X509Certificate, given: LeafDemand['authority']): X509Certificate {
  const authorities = given instanceof Uint8Array ? [given] : given;
  if (authorities.length > MAX_AUTHORITIES) throw new TypeError('too many authorities');
  for (const der of authorities) {
    const authority = parseCertificate(der);
    if (authority.ca && leaf.checkIssued(authority) && verifies(leaf, authority)) return authority;
  }
  throw new CertificateError('unknown_authority', 'certificate is not of a known authority');
}

function verifies(leaf: X509Certificate, authority: X509Certificate): boolean {
  try {
    return leaf.verify(authority.publicKey);
  } catch {
    return false;
  }
}

function checkValidity(certificate: X509Certificate, now: Date, what: string): void {
  const { validFromDate, validToDate } = certificate;
  if (Number.isNaN(now.getTime())) throw new TypeError('now is not a date');
  // Written so that a date that does not parse (NaN) refuses.
  if (!(now.getTime() >= validFromDate.getTime()))
    throw new CertificateError('not_yet_valid', `${what} is not yet valid`);
  if (!(now.getTime() <= validToDate.getTime())) throw new CertificateError('expired', `${what} has expired`);
}

function checkExtendedKeyUsage(leaf: X509Certificate, profile: CertificateProfile): void {
  // Node's `keyUsage` holds the extended key usages.
  const usages: readonly string[] | undefined = leaf.keyUsage;
  if (usages?.length !== 1 || usages[0] !== EXTENDED_KEY_USAGE[profile]) {
    throw new CertificateError('wrong_eku', `certificate is not a ${profile} certificate`);
  }
}

function readIdentity(leaf: X509Certificate, profile: CertificateProfile): Identity {
  const names = leaf.subjectAltName ?? '';
  // Node quotes a name that holds a comma, a quote or a control character. No name of the profile needs that.
  if (names.includes('"')) throw new CertificateError('wrong_san', 'alternative names are outside the profile');
  const entries = names.split(', ');
  const uris = entries.filter((entry) => entry.startsWith('URI:'));
  const others = entries.filter((entry) => !entry.startsWith('URI:'));
  const othersAllowed = profile === 'server' && others.every((entry) => /^(?:DNS|IP Address):/.test(entry));
  const uri = uris[0];
  if (uri === undefined || uris.length !== 1 || (others.length > 0 && !othersAllowed)) {
    throw new CertificateError('wrong_san', 'alternative names are outside the profile');
  }
  const identity = parseIdentity(uri.slice('URI:'.length));
  if (!PROFILE_KINDS[profile].includes(identity.kind)) {
    throw new CertificateError('wrong_san', `a ${profile} certificate cannot speak for a ${identity.kind}`);
  }
  return identity;
}

function publicKeyOf(certificate: X509Certificate): KeyObject {
  try {
    return certificate.publicKey;
  } catch (cause) {
    throw new CertificateError('malformed', 'public key of the certificate does not parse', { cause });
  }
}

function spkiDigest(key: KeyObject): Buffer {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function pathOf(identity: Identity): string {
  if (identity.kind === 'host') return `hosts/${identity.host}`;
  return identity.kind === 'identity' ? `identities/${identity.name}` : identity.kind;
}

function wrongUri(): CertificateError {
  return new CertificateError('wrong_san', 'not the URI of an identity');
}

function base32(bytes: Uint8Array, characters: number): string {
  let text = '';
  for (let index = 0; index < characters; index += 1) {
    const bit = index * 5;
    const pair = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    text += BASE32.charAt((pair >> (11 - (bit & 7))) & 31);
  }
  return text;
}
