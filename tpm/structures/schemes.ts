/** Symmetric definitions and schemes inside public areas (Part 2 §11.1 and §11.2). */
import { fields, u16, union } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';
import {
  TPM_ALG_AES,
  TPM_ALG_CAMELLIA,
  TPM_ALG_ECDAA,
  TPM_ALG_ECDH,
  TPM_ALG_ECDSA,
  TPM_ALG_ECMQV,
  TPM_ALG_ECSCHNORR,
  TPM_ALG_HMAC,
  TPM_ALG_KDF1_SP800_108,
  TPM_ALG_KDF1_SP800_56A,
  TPM_ALG_KDF2,
  TPM_ALG_MGF1,
  TPM_ALG_NULL,
  TPM_ALG_OAEP,
  TPM_ALG_RSAES,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SM2,
  TPM_ALG_SM4,
  TPM_ALG_TDES,
  TPM_ALG_XOR,
} from './constants.ts';

const empty = fields({});
const cipher = fields({ keyBits: u16, mode: u16 });
const hashScheme = fields({ hashAlg: u16 });

/** §11.1.7; the protection of a storage key's children, NULL for any other key. */
export const TPMT_SYM_DEF_OBJECT = union('algorithm', u16, {
  [TPM_ALG_NULL]: empty,
  [TPM_ALG_TDES]: cipher,
  [TPM_ALG_AES]: cipher,
  [TPM_ALG_SM4]: cipher,
  [TPM_ALG_CAMELLIA]: cipher,
});
export type TPMT_SYM_DEF_OBJECT = ValueOf<typeof TPMT_SYM_DEF_OBJECT>;

/** §11.2.4.2 */
export const TPMT_RSA_SCHEME = union('scheme', u16, {
  [TPM_ALG_NULL]: empty,
  [TPM_ALG_RSASSA]: hashScheme,
  [TPM_ALG_RSAPSS]: hashScheme,
  [TPM_ALG_RSAES]: empty,
  [TPM_ALG_OAEP]: hashScheme,
});
export type TPMT_RSA_SCHEME = ValueOf<typeof TPMT_RSA_SCHEME>;

/** §11.2.5.6 */
export const TPMT_ECC_SCHEME = union('scheme', u16, {
  [TPM_ALG_NULL]: empty,
  [TPM_ALG_ECDSA]: hashScheme,
  [TPM_ALG_ECDH]: hashScheme,
  [TPM_ALG_ECDAA]: fields({ hashAlg: u16, count: u16 }),
  [TPM_ALG_SM2]: hashScheme,
  [TPM_ALG_ECSCHNORR]: hashScheme,
  [TPM_ALG_ECMQV]: hashScheme,
});
export type TPMT_ECC_SCHEME = ValueOf<typeof TPMT_ECC_SCHEME>;

/** §11.2.3.3 */
export const TPMT_KDF_SCHEME = union('scheme', u16, {
  [TPM_ALG_NULL]: empty,
  [TPM_ALG_MGF1]: hashScheme,
  [TPM_ALG_KDF1_SP800_56A]: hashScheme,
  [TPM_ALG_KDF2]: hashScheme,
  [TPM_ALG_KDF1_SP800_108]: hashScheme,
});
export type TPMT_KDF_SCHEME = ValueOf<typeof TPMT_KDF_SCHEME>;

/** The scheme of a keyed-hash object. */
export const TPMT_KEYEDHASH_SCHEME = union('scheme', u16, {
  [TPM_ALG_NULL]: empty,
  [TPM_ALG_HMAC]: hashScheme,
  [TPM_ALG_XOR]: fields({ hashAlg: u16, kdf: u16 }),
});
export type TPMT_KEYEDHASH_SCHEME = ValueOf<typeof TPMT_KEYEDHASH_SCHEME>;
