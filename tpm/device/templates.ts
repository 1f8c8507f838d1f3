import {
  ECC_CURVES,
  TPM_ALG_AES,
  TPM_ALG_CFB,
  TPM_ALG_ECC,
  TPM_ALG_ECDSA,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_ECC_NIST_P521,
} from '../structures/constants.ts';
import { objectAttributes } from '../structures/object-attributes.ts';
import { type EccPublic, type PublicArea, type RsaPublic, makePublicArea } from '../structures/public-area.ts';
import { ekPolicyA, ekPolicyB } from './ek-policy.ts';

/** The TCG's names of EK templates (TCG EK Credential Profile v2.6 §B.3, §B.4). */
export type EkTemplateName = 'L-1' | 'L-2' | 'H-1' | 'H-2' | 'H-3' | 'H-4' | 'H-6' | 'H-7';

/** Where an EK of one template is looked for, and how it is made. */
export interface EkTemplate {
  readonly name: EkTemplateName;
  readonly certificateIndex: number;
  /** NV index of a TPMT_PUBLIC that replaces the default template. */
  readonly templateIndex: number;
  /** NV index of a nonce for `unique`; the high range has none. */
  readonly nonceIndex?: number;
  readonly persistentHandle: number;
  readonly publicArea: PublicArea<RsaPublic> | PublicArea<EccPublic>;
}

/** Restricted decryption keys that the TPM made and that never leave it; policy for ADMIN and, low range, for USER. */
const LOW_RANGE = objectAttributes(
  'fixedTPM',
  'fixedParent',
  'sensitiveDataOrigin',
  'adminWithPolicy',
  'restricted',
  'decrypt',
);
const HIGH_RANGE = LOW_RANGE | objectAttributes('userWithAuth');

/** A signing key for the TPM's own statements alone, whose use never counts towards lockout (Part 2 §8.3). */
const AK_ATTRIBUTES = objectAttributes(
  'fixedTPM',
  'fixedParent',
  'sensitiveDataOrigin',
  'userWithAuth',
  'noDA',
  'restricted',
  'sign',
);

const NULL_SCHEME = { scheme: TPM_ALG_NULL } as const;
const NO_POLICY = Buffer.alloc(0);

/** Every EK template of node:crypto's algorithms, in the order of preference. H-5 is SM2. */
export const EK_TEMPLATES: readonly EkTemplate[] = [
  lowRange('L-1', 0x01c00002, 0x81010001, rsaEk(2048, TPM_ALG_SHA256, { range: 'low' })),
  lowRange('L-2', 0x01c0000a, 0x81010002, eccEk(TPM_ECC_NIST_P256, TPM_ALG_SHA256, { range: 'low' })),
  highRange('H-1', 0x01c00012, rsaEk(2048, TPM_ALG_SHA256, { range: 'high' })),
  highRange('H-2', 0x01c00014, eccEk(TPM_ECC_NIST_P256, TPM_ALG_SHA256, { range: 'high' })),
  highRange('H-3', 0x01c00016, eccEk(TPM_ECC_NIST_P384, TPM_ALG_SHA384, { range: 'high' })),
  highRange('H-4', 0x01c00018, eccEk(TPM_ECC_NIST_P521, TPM_ALG_SHA512, { range: 'high' })),
  highRange('H-6', 0x01c0001c, rsaEk(3072, TPM_ALG_SHA384, { range: 'high' })),
  highRange('H-7', 0x01c0001e, rsaEk(4096, TPM_ALG_SHA384, { range: 'high' })),
];

export type AkAlgorithm = 'ecdsa-p256-sha256' | 'rsassa-2048-sha256';

export const AK_TEMPLATES: Readonly<Record<AkAlgorithm, PublicArea>> = {
  'ecdsa-p256-sha256': makePublicArea({
    type: TPM_ALG_ECC,
    nameAlg: TPM_ALG_SHA256,
    objectAttributes: AK_ATTRIBUTES,
    authPolicy: NO_POLICY,
    parameters: {
      symmetric: { algorithm: TPM_ALG_NULL },
      scheme: { scheme: TPM_ALG_ECDSA, hashAlg: TPM_ALG_SHA256 },
      curveID: TPM_ECC_NIST_P256,
      kdf: NULL_SCHEME,
    },
    unique: { x: Buffer.alloc(0), y: Buffer.alloc(0) },
  }),
  'rsassa-2048-sha256': makePublicArea({
    type: TPM_ALG_RSA,
    nameAlg: TPM_ALG_SHA256,
    objectAttributes: AK_ATTRIBUTES,
    authPolicy: NO_POLICY,
    parameters: {
      symmetric: { algorithm: TPM_ALG_NULL },
      scheme: { scheme: TPM_ALG_RSASSA, hashAlg: TPM_ALG_SHA256 },
      keyBits: 2048,
      exponent: 0,
    },
    unique: Buffer.alloc(0),
  }),
};

