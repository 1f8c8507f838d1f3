/** TPMT_SIGNATURE (Part 2 §11.3.4). */
import { decode, fields, u16, union } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';
import { TPM2B_ECC_PARAMETER, TPM2B_PUBLIC_KEY_RSA } from './buffers.ts';
import { TPM_ALG_ECDSA, TPM_ALG_NULL, TPM_ALG_RSAPSS, TPM_ALG_RSASSA } from './constants.ts';

const rsa = fields({ hash: u16, sig: TPM2B_PUBLIC_KEY_RSA });

/** NULL is what TPM2_Quote returns when asked to sign with no key; it is read so that it can be refused by name. */
export const TPMT_SIGNATURE = union('sigAlg', u16, {
  [TPM_ALG_RSASSA]: rsa,
  [TPM_ALG_RSAPSS]: rsa,
  [TPM_ALG_ECDSA]: fields({ hash: u16, signatureR: TPM2B_ECC_PARAMETER, signatureS: TPM2B_ECC_PARAMETER }),
  [TPM_ALG_NULL]: fields({}),
});
export type TPMT_SIGNATURE = ValueOf<typeof TPMT_SIGNATURE>;

export function decodeSignature(bytes: Buffer): TPMT_SIGNATURE {
  return decode(TPMT_SIGNATURE, bytes);
}
