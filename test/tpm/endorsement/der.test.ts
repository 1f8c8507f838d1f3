import { describe, expect, it } from 'vitest';

import {
  DER_TAG,
  DerReader,
  decodeBoolean,
  decodeInteger,
  decodeOctetBits,
  decodeOid,
  decodeSmallInteger,
  decodeTime,
  encodeDer,
  encodeUnsigned,
} from '../../../tpm/endorsement/der.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { oid } from '../../support/test-ca.ts';

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex');
const one = (text: string) => {
  const reader = new DerReader(hex(text), 'element');
  const element = reader.next();
  reader.end();
  return element;
};

describe('the DER reader', () => {
  it('reads elements one after another and keeps their bytes', () => {
    const reader = new DerReader(hex('02 01 05 04 02 aabb'), 'list');
    expect(reader.read(DER_TAG.integer, 'number').contents).toEqual(hex('05'));
    expect(reader.optional(DER_TAG.integer)).toBeUndefined();
    expect(reader.next().raw).toEqual(hex('04 02 aabb'));
    expect(reader.done).toBe(true);
    expect(() => reader.end()).not.toThrow();
  });

  it.each([0, 1, 127, 128, 255, 256, 65_535, 65_536])('reads back %i bytes of contents', (length) => {
    const element = encodeDer(DER_TAG.octetString, Buffer.alloc(length, 7));
    const reader = new DerReader(element, 'element');
    expect(reader.next().contents).toHaveLength(length);
    expect(reader.done).toBe(true);
  });

  it.each([
    ['nothing', ''],
    ['a tag alone', '30'],
    ['contents that are cut short', '04 02 aa'],
    ['a long length that is cut short', '04 82 01'],
    ['an indefinite length', '30 80 02 01 05 00 00'],
    ['a length in the long form that is short', '04 81 01 aa'],
    ['a length with a leading zero', `04 82 00 80 ${'aa'.repeat(128)}`],
    ['a length of five octets', '04 85 00 00 00 00 01 aa'],
    ['a length near four gigabytes', '04 84 ff ff ff ff aa'],
    ['a high tag number', '1f 81 01 01 aa'],
    ['trailing bytes', '02 01 05 00'],
  ])('refuses %s', (_name, text) => {
    expect(() => one(text)).toThrow(EndorsementError);
  });

  it('refuses to nest without end', () => {
    let nested: Buffer = Buffer.alloc(0);
    for (let level = 0; level < 40; level += 1) nested = encodeDer(DER_TAG.sequence, nested);
    const descend = () => {
      let reader = new DerReader(nested, 'nest');
      while (!reader.done) reader = reader.enter(DER_TAG.sequence, 'nest');
    };
    expect(descend).toThrow('nested too deeply');
  });

  it('answers random bytes with elements or a typed error, and nothing else', () => {
    const random = new SeededRandom(7);
    for (let round = 0; round < 5000; round += 1) {
      const reader = new DerReader(random.bytesUpTo(40), 'noise');
      try {
        while (!reader.done) reader.next();
      } catch (error) {
        expect(error).toBeInstanceOf(EndorsementError);
      }
    }
  });
});

describe('an integer', () => {
  it.each([
    ['00', false, '00', true],
    ['7f', false, '7f', true],
    ['0080', false, '80', true],
    ['80', true, '80', true],
    ['007f', false, '7f', false],
    ['000001', false, '01', false],
    ['ff80', true, 'ff80', false],
  ])('%s has sign, magnitude and form', (text, negative, magnitude, minimal) => {
    expect(decodeInteger(hex(text), 'n')).toEqual({ negative, magnitude: hex(magnitude), minimal });
  });

  it('that is small is a number within bounds', () => {
    expect(decodeSmallInteger(hex('00ffffffff'), 'n')).toBe(0xffff_ffff);
    expect(() => decodeSmallInteger(hex('0100000000'), 'n')).toThrow('out of range');
    expect(() => decodeSmallInteger(hex('ff'), 'n')).toThrow('out of range');
    expect(() => decodeSmallInteger(hex(''), 'n')).toThrow(EndorsementError);
  });

  it('is written minimally', () => {
    expect(encodeUnsigned(hex('000080'))).toEqual(hex('02020080'));
    expect(encodeUnsigned(hex('0000'))).toEqual(hex('020100'));
  });
});

describe('an object identifier', () => {
  it.each([
    '0.9.2342.19200300.100.1.25',
    '1.2.840.113549.1.1.11',
    '2.5.29.37',
    '2.23.133.8.1',
    '2.999.3',
    '2.25.241952490447747416247754847366016561592',
  ])('%s reads back', (dotted) => {
    expect(decodeOid(new DerReader(oid(dotted), 'oid').next().contents, 'oid')).toBe(dotted);
  });

  it.each(['', '80', '2a80', '2a8001', '2a86', 'ff'.repeat(70)])('is refused where it is not one: %j', (text) => {
    expect(() => decodeOid(hex(text), 'oid')).toThrow(EndorsementError);
  });
});

describe('a time', () => {
  const time = (tag: number, text: string) =>
    decodeTime({ tag, contents: Buffer.from(text), raw: Buffer.alloc(0) }, 'time');
  it.each<[number, string, string]>([
    [DER_TAG.utcTime, '491231235959Z', '2049-12-31T23:59:59.000Z'],
    [DER_TAG.utcTime, '500101000000Z', '1950-01-01T00:00:00.000Z'],
    [DER_TAG.generalizedTime, '99991231235959Z', '9999-12-31T23:59:59.000Z'],
    [DER_TAG.generalizedTime, '20280229000000Z', '2028-02-29T00:00:00.000Z'],
  ])('of tag %i, %s, is read', (tag, text, iso) => {
    expect(time(tag, text).toISOString()).toBe(iso);
  });

  it.each<[number, string]>([
    [DER_TAG.utcTime, '20280229000000Z'],
    [DER_TAG.utcTime, '2802290000Z'],
    [DER_TAG.utcTime, '280229000000+0100'],
    [DER_TAG.generalizedTime, '20270229000000Z'],
    [DER_TAG.generalizedTime, '20271301000000Z'],
    [DER_TAG.generalizedTime, '20270101240000Z'],
    [DER_TAG.generalizedTime, '20270101000060Z'],
    [DER_TAG.generalizedTime, '20270101000000.5Z'],
    [DER_TAG.integer, '20270101000000Z'],
  ])('of tag %i, %s, is refused', (tag, text) => {
    expect(() => time(tag, text)).toThrow(EndorsementError);
  });
});

it('booleans and strings of whole octets have one form only', () => {
  expect(decodeBoolean(hex('ff'), 'b')).toBe(true);
  expect(decodeBoolean(hex('00'), 'b')).toBe(false);
  expect(decodeOctetBits(hex('00aa'), 's')).toEqual(hex('aa'));
  for (const text of ['01', '', 'ffff']) expect(() => decodeBoolean(hex(text), 'b')).toThrow(EndorsementError);
  for (const text of ['01aa', '']) expect(() => decodeOctetBits(hex(text), 's')).toThrow(EndorsementError);
});