/** The low-range template with the EK nonce in front of `unique`, zeros behind (EK Credential Profile §2.2.1.4). */
export function withNonce(template: PublicArea, nonce: Buffer): PublicArea | undefined {
  const padded = (length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    nonce.copy(bytes);
    return bytes;
  };
  if (template.type === TPM_ALG_RSA && nonce.length <= template.parameters.keyBits / 8) {
    return makePublicArea({ ...template, unique: padded(template.parameters.keyBits / 8) });
  }
  const size = template.type === TPM_ALG_ECC ? ECC_CURVES.get(template.parameters.curveID)?.coordinateSize : undefined;
  if (template.type === TPM_ALG_ECC && size !== undefined && nonce.length <= size) {
    return makePublicArea({ ...template, unique: { x: padded(size), y: Buffer.alloc(size) } });
  }
  return undefined;
}

/** Whether a key has all that a template says, `unique` apart. */
export function followsTemplate(key: PublicArea, template: PublicArea): boolean {
  return withoutUnique(key).equals(withoutUnique(template));
}

function withoutUnique(publicArea: PublicArea): Buffer {
  const { raw, type, unique } = publicArea;
  const size = type === TPM_ALG_ECC ? 4 + unique.x.length + unique.y.length : 2 + unique.length;
  return raw.subarray(0, raw.length - size);
}

/** The low range: the certificate's index, then the nonce's, then the template's. */
function lowRange(
  name: EkTemplateName,
  certificateIndex: number,
  persistentHandle: number,
  publicArea: EkTemplate['publicArea'],
): EkTemplate {
  return {
    name,
    certificateIndex,
    nonceIndex: certificateIndex + 1,
    templateIndex: certificateIndex + 2,
    persistentHandle,
    publicArea,
  };
}

/** The high range: the template's index follows the certificate's, whose last byte is also that of the handle. */
function highRange(name: EkTemplateName, certificateIndex: number, publicArea: EkTemplate['publicArea']): EkTemplate {
  return {
    name,
    certificateIndex,
    templateIndex: certificateIndex + 1,
    persistentHandle: 0x81010000 + (certificateIndex & 0xff),
    publicArea,
  };
}

interface Range {
  readonly range: 'low' | 'high';
}

function rsaEk(keyBits: number, nameAlg: number, { range }: Range): PublicArea<RsaPublic> {
  return {
    ...makePublicArea({
      type: TPM_ALG_RSA,
      ...ekCommon(nameAlg, range),
      parameters: { symmetric: ekCipher(nameAlg), scheme: NULL_SCHEME, keyBits, exponent: 0 },
      unique: Buffer.alloc(range === 'low' ? keyBits / 8 : 0),
    }),
  } as PublicArea<RsaPublic>;
}

function eccEk(curveID: number, nameAlg: number, { range }: Range): PublicArea<EccPublic> {
  const size = range === 'low' ? (ECC_CURVES.get(curveID)?.coordinateSize ?? 0) : 0;
  return makePublicArea({
    type: TPM_ALG_ECC,
    ...ekCommon(nameAlg, range),
    parameters: { symmetric: ekCipher(nameAlg), scheme: NULL_SCHEME, curveID, kdf: NULL_SCHEME },
    unique: { x: Buffer.alloc(size), y: Buffer.alloc(size) },
  }) as PublicArea<EccPublic>;
}

function ekCommon(nameAlg: number, range: Range['range']) {
  return range === 'low'
    ? { nameAlg, objectAttributes: LOW_RANGE, authPolicy: ekPolicyA(nameAlg) }
    : { nameAlg, objectAttributes: HIGH_RANGE, authPolicy: ekPolicyB(nameAlg) ?? NO_POLICY };
}

/** AES of half the strength of the hash: 128 bits with SHA-256, 256 bits above. */
function ekCipher(nameAlg: number) {
  return { algorithm: TPM_ALG_AES, keyBits: nameAlg === TPM_ALG_SHA256 ? 128 : 256, mode: TPM_ALG_CFB } as const;
}
