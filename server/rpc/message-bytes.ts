const VARINT = 0;
const LENGTH_DELIMITED = 2;
/** Bytes of the longest varint. */
const MAX_VARINT = 10;

/**
 * Writes one small message after another in the wire format of Protocol Buffers, for those that are sent too often to be made of
 * objects first: of generated code each takes two buffers of its own outside of the heap. Who writes knows the numbers of the fields;
 * fields that hold their default are left out, as generated code leaves them.
 */
export class MessageBytes {
  readonly #bytes: Buffer;
  #end = 0;

  /** @param size of the largest message */
  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafeSlow(size);
  }

  /** What one that failed has left is gone. */
  begin(): this {
    this.#end = 0;
    return this;
  }

  /** @param value a safe integer, not negative */
  number(field: number, value: number): this {
    return value === 0 ? this : this.#tag(field, VARINT).#varint(value);
  }

  flag(field: number, value: boolean): this {
    return this.number(field, value ? 1 : 0);
  }

  bytes(field: number, value: Uint8Array): this {
    if (value.length === 0) return this;
    this.#tag(field, LENGTH_DELIMITED).#varint(value.length).#need(value.length);
    this.#bytes.set(value, this.#end);
    this.#end += value.length;
    return this;
  }

  ascii(field: number, value: string): this {
    if (value.length === 0) return this;
    this.#tag(field, LENGTH_DELIMITED).#varint(value.length).#need(value.length);
    this.#end += this.#bytes.write(value, this.#end, 'latin1');
    return this;
  }

  packed(field: number, values: readonly number[]): this {
    if (values.length === 0) return this;
    const start = this.open(field);
    for (const value of values) this.#varint(value);
    return this.close(start);
  }

  /** Begins a message within the message; what is returned closes it. */
  open(field: number): number {
    this.#tag(field, LENGTH_DELIMITED);
    const start = this.#end;
    // Most are shorter than 128 bytes.
    this.#need(1);
    this.#end += 1;
    return start;
  }

  close(start: number): this {
    const length = this.#end - start - 1;
    const more = varintLength(length) - 1;
    if (more > 0) {
      this.#need(more);
      this.#bytes.copyWithin(start + 1 + more, start + 1, this.#end);
    }
    const end = this.#end + more;
    this.#end = start;
    this.#varint(length);
    this.#end = end;
    return this;
  }

  /** The message, in a buffer of its own. */
  take(): Buffer {
    return Buffer.from(this.#bytes.subarray(0, this.#end));
  }

  #tag(field: number, wireType: number): this {
    return this.#varint(field * 8 + wireType);
  }

  #varint(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new TypeError(`${value} is no unsigned number`);
    this.#need(MAX_VARINT);
    let left = value;
    for (; left >= 0x80; left = Math.floor(left / 0x80)) this.#bytes[this.#end++] = (left % 0x80) | 0x80;
    this.#bytes[this.#end++] = left;
    return this;
  }

  #need(bytes: number): void {
    if (this.#end + bytes > this.#bytes.length) throw new TypeError('the message is larger than it can be');
  }
}

function varintLength(value: number): number {
  let length = 1;
  for (let left = value; left >= 0x80; left = Math.floor(left / 0x80)) length += 1;
  return length;
}
