/** Software keys with the public areas that a TPM would give them: what a verifier sees of an EK or an AK. */
import { constants, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

import { encode } from '../../tpm/codec/structure.ts';
import { digestSize, hashAlgorithm } from '../../tpm/crypto/digest.ts';
import {
  ECC_CURVES,
  TPM_ALG_AES,
  TPM_ALG_CFB,
  TPM_ALG_ECC,
  TPM_ALG_ECDSA,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
} from '../../tpm/structures/constants.ts';
import { objectAttributes } from '../../tpm/structures/object-attributes.ts';
import { makePublicArea } from '../../tpm/structures/public-area.ts';
import type { PublicArea, TPMT_PUBLIC } from '../../tpm/structures/public-area.ts';
import { TPMT_SIGNATURE } from '../../tpm/structures/signature.ts';
import type { TPMT_ECC_SCHEME, TPMT_RSA_SCHEME, TPMT_SYM_DEF_OBJECT } from '../../tpm/structures/schemes.ts';

/** RSA by modulus length, ECC by TPM_ECC_CURVE. */
export type KeyKind = { readonly rsaBits: number } | { readonly curveID: number };

export interface SoftwareKey {
  readonly publicArea: PublicArea;
  readonly privateKey: KeyObject;
}

const EK_ATTRIBUTES = objectAttributes(
  'fixedTPM',
  'fixedParent',
  'sensitiveDataOrigin',
  'adminWithPolicy',
  'restricted',
  'decrypt',
);
const AK_ATTRIBUTES = objectAttributes(
  'fixedTPM',
  'fixedParent',
  'sensitiveDataOrigin',
  'userWithAuth',
  'restricted',
  'sign',
);

/** An endorsement key: a storage key with AES-CFB of `aesBits` for its children. */
export function makeEk(kind: KeyKind, options: { readonly nameAlg: number; readonly aesBits: number }): SoftwareKey {
  const symmetric = { algorithm: TPM_ALG_AES, keyBits: options.aesBits, mode: TPM_ALG_CFB } as const;
  return softwareKey(kind, {
    nameAlg: options.nameAlg,
    attributes: EK_ATTRIBUTES,
    authPolicy: Buffer.alloc(digestSize(options.nameAlg), 0x83),
    symmetric,
  });
}

/** An attestation key: a restricted signing key whose scheme takes `hashAlg`. `rsaScheme` is RSASSA unless told. */
export function makeAk(
  kind: KeyKind,
  options: { readonly hashAlg: number; readonly nameAlg?: number; readonly rsaScheme?: RsaSigningScheme },
): SoftwareKey {
  return softwareKey(kind, {
    nameAlg: options.nameAlg ?? options.hashAlg,
    attributes: AK_ATTRIBUTES,
    authPolicy: Buffer.alloc(0),
    symmetric: { algorithm: TPM_ALG_NULL },
    signing: { hashAlg: options.hashAlg, rsaScheme: options.rsaScheme ?? TPM_ALG_RSASSA },
  });
}

/** The signature of an AK over `message`, as TPMT_SIGNATURE bytes. */
export function signWithAk({ publicArea, privateKey }: SoftwareKey, message: Buffer): Buffer {
  if (publicArea.type !== TPM_ALG_RSA && publicArea.type !== TPM_ALG_ECC) {
    throw new TypeError('no signing key');
  }
  const { scheme } = publicArea.parameters;
  switch (scheme.scheme) {
    case TPM_ALG_RSASSA:
    case TPM_ALG_RSAPSS: {
      const { node, size } = hashAlgorithm(scheme.hashAlg);
      const padding = scheme.scheme === TPM_ALG_RSASSA ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_PSS_PADDING;
      const sig = sign(node, message, { key: privateKey, padding, saltLength: size });
      return encode(TPMT_SIGNATURE, { sigAlg: scheme.scheme, hash: scheme.hashAlg, sig });
    }
    case TPM_ALG_ECDSA: {
      const { node } = hashAlgorithm(scheme.hashAlg);
      const rs = sign(node, message, { key: privateKey, dsaEncoding: 'ieee-p1363' });
      const half = rs.length / 2;
      const signatureR = rs.subarray(0, half);
      return encode(TPMT_SIGNATURE, {
        sigAlg: TPM_ALG_ECDSA,
        hash: scheme.hashAlg,
        signatureR,
        signatureS: rs.subarray(half),
      });
    }
    default:
      throw new TypeError('no signing scheme');
  }
}

type RsaSigningScheme = typeof TPM_ALG_RSASSA | typeof TPM_ALG_RSAPSS;

interface Shape {
  readonly nameAlg: number;
  readonly attributes: number;
  readonly authPolicy: Buffer;
  readonly symmetric: TPMT_SYM_DEF_OBJECT;
  readonly signing?: { readonly hashAlg: number; readonly rsaScheme: RsaSigningScheme };
}

function softwareKey(kind: KeyKind, shape: Shape): SoftwareKey {
  const privateKey = privateKeyOf(kind);
  return { privateKey, publicArea: makePublicArea(publicValue(kind, shape, privateKey)) };
}

function publicValue(kind: KeyKind, shape: Shape, privateKey: KeyObject): TPMT_PUBLIC {
  const jwk = createPublicKey(privateKey).export({ format: 'jwk' });
  const bytes = (text: string | undefined): Buffer => Buffer.from(text ?? '', 'base64url');
  const { nameAlg, authPolicy, symmetric, signing } = shape;
  const common = { nameAlg, objectAttributes: shape.attributes, authPolicy };
  if ('rsaBits' in kind) {
    const scheme: TPMT_RSA_SCHEME =
      signing === undefined ? { scheme: TPM_ALG_NULL } : { scheme: signing.rsaScheme, hashAlg: signing.hashAlg };
    const parameters = { symmetric, scheme, keyBits: kind.rsaBits, exponent: 0 } as const;
    return { type: TPM_ALG_RSA, ...common, parameters, unique: bytes(jwk.n) };
  }
  const scheme: TPMT_ECC_SCHEME =
    signing === undefined ? { scheme: TPM_ALG_NULL } : { scheme: TPM_ALG_ECDSA, hashAlg: signing.hashAlg };
  const parameters = { symmetric, scheme, curveID: kind.curveID, kdf: { scheme: TPM_ALG_NULL } } as const;
  return { type: TPM_ALG_ECC, ...common, parameters, unique: { x: bytes(jwk.x), y: bytes(jwk.y) } };
}

/** Making RSA keys costs seconds on a small machine: one key for each size serves a whole test file. */
const rsaKeys = new Map<number, KeyObject>();

function privateKeyOf(kind: KeyKind): KeyObject {
  if ('curveID' in kind) {
    const namedCurve = ECC_CURVES.get(kind.curveID)?.node ?? '';
    return generateKeyPairSync('ec', { namedCurve }).privateKey;
  }
  const known = rsaKeys.get(kind.rsaBits);
  if (known !== undefined) {
    return known;
  }
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: kind.rsaBits });
  rsaKeys.set(kind.rsaBits, privateKey);
  return privateKey;
}
