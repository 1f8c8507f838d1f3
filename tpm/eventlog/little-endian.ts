import { ByteReader } from '../codec/byte-reader.ts';
import { CodecError } from '../codec/codec-error.ts';

/** Reads the little-endian structures of firmware (PFP §10, UEFI §3.3, §32.4). */
export class LittleEndianReader extends ByteReader {
  u16(): number {
    return this.source.readUInt16LE(this.advance(2));
  }

  u32(): number {
    return this.source.readUInt32LE(this.advance(4));
  }

  u64(): bigint {
    return this.source.readBigUInt64LE(this.advance(8));
  }

  /** A 64-bit length that is used as one: more than is left is TRUNCATED, whatever its size. */
  length64(): number {
    const value = this.u64();
    if (value > BigInt(this.remaining)) {
      throw new CodecError('TRUNCATED', this.offset, `${value} bytes needed, ${this.remaining} left`);
    }
    return Number(value);
  }

  /** EFI_GUID in its text form: the first three fields are little-endian integers (UEFI Appendix A). */
  guid(): string {
    const hex = this.bytes(16).toString('hex');
    const byte = (index: number): string => hex.slice(2 * index, 2 * index + 2);
    const first = byte(3) + byte(2) + byte(1) + byte(0);
    return `${first}-${byte(5)}${byte(4)}-${byte(7)}${byte(6)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
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
