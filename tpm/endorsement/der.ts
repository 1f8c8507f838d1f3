import { EndorsementError } from './endorsement-error.ts';

/**
 * Reader of DER (ITU-T X.690 §8, §10) for certificates that come from outside: definite lengths only, minimal length
 * octets, low tag numbers, bounded nesting, nothing after the end. It never recurses on the input: a caller enters
 * each level by name.
 */

export const DER_TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  objectIdentifier: 0x06,
  enumerated: 0x0a,
  utf8String: 0x0c,
  printableString: 0x13,
  teletexString: 0x14,
  ia5String: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  universalString: 0x1c,
  bmpString: 0x1e,
  sequence: 0x30,
  set: 0x31,
} as const;

const MAX_DEPTH = 16;
const MAX_OID_BYTES = 64;

/** One element. `raw` is header and contents as received. */
export interface DerElement {
  readonly tag: number;
  readonly contents: Buffer;
  readonly raw: Buffer;
}

export class DerReader {
  readonly #bytes: Buffer;
  readonly #name: string;
  readonly #depth: number;
  #offset = 0;

  /** `name` says in errors what is being read. */
  constructor(bytes: Uint8Array, name: string, depth = 0) {
    if (depth > MAX_DEPTH) throw new EndorsementError('malformed', `${name} is nested too deeply`);
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#name = name;
    this.#depth = depth;
  }

  get done(): boolean {
    return this.#offset >= this.#bytes.length;
  }

  /** How many bytes have been read. */
  get offset(): number {
    return this.#offset;
  }

  /** Tag of the next element, or undefined at the end. */
  get nextTag(): number | undefined {
    return this.#bytes[this.#offset];
  }

  /** Reads the next element, whatever its tag. */
  next(): DerElement {
    const start = this.#offset;
    const tag = this.#byte(start);
    // Tag numbers from 31 up take more octets (X.690 §8.1.2.4); no structure that is read here has one.
    if ((tag & 0x1f) === 0x1f) throw this.#malformed('has a high tag number');
    const { length, headerBytes } = this.#length(start + 1);
    const from = start + 1 + headerBytes;
    if (length > this.#bytes.length - from) throw this.#malformed('ends too early');
    this.#offset = from + length;
    return { tag, contents: this.#bytes.subarray(from, this.#offset), raw: this.#bytes.subarray(start, this.#offset) };
  }

  /** Reads the next element, which must have this tag. */
  read(tag: number, field: string): DerElement {
    if (this.nextTag !== tag) throw this.#malformed(`has no ${field} where one must be`);
    return this.next();
  }

  /** Reads the next element if it has this tag. */
  optional(tag: number): DerElement | undefined {
    return this.nextTag === tag ? this.next() : undefined;
  }

  /** Reads the next element, which must have this tag, and answers a reader of its contents. */
  enter(tag: number, field: string): DerReader {
    return this.inside(this.read(tag, field), field);
  }

  /** A reader of an element's contents, one level deeper. */
  inside(element: DerElement, field: string): DerReader {
    return new DerReader(element.contents, field, this.#depth + 1);
  }

  /** Refuses trailing bytes. */
  end(): void {
    if (!this.done) throw this.#malformed('has trailing bytes');
  }

  #byte(offset: number): number {
    const byte = this.#bytes[offset];
    if (byte === undefined) throw this.#malformed('ends too early');
    return byte;
  }

  #length(offset: number): { readonly length: number; readonly headerBytes: number } {
    const first = this.#byte(offset);
    if (first < 0x80) return { length: first, headerBytes: 1 };
    const count = first & 0x7f;
    // 0x80 is the indefinite form (X.690 §8.1.3.6), which DER excludes; 4 octets are more than any bound here.
    if (count === 0 || count > 4) throw this.#malformed('has a length that DER does not allow');
    let length = 0;
    for (let index = 1; index <= count; index += 1) length = length * 256 + this.#byte(offset + index);
    if (length < 0x80 || length < 256 ** (count - 1)) throw this.#malformed('has a length that is not minimal');
    return { length, headerBytes: count + 1 };
  }

  #malformed(what: string): EndorsementError {
    return new EndorsementError('malformed', `${this.#name} ${what}`);
  }
}

/** An INTEGER as sign and magnitude without leading zeros; `minimal` is false for superfluous leading octets. */
export interface DerInteger {
  readonly negative: boolean;
  readonly magnitude: Buffer;
  readonly minimal: boolean;
}

