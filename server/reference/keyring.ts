import { X509Certificate } from 'node:crypto';

import { ImaKeyError, readImaKey } from '../../tpm/ima/keyring.ts';
import type { ImaKey } from '../../tpm/ima/keyring.ts';
import type { KeyringKeyRecord } from '../store/reference-store.ts';
import { MAX_KEYRING_KEYS } from '../store/reference-store.ts';

/** Bytes of a file of keys. */
export const MAX_KEYRING_BYTES = 1024 * 1024;

/** What is wrong with a file of keys; the place counts its keys from 1. */
export interface KeyProblem {
  readonly key: number;
  readonly message: string;
}

const SEQUENCE = 0x30;
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]{1,64})-----([A-Za-z0-9+/=\s]*)-----END \1-----/g;
const PEM_BEGIN = /-----BEGIN [A-Z0-9 ]{1,64}-----/g;
const LABELS: ReadonlySet<string> = new Set(['CERTIFICATE', 'PUBLIC KEY']);

/**
 * The keys of a file: certificates and public keys (SubjectPublicKeyInfo), one in DER or any number in PEM. All problems are
 * reported together.
 */
export function readKeyring(
  file: Buffer,
): { readonly keys: readonly KeyringKeyRecord[] } | { readonly problems: readonly KeyProblem[] } {
  const encoded = file[0] === SEQUENCE ? [{ label: 'CERTIFICATE', der: file }] : splitPem(file.toString('latin1'));
  if (encoded.length === 0)
    return { problems: [{ key: 1, message: 'neither der nor pem of a certificate or public key' }] };
  if (encoded.length > MAX_KEYRING_KEYS)
    return { problems: [{ key: MAX_KEYRING_KEYS + 1, message: `more than ${MAX_KEYRING_KEYS} keys` }] };
  const read = encoded.map(({ label, der }, index) => readKey(label, der, index + 1));
  const problems = read.filter((each) => 'message' in each);
  return problems.length > 0 ? { problems } : { keys: read.filter((each) => 'fingerprint' in each) };
}

function splitPem(text: string): readonly { readonly label: string; readonly der: Buffer }[] {
  const blocks = [...text.matchAll(PEM_BLOCK)].map(([, label = '', base64 = '']) => ({
    label,
    der: Buffer.from(base64, 'base64'),
  }));
  // A block that does not end, or holds what is no base64, must not be passed over.
  const begun = [...text.matchAll(PEM_BEGIN)].length;
  return begun === blocks.length ? blocks : [...blocks, { label: 'BROKEN BLOCK', der: Buffer.alloc(0) }];
}

function readKey(label: string, der: Buffer, place: number): KeyringKeyRecord | KeyProblem {
  if (!LABELS.has(label))
    return { key: place, message: `pem of ${label.toLowerCase()} where a certificate or public key must be` };
  try {
    return recordOf(readImaKey(der), der);
  } catch (error) {
    if (error instanceof ImaKeyError) return { key: place, message: error.message };
    throw error;
  }
}

function recordOf(key: ImaKey, der: Buffer): KeyringKeyRecord {
  // Only a certificate has issuer and serial number.
  const certificate = key.issuerAndSerial === undefined ? null : new X509Certificate(der);
  return {
    fingerprint: key.fingerprint,
    keyIds: [...new Set(key.identifiers.map((identifier) => identifier.slice(-8)))],
    algorithm: algorithmOf(key),
    subject: key.subject ?? '',
    notBefore: timeOf(certificate?.validFromDate),
    notAfter: timeOf(certificate?.validToDate),
    der: der.toString('hex'),
  };
}

/** A certificate may hold a date that is none. */
function timeOf(date: Date | undefined): number | null {
  const time = date?.getTime() ?? Number.NaN;
  return Number.isNaN(time) ? null : time;
}

const CURVES: ReadonlyMap<string, string> = new Map([
  ['prime256v1', 'P-256'],
  ['secp384r1', 'P-384'],
  ['secp521r1', 'P-521'],
]);

function algorithmOf({ key, type }: ImaKey): string {
  const { modulusLength, namedCurve = '' } = key.asymmetricKeyDetails ?? {};
  if (type === 'rsa') return `RSA-${modulusLength}`;
  return type === 'ec' ? `EC-${CURVES.get(namedCurve) ?? namedCurve}` : (key.asymmetricKeyType ?? '').toUpperCase();
}
