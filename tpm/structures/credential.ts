/** What TPM2_MakeCredential makes and TPM2_ActivateCredential takes (Part 1 §24, Part 2 §11.4.3, §12.4). */
import { fields, restBytes, sized, sizedBytes } from '../codec/structure.ts';
import type { ValueOf } from '../codec/structure.ts';
import { MAX_DIGEST_SIZE, TPM2B_DIGEST } from './buffers.ts';

/** §12.4.2. `encIdentity` is an encrypted TPM2B_DIGEST: its size field is ciphertext, so the rest of the object is it. */
export const TPMS_ID_OBJECT = fields({ integrityHMAC: TPM2B_DIGEST, encIdentity: restBytes(2 + MAX_DIGEST_SIZE) });
export type TPMS_ID_OBJECT = ValueOf<typeof TPMS_ID_OBJECT>;

/** §12.4.3, the credentialBlob of both commands. */
export const TPM2B_ID_OBJECT = sized(TPMS_ID_OBJECT, 2 * (2 + MAX_DIGEST_SIZE));

/** §11.4.3: OAEP ciphertext for an RSA EK (up to 512 bytes), a TPMS_ECC_POINT for an ECC one. */
export const TPM2B_ENCRYPTED_SECRET = sizedBytes(512);
