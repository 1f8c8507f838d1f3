/**
 * Certificates made byte by byte, so that a test can break any one rule: no library writes the encodings that real
 * hardware shows. What it makes by default is well formed, which OpenSSL confirms in certificate.test.ts.
 */
import { constants, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { DER_TAG, encodeDer } from '../../tpm/endorsement/der.ts';

export interface TestKey {
  readonly privateKey: KeyObject;
  readonly spki: Buffer;
}

const madeKeys = new Map<string, TestKey>();

/** A key that is made once for each name: `rsa` with a size, or a curve, and a label to tell keys apart. */
export function testKey(
  kind: 'P-256' | 'P-384' | 'P-521' | 'secp256k1' | `rsa${number}`,
  label = '',
  exponent = 65537,
): TestKey {
  const name = `${kind} ${label} ${exponent}`;
  const known = madeKeys.get(name);
  if (known !== undefined) return known;
  const { publicKey, privateKey } = kind.startsWith('rsa')
    ? generateKeyPairSync('rsa', { modulusLength: Number(kind.slice(3)), publicExponent: exponent })
    : generateKeyPairSync('ec', { namedCurve: kind });
  const key = { privateKey, spki: publicKey.export({ type: 'spki', format: 'der' }) };
  madeKeys.set(name, key);
  return key;
}

export function oid(dotted: string): Buffer {
  const [first = 0n, second = 0n, ...rest] = dotted.split('.').map(BigInt);
  const octets = [first * 40n + second, ...rest].flatMap((arc) => {
    const groups = [Number(arc & 0x7fn)];
    for (let left = arc >> 7n; left > 0n; left >>= 7n) groups.unshift(Number(left & 0x7fn) | 0x80);
    return groups;
  });
  return encodeDer(DER_TAG.objectIdentifier, Buffer.from(octets));
}

/** A name of one attribute per part; the value's string type is chosen by tag. */
export function name(...parts: readonly (readonly [type: string, value: string, tag?: number])[]): Buffer {
  const rdns = parts.map(([type, value, tag = DER_TAG.utf8String]) =>
    encodeDer(DER_TAG.set, encodeDer(DER_TAG.sequence, oid(type), encodeDer(tag, Buffer.from(value)))),
  );
  return encodeDer(DER_TAG.sequence, ...rdns);
}

export function commonName(value: string, tag?: number): Buffer {
  return name(tag === undefined ? ['2.5.4.3', value] : ['2.5.4.3', value, tag]);
}

const TRUE = Buffer.from('0101ff', 'hex');
const FALSE = Buffer.from('010100', 'hex');

export function extension(
  id: string,
  value: Buffer,
  flag: 'critical' | 'plain' | 'explicitly plain' = 'plain',
): Buffer {
  const marks = { critical: [TRUE], plain: [], 'explicitly plain': [FALSE] }[flag];
  return encodeDer(DER_TAG.sequence, oid(id), ...marks, encodeDer(DER_TAG.octetString, value));
}

export const ext = {
  ca: (pathLength?: number) =>
    extension(
      '2.5.29.19',
      encodeDer(DER_TAG.sequence, TRUE, ...(pathLength === undefined ? [] : [Buffer.from([2, 1, pathLength])])),
      'critical',
    ),
  leaf: () => extension('2.5.29.19', encodeDer(DER_TAG.sequence), 'critical'),
  /** BasicConstraints 30 03 01 01 00: the default is written out. */
  explicitLeaf: () => extension('2.5.29.19', encodeDer(DER_TAG.sequence, FALSE), 'critical'),
  /** Bits of the first octet, such as 0x20 for keyEncipherment, 0x08 for keyAgreement, 0x06 for keyCertSign and cRLSign. */
  keyUsage: (bits: number) => extension('2.5.29.15', Buffer.from([3, 2, 0, bits]), 'critical'),
  eku: (...usages: readonly string[]) => extension('2.5.29.37', encodeDer(DER_TAG.sequence, ...usages.map(oid))),
  ski: (id: string) => extension('2.5.29.14', encodeDer(DER_TAG.octetString, Buffer.from(id))),
  aki: (id: string | Buffer) =>
    extension('2.5.29.35', encodeDer(DER_TAG.sequence, encodeDer(0x80, typeof id === 'string' ? Buffer.from(id) : id))),
  san: (flag: 'critical' | 'plain', ...directoryNames: readonly Buffer[]) =>
    extension('2.5.29.17', encodeDer(DER_TAG.sequence, ...directoryNames.map((each) => encodeDer(0xa4, each))), flag),
  dnsSan: (flag: 'critical' | 'plain') =>
    extension('2.5.29.17', encodeDer(DER_TAG.sequence, encodeDer(0x82, Buffer.from('a.example'))), flag),
};

export function tpmName(manufacturer = 'id:49465800', model = 'SLB 9670', version = 'id:0755'): Buffer {
  return name(['2.23.133.2.1', manufacturer], ['2.23.133.2.2', model], ['2.23.133.2.3', version]);
}

interface SignatureKind {
  readonly algorithm: Buffer;
  readonly hash: string;
  readonly pss?: number;
}

const NULL = Buffer.from('0500', 'hex');
const SHA384 = encodeDer(DER_TAG.sequence, oid('2.16.840.1.101.3.4.2.2'), NULL);
const pssParameters = (salt: number, mask = SHA384) =>
  encodeDer(
    DER_TAG.sequence,
    encodeDer(0xa0, SHA384),
    encodeDer(0xa1, encodeDer(DER_TAG.sequence, oid('1.2.840.113549.1.1.8'), mask)),
    encodeDer(0xa2, Buffer.from([2, 1, salt])),
  );
const algorithm = (id: string, parameters?: Buffer) =>
  encodeDer(DER_TAG.sequence, oid(id), parameters ?? Buffer.alloc(0));

export const SIGNATURE = {
  ecdsaSha256: { algorithm: algorithm('1.2.840.10045.4.3.2'), hash: 'sha256' },
  ecdsaSha384: { algorithm: algorithm('1.2.840.10045.4.3.3'), hash: 'sha384' },
  ecdsaSha512: { algorithm: algorithm('1.2.840.10045.4.3.4'), hash: 'sha512' },
  ecdsaSha256WithNull: { algorithm: algorithm('1.2.840.10045.4.3.2', NULL), hash: 'sha256' },
  ecdsaSha1: { algorithm: algorithm('1.2.840.10045.4.1'), hash: 'sha1' },
  ecdsaSha224: { algorithm: algorithm('1.2.840.10045.4.3.1'), hash: 'sha224' },
  rsaSha256: { algorithm: algorithm('1.2.840.113549.1.1.11', NULL), hash: 'sha256' },
  rsaSha384: { algorithm: algorithm('1.2.840.113549.1.1.12', NULL), hash: 'sha384' },
  rsaSha512: { algorithm: algorithm('1.2.840.113549.1.1.13', NULL), hash: 'sha512' },
  rsaSha1: { algorithm: algorithm('1.2.840.113549.1.1.5', NULL), hash: 'sha1' },
  rsaPss: { algorithm: algorithm('1.2.840.113549.1.1.10', pssParameters(48)), hash: 'sha384', pss: 48 },
  rsaPssOfSha1: { algorithm: algorithm('1.2.840.113549.1.1.10', encodeDer(DER_TAG.sequence)), hash: 'sha1', pss: 20 },
} satisfies Record<string, SignatureKind>;

export interface CertificateParts {
  readonly version: Buffer;
  /** Contents of the serial number. */
  readonly serial: Buffer;
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly spki: Buffer;
  readonly extensions: readonly Buffer[];
  readonly signature: SignatureKind;
  /** Stands outside the signed part, where another one may be written. */
  readonly outerAlgorithm?: Buffer;
  readonly signer: KeyObject;
}

const VERSION_3 = Buffer.from('a003020102', 'hex');
export const VERSION_1 = Buffer.alloc(0);

export function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  return encodeDer(DER_TAG.generalizedTime, Buffer.from(digits));
}

