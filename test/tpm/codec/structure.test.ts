import { describe, expect, it } from 'vitest';

import { CodecError } from '../../../tpm/codec/codec-error.ts';
import {
  decode,
  encode,
  fields,
  joined,
  list,
  restBytes,
  shortBytes,
  sized,
  sizedBytes,
  u16,
  u32,
  u64,
  u8,
  union,
  yesNo,
} from '../../../tpm/codec/structure.ts';
import type { Structure, ValueOf } from '../../../tpm/codec/structure.ts';

const INNER = fields({ flag: yesNo, blob: sizedBytes(4) });
const CHOICE = union('kind', u16, { [1]: fields({ a: u8 }), [2]: fields({ b: u32 }), [0x10]: fields({}) });
const OUTER = fields({ head: u8, inner: sized(INNER, 16), many: list(fields({ id: u16 }), 3), choice: CHOICE });
type Outer = ValueOf<typeof OUTER>;

const value: Outer = {
  head: 7,
  inner: { flag: true, blob: Buffer.from('aabb', 'hex') },
  many: [{ id: 1 }, { id: 0xffff }],
  choice: { kind: 2, b: 0xdeadbeef },
};
const bytes = Buffer.from('07 0005 01 0002 aabb 00000002 0001 ffff 0002 deadbeef'.replaceAll(' ', ''), 'hex');

function failure(step: () => unknown): { readonly code: string; readonly path: string } {
  try {
    step();
  } catch (error) {
    if (error instanceof CodecError) {
      return { code: error.code, path: error.path };
    }
    throw error;
  }
  throw new Error('was accepted');
}

describe('structure', () => {
  it('encodes a value by its declaration', () => {
    expect(encode(OUTER, value)).toEqual(bytes);
  });

  it('decodes the same bytes to the same value', () => {
    expect(decode(OUTER, bytes)).toEqual(value);
  });

  it('narrows a union by its selector', () => {
    const choice = decode(CHOICE, Buffer.from('000105', 'hex'));
    expect(choice.kind === 1 ? choice.a : undefined).toBe(5);
    expect(decode(CHOICE, Buffer.from('0010', 'hex'))).toEqual({ kind: 0x10 });
  });

  it('joins what stands before a selector with the union', () => {
    const JOINED = joined(fields({ magic: u32 }), CHOICE);
    const joinedBytes = Buffer.from('ff544347000109', 'hex');
    expect(decode(JOINED, joinedBytes)).toEqual({ magic: 0xff544347, kind: 1, a: 9 });
    expect(encode(JOINED, { magic: 0xff544347, kind: 1, a: 9 })).toEqual(joinedBytes);
  });

  it('refuses every truncation', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decode(OUTER, bytes.subarray(0, length))).toThrow(CodecError);
    }
  });

  it('refuses trailing bytes', () => {
    expect(failure(() => decode(OUTER, Buffer.concat([bytes, Buffer.from([0])])))).toEqual({
      code: 'TRAILING_BYTES',
      path: '',
    });
  });

  it.each<[string, string, string, string]>([
    ['a content shorter than its size', '07 0006 01 0002 aabb 00', 'TRAILING_BYTES', 'inner'],
    ['a content longer than its size', '07 0004 01 0002 aabb', 'TRUNCATED', 'inner.blob'],
    ['a buffer above its maximum', '07 0008 01 0005 aabbccddee', 'SIZE_EXCEEDED', 'inner.blob'],
    ['a sized structure above its maximum', '07 0011 01', 'SIZE_EXCEEDED', 'inner'],
    ['a list above its maximum', '07 0005 01 0002 aabb 00000004', 'COUNT_EXCEEDED', 'many'],
    ['an element cut off', '07 0005 01 0002 aabb 00000002 0001 ff', 'TRUNCATED', 'many[1].id'],
    ['a selector without an arm', '07 0005 01 0002 aabb 00000000 0003', 'UNKNOWN_SELECTOR', 'choice.kind'],
    ['an arm cut off', '07 0005 01 0002 aabb 00000000 0002 00', 'TRUNCATED', 'choice.b'],
    ['a yes or no that is neither', '07 0005 02 0002 aabb', 'VALUE_OUT_OF_RANGE', 'inner.flag'],
  ])('refuses %s and names the field', (_name, hex, code, path) => {
    expect(failure(() => decode(OUTER, Buffer.from(hex.replaceAll(' ', ''), 'hex')))).toEqual({ code, path });
  });

  it.each<[string, Partial<Record<keyof Outer, unknown>>, string, string]>([
    ['a number above its width', { head: 256 }, 'VALUE_OUT_OF_RANGE', 'head'],
    ['a negative number', { head: -1 }, 'VALUE_OUT_OF_RANGE', 'head'],
    ['a fraction', { head: 0.5 }, 'VALUE_OUT_OF_RANGE', 'head'],
    ['a buffer above its maximum', { inner: { flag: true, blob: Buffer.alloc(5) } }, 'SIZE_EXCEEDED', 'inner.blob'],
    ['a list above its maximum', { many: Array.from({ length: 4 }, () => ({ id: 1 })) }, 'COUNT_EXCEEDED', 'many'],
    ['an element out of range', { many: [{ id: 1 }, { id: 65536 }] }, 'VALUE_OUT_OF_RANGE', 'many[1].id'],
    ['a selector without an arm', { choice: { kind: 9 } }, 'UNKNOWN_SELECTOR', 'choice.kind'],
  ])('does not encode %s', (_name, change, code, path) => {
    const changed = { ...value, ...change } as Outer;
    expect(failure(() => encode(OUTER, changed))).toEqual({ code, path });
  });

  it('keeps 64-bit integers exact', () => {
    const octets = Buffer.from('ffffffffffffffff', 'hex');
    expect(decode(u64, octets)).toBe(2n ** 64n - 1n);
    expect(encode(u64, 2n ** 64n - 1n)).toEqual(octets);
    expect(failure(() => encode(u64, 2n ** 64n)).code).toBe('VALUE_OUT_OF_RANGE');
    expect(failure(() => encode(u64, -1n)).code).toBe('VALUE_OUT_OF_RANGE');
  });

  it.each<[string, Structure<Buffer>, string, string]>([
    ['one-byte sized', shortBytes(4), '04aabbccdd', '05aabbccddee'],
    ['unsized', restBytes(4), 'aabbccdd', 'aabbccddee'],
  ])('bounds %s bytes both ways', (_name, structure, longest, tooLong) => {
    const largest = Buffer.from(longest, 'hex');
    expect(encode(structure, decode(structure, largest))).toEqual(largest);
    expect(failure(() => decode(structure, Buffer.from(tooLong, 'hex'))).code).toBe('SIZE_EXCEEDED');
    expect(failure(() => encode(structure, Buffer.alloc(5))).code).toBe('SIZE_EXCEEDED');
  });
});
