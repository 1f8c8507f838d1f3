import { describe, expect, it } from 'vitest';

import { CodecError } from '../../../tpm/codec/codec-error.ts';
import { Reader } from '../../../tpm/codec/reader.ts';

function codeOf(step: () => unknown): string {
  try {
    step();
  } catch (error) {
    return error instanceof CodecError ? error.code : `not a CodecError: ${String(error)}`;
  }
  return 'accepted';
}

describe('Reader', () => {
  it('reads big-endian unsigned integers up to their largest value', () => {
    const reader = new Reader(Buffer.from(`${'ff'.repeat(7)}${'ff'.repeat(8)}`, 'hex'));
    expect(reader.u8()).toBe(0xff);
    expect(reader.u16()).toBe(0xffff);
    expect(reader.u32()).toBe(0xffff_ffff);
    expect(reader.u64()).toBe(0xffff_ffff_ffff_ffffn);
    expect(() => reader.end()).not.toThrow();
  });

  it('orders bytes from the most significant', () => {
    const reader = new Reader(Buffer.from('0102030405060102030405060708', 'hex'));
    expect(reader.u16()).toBe(0x0102);
    expect(reader.u32()).toBe(0x03040506);
    expect(reader.u64()).toBe(0x0102030405060708n);
  });

  it('gives views of a Uint8Array that is a part of a larger buffer', () => {
    const whole = Uint8Array.from([9, 9, 1, 2, 3, 9]);
    const reader = new Reader(whole.subarray(2, 5));
    expect(reader.bytes(2)).toEqual(Buffer.from([1, 2]));
    expect(reader.rest()).toEqual(Buffer.from([3]));
    expect(reader.remaining).toBe(0);
  });

  it.each<[string, number, (reader: Reader) => unknown]>([
    ['u8', 0, (reader) => reader.u8()],
    ['u16', 1, (reader) => reader.u16()],
    ['u32', 3, (reader) => reader.u32()],
    ['u64', 7, (reader) => reader.u64()],
    ['bytes', 4, (reader) => reader.bytes(5)],
    ['slice', 4, (reader) => reader.slice(5)],
  ])('refuses %s beyond the end', (_name, length, step) => {
    expect(codeOf(() => step(new Reader(Buffer.alloc(length))))).toBe('TRUNCATED');
  });

  it('does not move on a refused read', () => {
    const reader = new Reader(Buffer.from([1, 2, 3]));
    expect(codeOf(() => reader.u32())).toBe('TRUNCATED');
    expect(reader.offset).toBe(0);
    expect(reader.u16()).toBe(0x0102);
  });

  it('refuses a size and a count above their maximum', () => {
    expect(codeOf(() => new Reader(Buffer.from('0041', 'hex')).size(64))).toBe('SIZE_EXCEEDED');
    expect(codeOf(() => new Reader(Buffer.from('ffffffff', 'hex')).count(16))).toBe('COUNT_EXCEEDED');
  });

  it('refuses trailing bytes and says where they begin', () => {
    const reader = new Reader(Buffer.from([1, 2, 3]));
    reader.u8();
    expect(() => reader.end()).toThrow(expect.objectContaining({ code: 'TRAILING_BYTES', offset: 1 }));
  });

  it('counts offsets of a slice from the start of the outer buffer', () => {
    const reader = new Reader(Buffer.from('00000001020304', 'hex'));
    reader.bytes(3);
    const slice = reader.slice(2);
    slice.u8();
    expect(() => slice.u16()).toThrow(expect.objectContaining({ code: 'TRUNCATED', offset: 4 }));
    expect(reader.remaining).toBe(2);
  });

  it.each([-1, 1.5, Number.NaN])('takes a length of %s for a fault of the caller', (length) => {
    expect(() => new Reader(Buffer.alloc(4)).bytes(length)).toThrow(TypeError);
  });
});
