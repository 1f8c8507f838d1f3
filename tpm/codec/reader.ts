import { CodecError } from './codec-error.ts';

/**
 * Reads big-endian TPM structures (Part 1 §"Marshaling": canonical form, no padding) and refuses, by {@link CodecError},
 * whatever does not fit. All byte strings it gives out are views into the input: no copy, and no allocation that a length field
 * could drive.
 */
export class Reader {
  readonly #bytes: Buffer;
  readonly #base: number;
  #position = 0;

  /** `base` is the offset of these bytes in an outer buffer; it only serves the offsets in errors. */
  constructor(bytes: Uint8Array, base = 0) {
    this.#bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#base = base;
  }

  /** Bytes from the start of the outermost buffer. */
  get offset(): number {
    return this.#base + this.#position;
  }

  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#advance(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#advance(8));
  }

  /** Exactly `length` bytes, as a view. */
  bytes(length: number): Buffer {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** The two-byte size of a TPM2B, refused above `maximum`. */
  size(maximum: number): number {
    const at = this.offset;
    const size = this.u16();
    if (size > maximum) {
      throw new CodecError('SIZE_EXCEEDED', at, `size ${size} exceeds ${maximum}`);
    }
    return size;
  }

  /** The four-byte count of a TPML, refused above `maximum`. */
  count(maximum: number): number {
    const at = this.offset;
    const count = this.u32();
    if (count > maximum) {
      throw new CodecError('COUNT_EXCEEDED', at, `count ${count} exceeds ${maximum}`);
    }
    return count;
  }

  /** A reader of the next `length` bytes alone; this one moves past them. */
  slice(length: number): Reader {
    const at = this.offset;
    return new Reader(this.bytes(length), at);
  }

  /** Refuses trailing bytes. */
  end(): void {
    if (this.remaining !== 0) {
      throw new CodecError('TRAILING_BYTES', this.offset, `${this.remaining} trailing bytes`);
    }
  }

  #advance(length: number): number {
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new TypeError('length must be a non-negative integer');
    }
    const start = this.#position;
    if (length > this.#bytes.length - start) {
      throw new CodecError('TRUNCATED', this.offset, `${length} bytes needed, ${this.remaining} left`);
    }
    this.#position = start + length;
    return start;
  }
}