export function decodeInteger(contents: Buffer, name: string): DerInteger {
  const [first, second = 0] = contents;
  if (first === undefined) throw new EndorsementError('malformed', `${name} is an empty integer`);
  const minimal = contents.length === 1 || !((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  let start = 0;
  while (start < contents.length - 1 && contents[start] === 0) start += 1;
  return { negative: first >= 0x80, magnitude: contents.subarray(start), minimal };
}

/** A small non-negative INTEGER. */
export function decodeSmallInteger(contents: Buffer, name: string): number {
  const { negative, magnitude } = decodeInteger(contents, name);
  if (negative || magnitude.length > 4) throw new EndorsementError('malformed', `${name} is out of range`);
  return magnitude.readUIntBE(0, magnitude.length);
}

export function decodeBoolean(contents: Buffer, name: string): boolean {
  if (contents.length !== 1 || (contents[0] !== 0 && contents[0] !== 0xff)) {
    throw new EndorsementError('malformed', `${name} is not a boolean`);
  }
  return contents[0] === 0xff;
}

/** A BIT STRING of whole octets, as keys and signatures are. */
export function decodeOctetBits(contents: Buffer, name: string): Buffer {
  if (contents[0] !== 0) throw new EndorsementError('malformed', `${name} is not a string of whole octets`);
  return contents.subarray(1);
}

/** An OBJECT IDENTIFIER in dotted form; arcs of any size up to the bound on the whole. */
export function decodeOid(contents: Buffer, name: string): string {
  const last = contents[contents.length - 1];
  if (last === undefined || last >= 0x80 || contents.length > MAX_OID_BYTES) {
    throw new EndorsementError('malformed', `${name} is not an object identifier`);
  }
  const arcs: bigint[] = [];
  let arc = 0n;
  let fresh = true;
  for (const octet of contents) {
    if (fresh && octet === 0x80) throw new EndorsementError('malformed', `${name} has an arc that is not minimal`);
    arc = (arc << 7n) | BigInt(octet & 0x7f);
    fresh = octet < 0x80;
    if (fresh) {
      if (arcs.length === 0) {
        const root = arc < 80n ? arc / 40n : 2n;
        arcs.push(root, arc - root * 40n);
      } else {
        arcs.push(arc);
      }
      arc = 0n;
    }
  }
  return arcs.join('.');
}

/** UTCTime or GeneralizedTime in the only forms of RFC 5280 §4.1.2.5: seconds given, `Z`, no fraction. */
export function decodeTime(element: DerElement, name: string): Date {
  const text = element.contents.toString('latin1');
  const pattern = element.tag === DER_TAG.utcTime ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/;
  const match = element.tag === DER_TAG.utcTime || element.tag === DER_TAG.generalizedTime ? pattern.exec(text) : null;
  const [, digits, rest] = match ?? [];
  if (digits === undefined || rest === undefined) throw new EndorsementError('malformed', `${name} is not a time`);
  // RFC 5280 §4.1.2.5.1: two-digit years from 50 up are of the last century.
  const year = digits.length === 4 ? digits : `${Number(digits) >= 50 ? '19' : '20'}${digits}`;
  const iso = `${year}-${rest.slice(0, 2)}-${rest.slice(2, 4)}T${rest.slice(4, 6)}:${rest.slice(6, 8)}:${rest.slice(8, 10)}.000Z`;
  const date = new Date(iso);
  // A day such as 30 February is moved by Date, so it does not print as it was read.
  if (Number.isNaN(date.getTime()) || date.toISOString() !== iso) {
    throw new EndorsementError('malformed', `${name} is not a time`);
  }
  return date;
}

/** Encodes one element with definite length. */
export function encodeDer(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const contents = Buffer.concat(parts);
  const length = contents.length;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), contents]);
  const hex = length.toString(16);
  const octets = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 | octets.length]), octets, contents]);
}

/** Encodes a non-negative INTEGER from its magnitude, minimally. */
export function encodeUnsigned(magnitude: Buffer): Buffer {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start += 1;
  const bare = magnitude.subarray(start);
  return encodeDer(DER_TAG.integer, (bare[0] ?? 0) >= 0x80 ? Buffer.from([0]) : Buffer.alloc(0), bare);
}
