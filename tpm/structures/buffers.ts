/** The plain sized buffers of Part 2 §10.4 and §11, with the largest size that any registered algorithm gives them. */
import { fields, sizedBytes } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';

/** Bytes of the largest digest (SHA-512). */
export const MAX_DIGEST_SIZE = 64;

export const TPM2B_DIGEST = sizedBytes(MAX_DIGEST_SIZE);
/** §10.4.3: room for a TPMT_HA, an algorithm id and its digest. */
export const TPM2B_DATA = sizedBytes(2 + MAX_DIGEST_SIZE);
/** §10.5.3: a handle, or an algorithm id and a digest. */
export const TPM2B_NAME = sizedBytes(2 + MAX_DIGEST_SIZE);
/** §11.2.4.5: up to RSA-4096. */
export const TPM2B_PUBLIC_KEY_RSA = sizedBytes(512);
/** §11.2.5.1. Implementations reserve up to 128 bytes; whether the length fits the curve is judged with the key. */
export const TPM2B_ECC_PARAMETER = sizedBytes(128);

/** §11.2.5.2 */
export const TPMS_ECC_POINT = fields({ x: TPM2B_ECC_PARAMETER, y: TPM2B_ECC_PARAMETER });
export type TPMS_ECC_POINT = ValueOf<typeof TPMS_ECC_POINT>;
