import { ScalarType } from '@bufbuild/protobuf';
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';

/** The least field: a byte that names it, and one of it. */
const LEAST_FIELD_BYTES = 2;

/**
 * Whether more fields than that stand in the bytes of a message, those of the messages in it included. To decode two bytes that are an
 * empty message costs a microsecond and a hundred bytes; to count them costs a hundredth of it. What cannot be read is not told here:
 * who decodes it stumbles over it, at the same place.
 */
export function hasMoreFieldsThan(limit: number, schema: DescMessage, bytes: Uint8Array): boolean {
  if (bytes.length <= LEAST_FIELD_BYTES * limit) return false;
  try {
    return countFields(schema, bytes, limit + 1) > limit;
  } catch {
    return false;
  }
}

/** What follows the tag of a field, as who decodes it reads it: by the schema, whatever the tag says of it. */
interface Content {
  readonly wireType: WireType;
  /** A list of numbers, which stands in one field where the tag says so. */
  readonly isPackable: boolean;
  /** Of a message, or of an entry of a map. */
  readonly inner: (() => Contents) | null;
}

/** By the number of the field. */
type Contents = ReadonlyMap<number, Content>;

interface Opened {
  readonly contents: Contents;
  readonly end: number;
}

/** Counts no further than `enough`. */
function countFields(schema: DescMessage, bytes: Uint8Array, enough: number): number {
  const reader = new BinaryReader(bytes);
  const opened: Opened[] = [{ contents: contentsOf(schema), end: bytes.length }];
  let count = 0;
  for (let last = opened.at(-1); last !== undefined && count < enough; last = opened.at(-1)) {
    if (reader.pos >= last.end) {
      opened.pop();
      continue;
    }
    const [number, wireType] = reader.tag();
    count += 1;
    const content = last.contents.get(number);
    if (content === undefined) reader.skip(wireType, number);
    else if (content.inner !== null) opened.push({ contents: content.inner(), end: endOf(reader) });
    else if (content.isPackable && wireType === WireType.LengthDelimited) reader.skip(wireType);
    else reader.skip(content.wireType);
  }
  return count;
}

/** Of what is delimited by the length that is read next. */
function endOf(reader: BinaryReader): number {
  const length = reader.uint32();
  return reader.pos + length;
}

const known = new WeakMap<DescMessage, Contents>();

function contentsOf(schema: DescMessage): Contents {
  let contents = known.get(schema);
  if (contents === undefined) {
    contents = new Map(schema.fields.map((field) => [field.number, contentOf(field)]));
    known.set(schema, contents);
  }
  return contents;
}

function contentOf(field: DescField): Content {
  if (field.fieldKind === 'map') {
    const entry = new Map([
      [1, valueOf(field.mapKey)],
      [2, field.message === undefined ? valueOf(field.scalar) : messageOf(field.message)],
    ]);
    return { wireType: WireType.LengthDelimited, isPackable: false, inner: () => entry };
  }
  if (field.message !== undefined) return messageOf(field.message);
  const value = valueOf(field.scalar);
  return { ...value, isPackable: field.fieldKind === 'list' && value.wireType !== WireType.LengthDelimited };
}

function messageOf(schema: DescMessage): Content {
  return { wireType: WireType.LengthDelimited, isPackable: false, inner: () => contentsOf(schema) };
}

/** Of a scalar; undefined for an enum. */
function valueOf(scalar: ScalarType | undefined): Content {
  return { wireType: wireTypeOf(scalar), isPackable: false, inner: null };
}

function wireTypeOf(scalar: ScalarType | undefined): WireType {
  switch (scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return WireType.Bit64;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return WireType.Bit32;
    default:
      return WireType.Varint;
  }
}
