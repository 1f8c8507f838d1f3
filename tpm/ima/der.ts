/** As much DER (X.690) as keys, certificates and PKCS #7 signatures of IMA need. Definite lengths only; nothing is copied. */

/** One value. `raw` includes tag and length, `content` does not. */
export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
  readonly raw: Buffer;
}

export const DER = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
  set: 0x31,
  context0: 0xa0,
  context3: 0xa3,
  contextPrimitive0: 0x80,
} as const;

/** Why bytes are no DER. It stays inside this room: callers turn it into findings and keyring errors. */
export class DerError extends Error {
  override readonly name = 'DerError';
  readonly code = 'DER_MALFORMED';
}

/** Reads one value after the other. */
export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The next value's tag; undefined at the end. */
  get tag(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** The next value, which must have the tag if one is given. */
  read(tag?: number): DerValue {
    const start = this.#at;
    const found = this.#bytes[start];
    const first = this.#bytes[start + 1];
    if (found === undefined || first === undefined) throw new DerError('value is missing');
    if (tag !== undefined && found !== tag)
      throw new DerError(`tag 0x${found.toString(16)} where 0x${tag.toString(16)} must be`);
    if ((found & 0x1f) === 0x1f) throw new DerError('tags of several bytes are not used here');
    const lengthBytes = first < 0x80 ? 0 : first - 0x80;
    if (first === 0x80 || lengthBytes > 3 || start + 2 + lengthBytes > this.#bytes.length)
      throw new DerError('length is malformed');
    const length = lengthBytes === 0 ? first : this.#bytes.readUIntBE(start + 2, lengthBytes);
    const contentAt = start + 2 + lengthBytes;
    if (length > this.#bytes.length - contentAt) throw new DerError('value is longer than what holds it');
    this.#at = contentAt + length;
    return {
      tag: found,
      content: this.#bytes.subarray(contentAt, this.#at),
      raw: this.#bytes.subarray(start, this.#at),
    };
  }

  /** A reader of the next value's content. */
  open(tag: number): DerReader {
    return new DerReader(this.read(tag).content);
  }

  /** All values that are left, at most `maximum`. */
  rest(maximum: number): readonly DerValue[] {
    const values: DerValue[] = [];
    while (!this.isAtEnd) {
      if (values.length === maximum) throw new DerError(`more than ${maximum} values`);
      values.push(this.read());
    }
    return values;
  }
}
