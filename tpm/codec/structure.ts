/**
 * The declarative layer: one declaration per TPM structure gives its decoder, its encoder and its TypeScript type.
 *
 * It mirrors the kinds of Part 2: integers, `TPM2B` (sized buffers and sized structures), `TPML` (counted lists), `TPMS` (ordered
 * fields) and `TPMT` (a selector and the arm it selects). It knows no TPM type by name.
 */
import { CodecError } from './codec-error.ts';
import { Reader } from './reader.ts';
import { Writer } from './writer.ts';

/** Both ways between the bytes of a structure and its value. Methods, so that `Structure<T>` is a `Structure<unknown>`. */
export interface Structure<T> {
  read(reader: Reader): T;
  write(writer: Writer, value: T): void;
}

/** The type of the value that a declaration describes: `type TPMS_QUOTE_INFO = ValueOf<typeof TPMS_QUOTE_INFO>`. */
export type ValueOf<S> = S extends Structure<infer T> ? T : never;

type Fields = Readonly<Record<string, Structure<unknown>>>;
type FieldValues<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> };
type Arms = Readonly<Record<number, Structure<object>>>;
type Flat<T> = { [K in keyof T]: T[K] };
type ArmValues<Selector extends string, A extends Arms> = {
  [K in keyof A & number]: Flat<{ readonly [P in Selector]: K } & ValueOf<A[K]>>;
}[keyof A & number];

export const u8: Structure<number> = { read: (reader) => reader.u8(), write: (writer, value) => writer.u8(value) };
export const u16: Structure<number> = { read: (reader) => reader.u16(), write: (writer, value) => writer.u16(value) };
export const u32: Structure<number> = { read: (reader) => reader.u32(), write: (writer, value) => writer.u32(value) };
export const u64: Structure<bigint> = { read: (reader) => reader.u64(), write: (writer, value) => writer.u64(value) };

/** TPMI_YES_NO (Part 2 §9.2): one byte, 0 or 1, and nothing else. */
export const yesNo: Structure<boolean> = {
  read(reader) {
    const at = reader.offset;
    const value = reader.u8();
    if (value > 1) {
      throw new CodecError('VALUE_OUT_OF_RANGE', at, `${value} is neither yes nor no`);
    }
    return value === 1;
  },
  write: (writer, value) => writer.u8(value ? 1 : 0),
};

/** TPM2B of bytes: a two-byte size, then at most `maximum` bytes. */
export function sizedBytes(maximum: number): Structure<Buffer> {
  return {
    read: (reader) => reader.bytes(reader.size(maximum)),
    write(writer, value) {
      writer.size(value.length, maximum);
      writer.bytes(value);
    },
  };
}

/** Bytes with a one-byte size, as in TPMS_PCR_SELECT (Part 2 §10.6.1). */
export function shortBytes(maximum: number): Structure<Buffer> {
  const check = (size: number, offset: number): number => {
    if (size > maximum) {
      throw new CodecError('SIZE_EXCEEDED', offset, `size ${size} exceeds ${maximum}`);
    }
    return size;
  };
  return {
    read(reader) {
      const at = reader.offset;
      return reader.bytes(check(reader.u8(), at));
    },
    write(writer, value) {
      writer.u8(check(value.length, writer.offset));
      writer.bytes(value);
    },
  };
}

/** All that is left of the enclosing sized structure, at most `maximum` bytes. */
export function restBytes(maximum: number): Structure<Buffer> {
  const check = (value: Buffer, offset: number): Buffer => {
    if (value.length > maximum) {
      throw new CodecError('SIZE_EXCEEDED', offset, `size ${value.length} exceeds ${maximum}`);
    }
    return value;
  };
  return {
    read(reader) {
      const at = reader.offset;
      return check(reader.rest(), at);
    },
    write: (writer, value) => writer.bytes(check(value, writer.offset)),
  };
}

