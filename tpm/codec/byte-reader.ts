import { CodecError } from './codec-error.ts';

/**
 * Reads a buffer from its start to its end and refuses, by {@link CodecError}, whatever does not fit. Byte strings that it gives out
 * are views into the input: no copy, and no allocation that a length field could drive. Integers are a matter of byte order.
 */
export class ByteReader {
  protected readonly source: Buffer;
  readonly #base: number;
  #position = 0;

  /** `base` is the offset of these bytes in an outer buffer; it only serves the offsets in errors. */
  constructor(bytes: Uint8Array, base = 0) {
    this.source = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#base = base;
  }

  /** Bytes from the start of the outermost buffer. */
  get offset(): number {
    return this.#base + this.#position;
  }

  get remaining(): number {
    return this.source.length - this.#position;
  }

  u8(): number {
    return this.source.readUInt8(this.advance(1));
  }

  /** Exactly `length` bytes, as a view. */
  bytes(length: number): Buffer {
    const start = this.advance(length);
    return this.source.subarray(start, start + length);
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** Refuses trailing bytes. */
  end(): void {
    if (this.remaining !== 0) {
      throw new CodecError('TRAILING_BYTES', this.offset, `${this.remaining} trailing bytes`);
    }
  }

  /** Moves past `length` bytes; their position in the source. */
  protected advance(length: number): number {
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new TypeError('length must be a non-negative integer');
    }
    const start = this.#position;
    if (length > this.source.length - start) {
      throw new CodecError('TRUNCATED', this.offset, `${length} bytes needed, ${this.remaining} left`);
    }
    this.#position = start + length;
    return start;
  }
}
