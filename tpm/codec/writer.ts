import { CodecError } from './codec-error.ts';

/** Writes big-endian TPM structures. A value that its field cannot hold is a {@link CodecError}; nothing is cut off silently. */
export class Writer {
  readonly #parts: Buffer[] = [];
  #length = 0;

  /** Bytes written so far. */
  get offset(): number {
    return this.#length;
  }

  u8(value: number): void {
    this.#unsigned(value, 1);
  }

  u16(value: number): void {
    this.#unsigned(value, 2);
  }

  u32(value: number): void {
    this.#unsigned(value, 4);
  }

  u64(value: bigint): void {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) {
      throw new CodecError('VALUE_OUT_OF_RANGE', this.#length, 'value does not fit 8 bytes');
    }
    const part = Buffer.allocUnsafe(8);
    part.writeBigUInt64BE(value);
    this.#push(part);
  }

  bytes(value: Uint8Array): void {
    this.#push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
  }

  /** The two-byte size of a TPM2B, refused above `maximum`. */
  size(value: number, maximum: number): void {
    if (value > maximum) {
      throw new CodecError('SIZE_EXCEEDED', this.#length, `size ${value} exceeds ${maximum}`);
    }
    this.u16(value);
  }

  /** The four-byte count of a TPML, refused above `maximum`. */
  count(value: number, maximum: number): void {
    if (value > maximum) {
      throw new CodecError('COUNT_EXCEEDED', this.#length, `count ${value} exceeds ${maximum}`);
    }
    this.u32(value);
  }

  /** Everything written, as a fresh buffer. */
  finish(): Buffer {
    return Buffer.concat(this.#parts, this.#length);
  }

  #unsigned(value: number, width: 1 | 2 | 4): void {
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * width)) {
      throw new CodecError('VALUE_OUT_OF_RANGE', this.#length, `value does not fit ${width} bytes`);
    }
    const part = Buffer.allocUnsafe(width);
    part.writeUIntBE(value, 0, width);
    this.#push(part);
  }

  #push(part: Buffer): void {
    this.#parts.push(part);
    this.#length += part.length;
  }
}