/** TPM2B of a structure: the size must be exactly that of the content. */
export function sized<T>(content: Structure<T>, maximum: number): Structure<T> {
  return {
    read(reader) {
      const inner = reader.slice(reader.size(maximum));
      const value = content.read(inner);
      inner.end();
      return value;
    },
    write(writer, value) {
      const inner = new Writer();
      content.write(inner, value);
      const bytes = inner.finish();
      writer.size(bytes.length, maximum);
      writer.bytes(bytes);
    },
  };
}

/** TPML: a four-byte count, then at most `maximum` elements. */
export function list<T>(element: Structure<T>, maximum: number): Structure<readonly T[]> {
  return {
    read(reader) {
      const count = reader.count(maximum);
      const values: T[] = [];
      while (values.length < count) {
        values.push(within(`[${values.length}]`, () => element.read(reader)));
      }
      return values;
    },
    write(writer, values) {
      writer.count(values.length, maximum);
      values.forEach((value, index) => within(`[${index}]`, () => element.write(writer, value)));
    },
  };
}

/** TPMS: fields in the order of declaration. */
export function fields<const F extends Fields>(declaration: F): Structure<FieldValues<F>> {
  const entries = Object.entries(declaration);
  return {
    read(reader) {
      const values: Record<string, unknown> = {};
      let name = '';
      try {
        for (const entry of entries) {
          name = entry[0];
          values[name] = entry[1].read(reader);
        }
      } catch (error) {
        throw located(error, name);
      }
      return values as FieldValues<F>;
    },
    write(writer, values) {
      for (const [name, field] of entries) {
        within(name, () => field.write(writer, values[name]));
      }
    },
  };
}

/** Two structures in a row whose fields become one value: what stands before a selector, and the union after it. */
export function joined<A extends object, B extends object>(head: Structure<A>, tail: Structure<B>): Structure<A & B> {
  return {
    read(reader) {
      const first = head.read(reader);
      return { ...first, ...tail.read(reader) };
    },
    write(writer, value) {
      head.write(writer, value);
      tail.write(writer, value);
    },
  };
}

/**
 * TPMT: a two- or four-byte selector, then the arm of the table that it selects. The value is a discriminated union over the
 * selector's name; a selector without an arm is refused.
 */
export function union<const S extends string, const A extends Arms>(
  selector: S,
  tag: Structure<number>,
  arms: A,
): Structure<ArmValues<S, A>> {
  const table = new Map(Object.entries(arms).map(([key, arm]) => [Number(key), arm]));
  const select = (value: number, offset: number): Structure<object> => {
    const arm = table.get(value);
    if (arm === undefined) {
      const shown = `0x${value.toString(16).padStart(4, '0')}`;
      throw new CodecError('UNKNOWN_SELECTOR', offset, `no structure for ${shown}`).within(selector);
    }
    return arm;
  };
  return {
    read(reader) {
      const at = reader.offset;
      const value = within(selector, () => tag.read(reader));
      return { [selector]: value, ...select(value, at).read(reader) } as ArmValues<S, A>;
    },
    write(writer, value) {
      const chosen = (value as Readonly<Record<string, unknown>>)[selector] as number;
      const arm = select(chosen, writer.offset);
      tag.write(writer, chosen);
      arm.write(writer, value);
    },
  };
}

/** The structure that is exactly these bytes. */
export function decode<T>(structure: Structure<T>, bytes: Uint8Array): T {
  const reader = new Reader(bytes);
  const value = structure.read(reader);
  reader.end();
  return value;
}

/** The bytes of a value. */
export function encode<T>(structure: Structure<T>, value: T): Buffer {
  const writer = new Writer();
  structure.write(writer, value);
  return writer.finish();
}

function within<T>(segment: string, step: () => T): T {
  try {
    return step();
  } catch (error) {
    throw located(error, segment);
  }
}

function located(error: unknown, segment: string): unknown {
  return error instanceof CodecError ? error.within(segment) : error;
}
