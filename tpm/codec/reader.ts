import { ByteReader } from './byte-reader.ts';
import { CodecError } from './codec-error.ts';

/** Reads big-endian TPM structures (Part 1 §"Marshaling": canonical form, no padding). */
export class Reader extends ByteReader {
  u16(): number {
    return this.source.readUInt16BE(this.advance(2));
  }

  u32(): number {
    return this.source.readUInt32BE(this.advance(4));
  }

  u64(): bigint {
    return this.source.readBigUInt64BE(this.advance(8));
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
}
