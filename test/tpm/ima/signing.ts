import { createPublicKey, generateKeyPairSync, hash, privateEncrypt, constants, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { p256, p384, p521 } from '@noble/curves/nist.js';
import { secp256k1 } from '@noble/curves/secp256k1.js';

import { commonName, ext, makeCertificate, SIGNATURE } from '../../support/test-ca.ts';
import { readImaKey } from '../../../tpm/ima/keyring.ts';
import type { ImaKey } from '../../../tpm/ima/keyring.ts';

/** Keys that sign files as evmctl does, for tests. */

const HASH_IDS = { sha1: 2, sha256: 4, sha384: 5, sha512: 6, sha224: 7 } as const;
export type HashName = keyof typeof HASH_IDS;

const DIGEST_INFO: Readonly<Record<HashName, string>> = {
  sha1: '3021300906052b0e03021a05000414',
  sha224: '302d300d06096086480165030402040500041c',
  sha256: '3031300d060960864801650304020105000420',
  sha384: '3041300d060960864801650304020205000430',
  sha512: '3051300d060960864801650304020305000440',
};

const curves = { 'P-256': p256, 'P-384': p384, 'P-521': p521, secp256k1 } as const;
export type CurveName = keyof typeof curves;

export interface Signer {
  readonly name: string;
  readonly key: ImaKey;
  readonly spki: Buffer;
  readonly privateKey: KeyObject;
  /** Signs a digest, not a message. */
  readonly signDigest: (algorithm: HashName, digest: Buffer) => Buffer;
}

export function rsaSigner(bits = 2048): Signer {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: bits });
  return signerOf(`RSA-${bits}`, privateKey, (algorithm, digest) =>
    privateEncrypt(
      { key: privateKey, padding: constants.RSA_PKCS1_PADDING },
      Buffer.concat([Buffer.from(DIGEST_INFO[algorithm], 'hex'), digest]),
    ),
  );
}

export function ecSigner(name: CurveName): Signer {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: name });
  const { d = '' } = privateKey.export({ format: 'jwk' });
  const secret = Buffer.from(d, 'base64url');
  return signerOf(name, privateKey, (_, digest) =>
    Buffer.from(curves[name].sign(digest, secret, { prehash: false, lowS: false, format: 'der' })),
  );
}

function signerOf(name: string, privateKey: KeyObject, signDigest: Signer['signDigest']): Signer {
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return { name, key: readImaKey(spki), spki, privateKey, signDigest };
}

/** A certificate of a key that an RSA key signed, as kernels take them into `.ima`. */
export function vouchedFor({ spki }: Signer, by: Signer): Buffer {
  return makeCertificate({
    issuer: commonName('vendor'),
    subject: commonName('host'),
    notBefore: new Date('2020-01-01'),
    notAfter: new Date('2040-01-01'),
    spki,
    extensions: [ext.aki(Buffer.from(by.key.identifiers[0] ?? '', 'hex'))],
    signature: SIGNATURE.rsaSha256,
    signer: by.privateKey,
  });
}

/** A signature that node's own implementation makes over a message: it holds `signDigest` to account. */
export function signMessage({ privateKey }: Signer, algorithm: HashName, message: Buffer): Buffer {
  return sign(algorithm, message, privateKey);
}

export interface HeaderPlan {
  readonly type?: number;
  readonly version?: number;
  readonly hashId?: number;
  readonly keyId?: Buffer;
  readonly size?: number;
}

/** The header of `security.ima` and the signature behind it. */
export function withHeader(signer: Signer, algorithm: HashName, signature: Buffer, plan: HeaderPlan = {}): Buffer {
  const { type = 3, version = 2, hashId = HASH_IDS[algorithm], size = signature.length } = plan;
  const keyId = plan.keyId ?? Buffer.from((signer.key.identifiers.at(-1) ?? '').slice(-8), 'hex');
  const sizeBytes = Buffer.alloc(2);
  sizeBytes.writeUInt16BE(size);
  return Buffer.concat([Buffer.from([type, version, hashId]), keyId, sizeBytes, signature]);
}

/** Version 2: over the digest itself. */
export function signV2(signer: Signer, algorithm: HashName, digest: Buffer, plan: HeaderPlan = {}): Buffer {
  return withHeader(signer, algorithm, signer.signDigest(algorithm, digest), plan);
}

/** Version 3: over the hash of type, hash and digest. Type 6 is that of fs-verity. */
export function signV3(signer: Signer, algorithm: HashName, digest: Buffer, plan: HeaderPlan = {}): Buffer {
  const { type = 6 } = plan;
  const fileId = Buffer.concat([Buffer.from([type, HASH_IDS[algorithm]]), digest]);
  const signature = signer.signDigest(algorithm, hash(algorithm, fileId, 'buffer'));
  return withHeader(signer, algorithm, signature, { version: 3, ...plan, type });
}
