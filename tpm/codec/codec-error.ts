/** Why bytes are not the structure that was asked for, or a value does not fit into it. */
export type CodecErrorCode =
  | 'TRUNCATED'
  | 'TRAILING_BYTES'
  | 'SIZE_EXCEEDED'
  | 'COUNT_EXCEEDED'
  | 'UNKNOWN_SELECTOR'
  | 'VALUE_OUT_OF_RANGE';

/**
 * The one error of the codec room.
 *
 * `path` leads from the outermost structure to the field at fault (`parameters.scheme.hashAlg`, `pcrSelect[2].hash`), `offset` is
 * in bytes from the start of the outermost buffer, or of the output while encoding.
 */
export class CodecError extends Error {
  override readonly name = 'CodecError';
  readonly code: CodecErrorCode;
  readonly offset: number;
  readonly detail: string;
  #path = '';

  constructor(code: CodecErrorCode, offset: number, detail: string, options?: ErrorOptions) {
    super(`${detail} at offset ${offset}`, options);
    this.code = code;
    this.offset = offset;
    this.detail = detail;
  }

  get path(): string {
    return this.#path;
  }

  /** Puts the name of the enclosing field, or `[index]`, before the path. Called while the error passes outwards. */
  within(segment: string): this {
    const joint = this.#path === '' || this.#path.startsWith('[') ? '' : '.';
    this.#path = `${segment}${joint}${this.#path}`;
    this.message = `${this.#path}: ${this.detail} at offset ${this.offset}`;
    return this;
  }
}
