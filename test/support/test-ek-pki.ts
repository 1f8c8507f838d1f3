import { createHash, createPublicKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { parseCertificate } from '../../tpm/endorsement/certificate.ts';
import { DER_TAG, encodeDer, encodeUnsigned } from '../../tpm/endorsement/der.ts';
import { parseRevocationList } from '../../tpm/endorsement/revocation.ts';
import type { ProvenRevocationList } from '../../tpm/endorsement/revocation.ts';
import type { EkEvidence } from '../../tpm/endorsement/verify-ek.ts';
import { commonName, ext, extension, makeCertificate, SIGNATURE, signDer, testKey, time, tpmName } from './test-ca.ts';
import type { CertificateParts, TestKey } from './test-ca.ts';

export const NOW = new Date('2027-06-01T00:00:00Z');
const BEGIN = new Date('2020-01-01T00:00:00Z');
const END = new Date('2040-01-01T00:00:00Z');
const EKU_EK = '2.23.133.8.1';

export const rootKey = testKey('P-256', 'root');
export const intermediateKey = testKey('P-384', 'intermediate');
export const ekRsaKey = testKey('rsa2048', 'ek');

export const rootName = commonName('Test Root CA');
export const intermediateName = commonName('Test Intermediate CA');

export function makeRoot(change: Partial<CertificateParts> = {}): Buffer {
  return makeCertificate({
    issuer: rootName,
    subject: rootName,
    notBefore: BEGIN,
    notAfter: END,
    spki: rootKey.spki,
    extensions: [ext.ca(), ext.keyUsage(0x06), ext.ski('root')],
    signature: SIGNATURE.ecdsaSha256,
    signer: rootKey.privateKey,
    ...change,
  });
}

export function makeIntermediate(change: Partial<CertificateParts> = {}): Buffer {
  return makeCertificate({
    issuer: rootName,
    subject: intermediateName,
    notBefore: BEGIN,
    notAfter: END,
    spki: intermediateKey.spki,
    extensions: [ext.ca(0), ext.keyUsage(0x06), ext.ski('intermediate'), ext.aki('root')],
    signature: SIGNATURE.ecdsaSha256,
    signer: rootKey.privateKey,
    ...change,
  });
}

/** Extensions of an EK certificate of the test PKI, of which some may be replaced or left out (undefined). */
export function ekExtensions(change: Readonly<Record<string, Buffer | undefined>> = {}): readonly Buffer[] {
  const all: Record<string, Buffer | undefined> = {
    basicConstraints: ext.leaf(),
    keyUsage: ext.keyUsage(0x20),
    eku: ext.eku(EKU_EK),
    san: ext.san('critical', tpmName()),
    aki: ext.aki('intermediate'),
    ...change,
  };
  return Object.values(all).filter((each) => each !== undefined);
}

export function makeEk(change: Partial<CertificateParts> = {}): Buffer {
  return makeCertificate({
    issuer: intermediateName,
    subject: commonName('TPM'),
    notBefore: new Date('2022-01-01T00:00:00Z'),
    notAfter: END,
    spki: ekRsaKey.spki,
    extensions: ekExtensions(),
    signature: SIGNATURE.ecdsaSha384,
    signer: intermediateKey.privateKey,
    ...change,
  });
}

/** What `verifyEk` takes, valid as it stands. */
export function ekEvidence(change: Partial<EkEvidence> = {}): EkEvidence {
  return {
    spki: ekRsaKey.spki,
    certificate: makeEk(),
    chain: [],
    trustAnchors: [parseCertificate(makeRoot())],
    intermediates: [parseCertificate(makeIntermediate())],
    now: NOW,
    ...change,
  };
}

export const day = (text: string) => new Date(`${text}T00:00:00Z`);
export const withEk = (change: Partial<CertificateParts>) => ({ certificate: makeEk(change) });
export const withExtensions = (change: Readonly<Record<string, Buffer | undefined>>) =>
  withEk({ extensions: ekExtensions(change) });
export const withIntermediate = (change: Partial<CertificateParts>) => ({
  intermediates: [parseCertificate(makeIntermediate(change))],
});
export const withRoot = (change: Partial<CertificateParts>) => ({ trustAnchors: [parseCertificate(makeRoot(change))] });
export const intermediateExtensions = [ext.ca(0), ext.keyUsage(0x06), ext.ski('intermediate'), ext.aki('root')];

export function ekOf(key: { readonly spki: Buffer }, usage = 0x20): Partial<EkEvidence> {
  return { spki: key.spki, ...withEk({ spki: key.spki, extensions: ekExtensions({ keyUsage: ext.keyUsage(usage) }) }) };
}

/** A modulus that the flawed generator could have made: a product of two powers of 65537 modulo the small primes. */
export function rocaSpki(): Buffer {
  return rsaSpki(rocaModulus());
}

export function rocaModulus(): Buffer {
  const product = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
  ]
    .map(BigInt)
    .reduce((a, b) => a * b, 2n);
  const residue = [...Array(77).keys()].reduce((power) => (power * 65537n) % product, 1n);
  const modulus = ((1n << 2047n) / product + 1n) * product + residue;
  return Buffer.from(modulus.toString(16), 'hex');
}

