/** Why a host is not attested, or what it proved cannot be read. Nothing about the host was changed. */
export type AttestationErrorCode =
  | 'HELLO_MISSING'
  | 'MESSAGE_UNEXPECTED'
  | 'CHALLENGE_EXPIRED'
  | 'CHALLENGE_TOKEN_INVALID'
  | 'HOST_UNKNOWN'
  | 'HOST_REVOKED'
  | 'HOST_PENDING'
  | 'AK_UNKNOWN'
  | 'TLS_KEY_SUPERSEDED'
  | 'HOST_CHANGED'
  | 'CHALLENGE_RATE'
  | 'ROUND_RATE'
  | 'STREAM_LIMIT'
  | 'SHUTTING_DOWN'
  | 'RUNTIME_LIST_MISSING'
  | 'HOST_HAS_FINDINGS';

export class AttestationError extends Error {
  override readonly name = 'AttestationError';
  readonly code: AttestationErrorCode;

  constructor(code: AttestationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
