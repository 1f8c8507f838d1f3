import type { EkRefusalCode } from '../../tpm/endorsement/verify-ek.ts';

/** Why a host is not enrolled. Nothing was stored. */
export type EnrollmentErrorCode =
  | EkRefusalCode
  | 'TOO_MANY_EKS'
  | 'EK_MISSING'
  | 'EK_MALFORMED'
  | 'EK_UNSUITABLE'
  | 'EK_DUPLICATE'
  | 'PARENT_INDEX_INVALID'
  | 'TLS_KEY_MISSING'
  | 'TLS_KEY_MISMATCH'
  | 'AK_MALFORMED'
  | 'AK_NOT_RESTRICTED'
  | 'AK_NOT_SIGNING'
  | 'AK_DECRYPTS'
  | 'AK_NOT_FIXED_TPM'
  | 'AK_NOT_FIXED_PARENT'
  | 'AK_NOT_GENERATED_IN_TPM'
  | 'AK_SCHEME_NULL'
  | 'AK_SCHEME_UNSUPPORTED'
  | 'AK_HASH_WEAK'
  | 'AK_KEY_WEAK'
  | 'ENROLLMENT_TOKEN_INVALID'
  | 'ENROLLMENT_EXPIRED'
  | 'ENROLLMENT_USED'
  | 'ENROLLMENT_PROOF_INVALID'
  | 'ENROLLMENT_EVIDENCE_REFUSED'
  | 'ENROLLMENT_EVIDENCE_TORN'
  | 'HOST_REVOKED'
  | 'EK_CONFLICT'
  | 'AK_CONFLICT'
  | 'ADMISSION_DENIED'
  | 'ADMISSION_BOOT_DENIED'
  | 'TOO_MANY_PENDING'
  | 'ENROLLMENT_BUSY'
  | 'ENROLLMENT_RATE';

export class EnrollmentError extends Error {
  override readonly name = 'EnrollmentError';
  readonly code: EnrollmentErrorCode;
  /** Milliseconds after which another try makes sense; undefined where the code says it. */
  readonly retryAfter: number | undefined;

  constructor(code: EnrollmentErrorCode, message: string, options?: ErrorOptions & { readonly retryAfter?: number }) {
    super(message, options);
    this.code = code;
    this.retryAfter = options?.retryAfter;
  }
}