export function rsaSpki(
  modulus: Buffer,
  { padding = '00', algorithm = '300d06092a864886f70d0101010500', exponent = '0203010001' } = {},
): Buffer {
  const numbers = encodeDer(
    DER_TAG.sequence,
    encodeDer(DER_TAG.integer, Buffer.from(padding, 'hex'), modulus),
    Buffer.from(exponent, 'hex'),
  );
  return encodeDer(
    DER_TAG.sequence,
    Buffer.from(algorithm, 'hex'),
    encodeDer(DER_TAG.bitString, Buffer.from([0]), numbers),
  );
}

export const ekModulus = Buffer.from(
  createPublicKey({ key: ekRsaKey.spki, format: 'der', type: 'spki' }).export({ format: 'jwk' }).n ?? '',
  'base64url',
);

export function ecSpkiOffCurve(): Buffer {
  const spki = Buffer.from(testKey('P-256', 'ek').spki);
  spki[spki.length - 1] = (spki[spki.length - 1] ?? 0) ^ 1;
  return spki;
}

export interface ListParts {
  readonly signer?: { readonly privateKey: KeyObject };
  readonly issuer?: Buffer;
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  readonly signature?: (typeof SIGNATURE)['ecdsaSha256' | 'rsaSha256' | 'ecdsaSha1'];
  /** CRL number; none when left out. */
  readonly number?: number;
  readonly extensions?: readonly Buffer[];
  /** Extensions of each entry. */
  readonly entryExtensions?: readonly Buffer[];
}

/** A serial number of a certificate: one octet, or its magnitude. */
export type Serial = number | Buffer;

/** A revocation list of the test PKI's intermediate, unless told otherwise. */
export function revocationList(serials: Serial | readonly Serial[], change: ListParts = {}): Buffer {
  const kind = change.signature ?? SIGNATURE.ecdsaSha256;
  const ofEntry = change.entryExtensions === undefined ? [] : [encodeDer(DER_TAG.sequence, ...change.entryExtensions)];
  const all: readonly Serial[] = typeof serials === 'number' || Buffer.isBuffer(serials) ? [serials] : serials;
  const since = time(day('2025-11-01'));
  const entries = all.map((serial) => {
    const magnitude = typeof serial === 'number' ? Buffer.from([serial]) : serial;
    return encodeDer(DER_TAG.sequence, encodeUnsigned(magnitude), since, ...ofEntry);
  });
  const extensions = [...(change.extensions ?? [])];
  if (change.number !== undefined) {
    const value = Buffer.alloc(4);
    value.writeUInt32BE(change.number);
    extensions.push(extension('2.5.29.20', encodeUnsigned(value)));
  }
  const tbs = encodeDer(
    DER_TAG.sequence,
    Buffer.from([2, 1, 1]),
    kind.algorithm,
    change.issuer ?? intermediateName,
    time(change.thisUpdate ?? day('2025-12-01')),
    time(change.nextUpdate ?? day('2028-01-01')),
    ...(entries.length === 0 ? [] : [encodeDer(DER_TAG.sequence, ...entries)]),
    ...(extensions.length === 0 ? [] : [encodeDer(0xa0, encodeDer(DER_TAG.sequence, ...extensions))]),
  );
  return signDer(tbs, kind, (change.signer ?? intermediateKey).privateKey);
}

/** The same as it is after an import: proven to be signed by this key. */
export function provenList(
  serial: number,
  { signer = intermediateKey, ...change }: Omit<ListParts, 'signer'> & { readonly signer?: TestKey } = {},
): ProvenRevocationList {
  const list = parseRevocationList(revocationList(serial, { signer, ...change }));
  return { ...list, issuerKey: createHash('sha256').update(signer.spki).digest('hex') };
}

/** What `openssl` and operators write. */
export function pem(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Intermediates in a row below the root, the last of which is the issuer of the EK certificate. */
export function longChain(length: number): Partial<EkEvidence> {
  const intermediates = Array.from({ length }, (_, index) =>
    parseCertificate(
      makeIntermediate({
        issuer: index === 0 ? rootName : commonName(`CA ${index - 1}`),
        subject: index === length - 1 ? intermediateName : commonName(`CA ${index}`),
        extensions: [ext.ca(), ext.keyUsage(0x06)],
        spki: intermediateKey.spki,
        signer: index === 0 ? rootKey.privateKey : intermediateKey.privateKey,
      }),
    ),
  );
  return { intermediates };
}

/** The NV header of the TCG PC Client specification before a certificate. */
export function wrap(certificate: Buffer): Buffer {
  const header = Buffer.from('1001000000', 'hex');
  header.writeUInt16BE(certificate.length, 3);
  return Buffer.concat([header, certificate]);
}
