/** Why evidence is not proven to be the host's. Such evidence makes no result and changes nothing about the host. */
export type EvidenceErrorCode =
  | 'EVIDENCE_MALFORMED'
  | 'SIGNATURE_NULL'
  | 'SIGNATURE_ALGORITHM_MISMATCH'
  | 'SIGNATURE_INVALID'
  | 'ATTEST_MAGIC_WRONG'
  | 'ATTEST_TYPE_WRONG'
  | 'EXTRA_DATA_MISMATCH'
  | 'QUALIFIED_SIGNER_MISMATCH';

/** The evidence is not the host's answer to this challenge. */
export class EvidenceError extends Error {
  override readonly name = 'EvidenceError';
  readonly code: EvidenceErrorCode;

  constructor(code: EvidenceErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
