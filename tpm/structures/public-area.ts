/** TPMT_PUBLIC and TPM2B_PUBLIC (Part 2 §12.2.4, §12.2.5): the public area of an object. */
import { decode, encode, fields, sized, sizedBytes, u16, u32, union } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';
import { TPM2B_DIGEST, TPM2B_PUBLIC_KEY_RSA, TPMS_ECC_POINT } from './buffers.ts';
import { TPM_ALG_ECC, TPM_ALG_KEYEDHASH, TPM_ALG_RSA, TPM_ALG_SYMCIPHER } from './constants.ts';
import {
  TPMT_ECC_SCHEME,
  TPMT_KDF_SCHEME,
  TPMT_KEYEDHASH_SCHEME,
  TPMT_RSA_SCHEME,
  TPMT_SYM_DEF_OBJECT,
} from './schemes.ts';

/** Bytes of the largest public area that is taken in: RSA-4096 with every optional field at its largest stays below. */
const MAX_PUBLIC_SIZE = 1024;

const common = {
  nameAlg: u16,
  objectAttributes: u32,
  authPolicy: TPM2B_DIGEST,
} as const;

/** §12.2.3.5. An exponent of 0 stands for 65537. */
export const TPMS_RSA_PARMS = fields({
  symmetric: TPMT_SYM_DEF_OBJECT,
  scheme: TPMT_RSA_SCHEME,
  keyBits: u16,
  exponent: u32,
});

/** §12.2.3.6 */
export const TPMS_ECC_PARMS = fields({
  symmetric: TPMT_SYM_DEF_OBJECT,
  scheme: TPMT_ECC_SCHEME,
  curveID: u16,
  kdf: TPMT_KDF_SCHEME,
});

/** §12.2.4; `parameters` and `unique` are selected by `type`, hence one arm holds both. */
export const TPMT_PUBLIC = union('type', u16, {
  [TPM_ALG_RSA]: fields({ ...common, parameters: TPMS_RSA_PARMS, unique: TPM2B_PUBLIC_KEY_RSA }),
  [TPM_ALG_ECC]: fields({ ...common, parameters: TPMS_ECC_PARMS, unique: TPMS_ECC_POINT }),
  [TPM_ALG_KEYEDHASH]: fields({
    ...common,
    parameters: TPMT_KEYEDHASH_SCHEME,
    unique: TPM2B_DIGEST,
  }),
  [TPM_ALG_SYMCIPHER]: fields({ ...common, parameters: TPMT_SYM_DEF_OBJECT, unique: TPM2B_DIGEST }),
});
export type TPMT_PUBLIC = ValueOf<typeof TPMT_PUBLIC>;
export type RsaPublic = Extract<TPMT_PUBLIC, { readonly type: typeof TPM_ALG_RSA }>;
export type EccPublic = Extract<TPMT_PUBLIC, { readonly type: typeof TPM_ALG_ECC }>;

/** §12.2.5 */
export const TPM2B_PUBLIC = sized(TPMT_PUBLIC, MAX_PUBLIC_SIZE);

/** The sized buffer alone: to cut a TPM2B_PUBLIC without judging what it holds. */
const TPM2B_PUBLIC_BYTES = sizedBytes(MAX_PUBLIC_SIZE);

/** A public area and the very bytes (TPMT_PUBLIC, without the size) that it came in: names are hashes of these. */
export type PublicArea<P extends TPMT_PUBLIC = TPMT_PUBLIC> = P & { readonly raw: Buffer };

/** Decodes the bytes of a TPMT_PUBLIC. */
export function decodePublicArea(raw: Buffer): PublicArea {
  return { ...decode(TPMT_PUBLIC, raw), raw };
}

/** Decodes the bytes of a TPM2B_PUBLIC, as tpm2_tools and TPM2_ReadPublic give it. */
export function decodeSizedPublicArea(bytes: Buffer): PublicArea {
  return decodePublicArea(decode(TPM2B_PUBLIC_BYTES, bytes));
}

/** The public area of a value that was made here: a template, a software key. */
export function makePublicArea(value: TPMT_PUBLIC): PublicArea {
  return { ...value, raw: encode(TPMT_PUBLIC, value) };
}

/** The bytes of the TPM2B_PUBLIC around a public area. */
export function encodeSizedPublicArea(publicArea: PublicArea): Buffer {
  return encode(TPM2B_PUBLIC_BYTES, publicArea.raw);
}
