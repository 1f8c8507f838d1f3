import type { DescMessage } from '@bufbuild/protobuf';
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

interface Opened {
  readonly schema: DescMessage;
  readonly end: number;
}

/** Counts no further than `enough`. */
function countFields(schema: DescMessage, bytes: Uint8Array, enough: number): number {
  const reader = new BinaryReader(bytes);
  const opened: Opened[] = [{ schema, end: bytes.length }];
  let count = 0;
  for (let last = opened.at(-1); last !== undefined && count < enough; last = opened.at(-1)) {
    if (reader.pos >= last.end) {
      opened.pop();
      continue;
    }
    const [number, wireType] = reader.tag();
    count += 1;
    const inner = wireType === WireType.LengthDelimited ? messageOf(last.schema, number) : undefined;
    if (inner === undefined) reader.skip(wireType, number);
    else opened.push({ schema: inner, end: endOf(reader) });
  }
  return count;
}

/** Of what is delimited by the length that is read next. */
function endOf(reader: BinaryReader): number {
  const length = reader.uint32();
  return reader.pos + length;
}

/** The message of a field; undefined for a field of another kind, and one that nobody knows. */
function messageOf(schema: DescMessage, number: number): DescMessage | undefined {
  return messagesOf(schema).get(number);
}

const known = new WeakMap<DescMessage, ReadonlyMap<number, DescMessage>>();

function messagesOf(schema: DescMessage): ReadonlyMap<number, DescMessage> {
  let messages = known.get(schema);
  if (messages === undefined) {
    messages = new Map(
      schema.fields.flatMap((field) =>
        field.fieldKind !== 'map' && field.message !== undefined ? [[field.number, field.message] as const] : [],
      ),
    );
    known.set(schema, messages);
  }
  return messages;
}
