/** Why a cryptographic step on TPM data failed. The SIGNATURE, PCR, AUDIT and CREDENTIAL codes say that a check refused. */
export type TpmCryptoErrorCode =
  | 'UNSUPPORTED_HASH'
  | 'UNSUPPORTED_CURVE'
  | 'UNSUPPORTED_SYMMETRIC'
  | 'UNSUITABLE_KEY'
  | 'INVALID_KEY'
  | 'INVALID_POINT'
  | 'SECRET_SIZE'
  | 'CREDENTIAL_INTEGRITY'
  | 'SIGNATURE_NULL'
  | 'SIGNATURE_ALGORITHM_MISMATCH'
  | 'SIGNATURE_HASH_MISMATCH'
  | 'SIGNATURE_MALFORMED'
  | 'SIGNATURE_INVALID'
  | 'PCR_VALUE_SIZE'
  | 'PCR_VALUE_MISSING'
  | 'PCR_VALUE_UNSELECTED'
  | 'PCR_BANK_DUPLICATE'
  | 'PCR_DIGEST_MISMATCH'
  | 'AUDIT_INCOMPLETE'
  | 'AUDIT_DIGEST_MISMATCH';

/** The one error of the crypto room. */
export class TpmCryptoError extends Error {
  override readonly name = 'TpmCryptoError';
  readonly code: TpmCryptoErrorCode;

  constructor(code: TpmCryptoErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
