// @peculiar/x509 resolves its parts through tsyringe, which throws without this polyfill.
import 'reflect-metadata';
import { createPublicKey, webcrypto } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';

import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PublicKey,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';

import {
  authorityFingerprint,
  EXTENDED_KEY_USAGE,
  formatDeploymentId,
  formatIdentity,
  isDeploymentId,
} from '../../proto/certificate-profile.ts';
import type { CertificateProfile, Identity } from '../../proto/certificate-profile.ts';

const KEY_ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING_ALGORITHM = { name: 'ECDSA', hash: 'SHA-256' } as const;
const BACKDATE_MS = 5 * 60 * 1000;
const AUTHORITY_YEARS = 10;
export const MAX_SERVER_NAMES = 64;
const MAX_SPKI_BYTES = 4096;

export type CaErrorCode = 'bad_public_key' | 'bad_authority' | 'bad_lifetime' | 'bad_server_name';

/** The CA was asked for something that it does not issue, or cannot be loaded. */
export class CaError extends Error {
  override readonly name = 'CaError';
  readonly code: CaErrorCode;

  constructor(code: CaErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Clock and randomness come from outside. */
export interface IssuingContext {
  readonly now: Date;
  /** Returns that many random bytes. */
  readonly random: (size: number) => Uint8Array;
}

/** The one CA of a deployment, ready to issue. */
export interface CertificateAuthority {
  readonly deployment: string;
  /** The CA's own certificate, DER. */
  readonly certificate: Buffer;
  /** What agents pin, `sha256:…` (see {@link authorityFingerprint}). */
  readonly fingerprint: string;
  readonly notAfter: Date;
  readonly signingKey: webcrypto.CryptoKey;
}

/** A CA as the store keeps it. The private key is PKCS#8 DER and is sealed before it is written. */
export interface StoredAuthority {
  readonly deployment: string;
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

/** What every leaf needs. Issuing never needs the subject's private key. */
export interface LeafRequest extends IssuingContext {
  /** SubjectPublicKeyInfo of the subject, DER: P-256, P-384, P-521, or RSA of at least 2048 bits. */
  readonly publicKey: Uint8Array;
  /** Seconds from now until the leaf expires; capped by the CA's own end. */
  readonly lifetimeSeconds: number;
}

/** Makes a new self-signed CA (P-256, 10 years), with a new deployment id unless one is given (key rotation). */
export async function createAuthority(
  context: IssuingContext,
  options: { readonly deployment?: string } = {},
): Promise<CertificateAuthority> {
  const deployment = options.deployment ?? formatDeploymentId(context.random(10));
  if (!isDeploymentId(deployment)) throw new CaError('bad_authority', 'not a deployment id');
  const keys = await webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
  const notAfter = new Date(context.now);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + AUTHORITY_YEARS);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: [{ O: ['Assay'] }, { CN: [`Assay CA ${deployment}`] }],
    serialNumber: drawSerial(context),
    notBefore: new Date(context.now.getTime() - BACKDATE_MS),
    notAfter,
    signingAlgorithm: SIGNING_ALGORITHM,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return describe(deployment, Buffer.from(certificate.rawData), keys.privateKey);
}

export async function exportAuthority(authority: CertificateAuthority): Promise<StoredAuthority> {
  const privateKey = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', authority.signingKey));
  return { deployment: authority.deployment, certificate: authority.certificate, privateKey };
}

/** Loads a CA and checks that its key is the certificate's. Throws {@link CaError} `bad_authority`. */
export async function importAuthority(stored: StoredAuthority): Promise<CertificateAuthority> {
  if (!isDeploymentId(stored.deployment)) throw new CaError('bad_authority', 'not a deployment id');
  let signingKey: webcrypto.CryptoKey;
  let proven: boolean;
  try {
    signingKey = await webcrypto.subtle.importKey('pkcs8', stored.privateKey, KEY_ALGORITHM, true, ['sign']);
    const spki = new X509Certificate(stored.certificate).publicKey.rawData;
    const publicKey = await webcrypto.subtle.importKey('spki', spki, KEY_ALGORITHM, false, ['verify']);
    const probe = Buffer.from('assay.v1 authority');
    const signature = await webcrypto.subtle.sign(SIGNING_ALGORITHM, signingKey, probe);
    proven = await webcrypto.subtle.verify(SIGNING_ALGORITHM, publicKey, signature, probe);
  } catch (cause) {
    throw new CaError('bad_authority', 'key or certificate of the authority does not load', { cause });
  }
  if (!proven) throw new CaError('bad_authority', 'key is not the one in the certificate of the authority');
  return describe(stored.deployment, Buffer.from(stored.certificate), signingKey);
}

/** TLS server certificate; names are DNS names and IP addresses. Answers DER. */
export async function issueServerCertificate(
  authority: CertificateAuthority,
  request: LeafRequest & { readonly names: readonly string[] },
): Promise<Buffer> {
  if (request.names.length > MAX_SERVER_NAMES) throw new CaError('bad_server_name', 'too many server names');
  const names = request.names.map((name) => ({
    type: isIP(name) === 0 ? ('dns' as const) : ('ip' as const),
    value: name,
  }));
  const bad = names.find((name) => name.type === 'dns' && !isDnsName(name.value));
  if (bad !== undefined) throw new CaError('bad_server_name', 'a server name is neither a DNS name nor an address');
  return issue(authority, request, { profile: 'server', identity: { kind: 'server', ...of(authority) }, names });
}

/** Certificate of the key that signs challenges. Answers DER. */
export async function issueServiceIdentityCertificate(
  authority: CertificateAuthority,
  request: LeafRequest,
): Promise<Buffer> {
  return issue(authority, request, { profile: 'service-identity', identity: { kind: 'service', ...of(authority) } });
}

/** TLS client certificate of a host or of a named caller, whose key must be elliptic: the listener takes no other. Answers DER. */
export async function issueClientCertificate(
  authority: CertificateAuthority,
  request: LeafRequest & { readonly subject: { readonly host: string } | { readonly name: string } },
): Promise<Buffer> {
  const { subject } = request;
  if (loadSubjectKey(request.publicKey).asymmetricKeyType !== 'ec')
    throw new CaError('bad_public_key', 'the key of a TLS client must be P-256, P-384 or P-521');
  const identity: Identity =
    'host' in subject
      ? { kind: 'host', host: subject.host, ...of(authority) }
      : { kind: 'identity', name: subject.name, ...of(authority) };
  return issue(authority, request, { profile: 'client', identity });
}

/** Certificate of a host's AK, for third parties that verify quotes themselves. Answers DER. */
export async function issueAkCertificate(
  authority: CertificateAuthority,
  request: LeafRequest & { readonly host: string },
): Promise<Buffer> {
  return issue(authority, request, { profile: 'ak', identity: { kind: 'host', host: request.host, ...of(authority) } });
}

interface Subject {
  readonly profile: CertificateProfile;
  readonly identity: Identity;
  readonly names?: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[];
}

async function issue(authority: CertificateAuthority, request: LeafRequest, subject: Subject): Promise<Buffer> {
  const publicKey = new PublicKey(loadSubjectKey(request.publicKey).export({ type: 'spki', format: 'der' }));
  const parent = new X509Certificate(authority.certificate);
  const uri = { type: 'url' as const, value: formatIdentity(subject.identity) };
  const certificate = await X509CertificateGenerator.create({
    subject: [{ O: ['Assay'] }, { CN: [commonName(subject.identity)] }],
    issuer: parent.subjectName,
    serialNumber: drawSerial(request),
    notBefore: new Date(request.now.getTime() - BACKDATE_MS),
    notAfter: endOf(authority, request),
    signingAlgorithm: SIGNING_ALGORITHM,
    publicKey,
    signingKey: authority.signingKey,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([EXTENDED_KEY_USAGE[subject.profile]], true),
      new SubjectAlternativeNameExtension([uri, ...(subject.names ?? [])]),
      await AuthorityKeyIdentifierExtension.create(parent.publicKey),
      await SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return Buffer.from(certificate.rawData);
}

function loadSubjectKey(spki: Uint8Array): KeyObject {
  if (spki.length > MAX_SPKI_BYTES) throw new CaError('bad_public_key', 'public key is too large');
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new CaError('bad_public_key', 'public key does not parse', { cause });
  }
  const { modulusLength = 0, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  const rsa = key.asymmetricKeyType === 'rsa' && modulusLength >= 2048 && modulusLength <= 8192;
  const ec = key.asymmetricKeyType === 'ec' && ['prime256v1', 'secp384r1', 'secp521r1'].includes(namedCurve);
  if (!rsa && !ec) throw new CaError('bad_public_key', 'public key is not of a kind that is certified');
  return key;
}

function endOf(authority: CertificateAuthority, request: LeafRequest): Date {
  if (!(request.lifetimeSeconds > 0) || !Number.isFinite(request.lifetimeSeconds)) {
    throw new CaError('bad_lifetime', 'lifetime of a certificate must be positive');
  }
  const end = request.now.getTime() + request.lifetimeSeconds * 1000;
  if (request.now > authority.notAfter) throw new CaError('bad_lifetime', 'the authority has expired');
  return new Date(Math.min(end, authority.notAfter.getTime()));
}

/** 128 random bits; positive and without leading zero, so that the hexadecimal and the encoded form agree. */
function drawSerial(context: IssuingContext): string {
  const bytes = Buffer.from(context.random(16));
  if (bytes.length !== 16) throw new TypeError('the random source gave another length');
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function describe(deployment: string, certificate: Buffer, signingKey: webcrypto.CryptoKey): CertificateAuthority {
  const { notAfter } = new X509Certificate(certificate);
  return { deployment, certificate, fingerprint: authorityFingerprint(certificate), notAfter, signingKey };
}

function of(authority: CertificateAuthority): { readonly deployment: string } {
  return { deployment: authority.deployment };
}

/** For display only; RFC 5280 bounds a common name at 64 characters, which identity names keep too. */
function commonName(identity: Identity): string {
  if (identity.kind === 'host') return identity.host;
  return identity.kind === 'identity' ? identity.name : `assayd ${identity.kind}`;
}

/** Whether a name may stand in the TLS certificate: a DNS name, a wildcard, or an address. */
export function isServerName(name: string): boolean {
  return isIP(name) !== 0 || isDnsName(name);
}

function isDnsName(name: string): boolean {
  return (
    name.length <= 253 &&
    /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?)(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?)*$/i.test(name)
  );
}
