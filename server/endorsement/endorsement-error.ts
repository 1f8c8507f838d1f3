export type EndorsementErrorCode = 'malformed' | 'too_large' | 'too_many' | 'unsupported';

/** Bytes that should be a certificate, a key or a revocation list cannot be read. */
export class EndorsementError extends Error {
  override readonly name = 'EndorsementError';
  readonly code: EndorsementErrorCode;

  constructor(code: EndorsementErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