/** A certificate over the given parts. */
export function makeCertificate(
  parts: Omit<CertificateParts, 'version' | 'serial'> & Partial<CertificateParts>,
): Buffer {
  const validity = encodeDer(DER_TAG.sequence, time(parts.notBefore), time(parts.notAfter));
  const list = parts.extensions.length === 0 ? [] : [encodeDer(0xa3, encodeDer(DER_TAG.sequence, ...parts.extensions))];
  const tbs = encodeDer(
    DER_TAG.sequence,
    parts.version ?? VERSION_3,
    encodeDer(DER_TAG.integer, parts.serial ?? Buffer.from([0x17])),
    parts.signature.algorithm,
    parts.issuer,
    validity,
    parts.subject,
    parts.spki,
    ...list,
  );
  return signDer(tbs, parts.signature, parts.signer, parts.outerAlgorithm);
}

/** What `makeCertificate` and revocation lists share: signed part, algorithm, signature. */
export function signDer(tbs: Buffer, kind: SignatureKind, signer: KeyObject, outerAlgorithm?: Buffer): Buffer {
  const key =
    kind.pss === undefined ? signer : { key: signer, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: kind.pss };
  const signature = sign(kind.hash, tbs, key);
  return encodeDer(
    DER_TAG.sequence,
    tbs,
    outerAlgorithm ?? kind.algorithm,
    encodeDer(DER_TAG.bitString, Buffer.from([0]), signature),
  );
}
