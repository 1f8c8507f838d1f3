export type ReferenceImportErrorCode = 'malformed' | 'too_large' | 'too_slow' | 'busy';

/** Why an import is refused. The message says where: a line and column, or a path of JSON with them. */
export class ReferenceImportError extends Error {
  override readonly name = 'ReferenceImportError';
  readonly code: ReferenceImportErrorCode;

  constructor(code: ReferenceImportErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Counted from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** What is wrong at a place. */
export function malformed({ line, column }: Place, message: string): ReferenceImportError {
  return new ReferenceImportError('malformed', `line ${line}, column ${column}: ${message}`);
}
