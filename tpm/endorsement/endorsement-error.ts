export type EndorsementErrorCode =
  | 'malformed'
  | 'too_large'
  | 'too_many'
  | 'unsupported'
  | 'list_invalid'
  | 'list_unsupported'
  | 'list_issuer_unknown'
  | 'list_not_yet_valid';

/** Bytes that should be a certificate, a key or a revocation list cannot be read, or a list cannot be taken. */
export class EndorsementError extends Error {
  override readonly name = 'EndorsementError';
  readonly code: EndorsementErrorCode;

  constructor(code: EndorsementErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
