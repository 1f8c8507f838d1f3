import { CodecError } from '../codec/codec-error.ts';

/**
 * Reads the little-endian structures of firmware (PFP §10, UEFI §3.3, §32.4), as `Reader` of the codec room reads the TPM's own.
 * Byte strings are views into the input; whatever does not fit is a {@link CodecError}.
 */
export class LittleEndianReader {
  readonly #bytes: Buffer;
  readonly #base: number;
  #position = 0;

  /** `base` is the offset of these bytes in an outer buffer; it only serves the offsets in errors. */
  constructor(bytes: Buffer, base = 0) {
    this.#bytes = bytes;
    this.#base = base;
  }

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
    return this.#bytes.readUInt16LE(this.#advance(2));
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#advance(4));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64LE(this.#advance(8));
  }

  /** A 64-bit length that is used as one: more than is left is TRUNCATED, whatever its size. */
  length64(): number {
    const value = this.u64();
    if (value > BigInt(this.remaining)) {
      throw new CodecError('TRUNCATED', this.offset, `${value} bytes needed, ${this.remaining} left`);
    }
    return Number(value);
  }

  bytes(length: number): Buffer {
    const start = this.#advance(length);
    return this.#bytes.subarray(start, start + length);
  }

  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** EFI_GUID in its text form: the first three fields are little-endian integers (UEFI Appendix A). */
  guid(): string {
    const hex = this.bytes(16).toString('hex');
    const byte = (index: number): string => hex.slice(2 * index, 2 * index + 2);
    const first = byte(3) + byte(2) + byte(1) + byte(0);
    return `${first}-${byte(5)}${byte(4)}-${byte(7)}${byte(6)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  /** Refuses trailing bytes. */
  end(): void {
    if (this.remaining !== 0) {
      throw new CodecError('TRAILING_BYTES', this.offset, `${this.remaining} trailing bytes`);
    }
  }

  #advance(length: number): number {
    const start = this.#position;
    if (length > this.#bytes.length - start) {
      throw new CodecError('TRUNCATED', this.offset, `${length} bytes needed, ${this.remaining} left`);
    }
    this.#position = start + length;
    return start;
  }
}

/** What `read` makes of all the bytes, or undefined where they are no such structure. */
export function tryRead<T>(bytes: Buffer, read: (reader: LittleEndianReader) => T): T | undefined {
  try {
    return read(new LittleEndianReader(bytes));
  } catch (error) {
    if (error instanceof CodecError) return undefined;
    throw error;
  }
}
