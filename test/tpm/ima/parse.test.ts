import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodeImaList } from '../../../tpm/ima/encode.ts';
import type { ImaFindingCode } from '../../../tpm/ima/findings.ts';
import { ImaListReader } from '../../../tpm/ima/parse.ts';
import { dataIsHere, measuredBootPath } from '../../support/data.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { digestField, fileEntries, makeList, makeRecord, nameField, number } from './list-builder.ts';
import type { EntryPlan } from './list-builder.ts';
import { drain, readAll } from './read-entries.ts';

const plans = fileEntries(5);
const list = makeList(plans);

describe('a binary list', () => {
  test('yields its entries in order, with index, offset and the bytes that it was made of', () => {
    const entries = readAll(list);
    expect(entries.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4]);
    expect(entries.map(({ pcr }) => pcr)).toEqual([10, 10, 10, 10, 10]);
    expect(entries[2]?.offset).toBe(makeList(plans.slice(0, 2)).length);
    expect(entries.every(({ template }) => template.name === 'ima-sig')).toBe(true);
    expect(encodeImaList(entries)).toEqual(list);
  });

  test.each<[string, Partial<EntryPlan>, string, string]>([
    ['a little-endian kernel with SHA-1', {}, 'little', 'sha1'],
    ['a big-endian kernel', { order: 'big' }, 'big', 'sha1'],
    ['a SHA-256 file of a kernel with one file per bank', { hash: { node: 'sha256', size: 32 } }, 'little', 'sha256'],
    ['a SHA-384 file', { hash: { node: 'sha384', size: 48 } }, 'little', 'sha384'],
    ['a SHA-512 file of a big-endian kernel', { hash: { node: 'sha512', size: 64 }, order: 'big' }, 'big', 'sha512'],
  ])('of %s is told by its first entry', (_, form, byteOrder, hash) => {
    const made = plans.map((plan) => ({ ...plan, ...form }));
    const entries = readAll(makeList(made));
    expect(entries).toHaveLength(5);
    expect(entries[0]?.layout).toMatchObject({ byteOrder, hash: { name: hash } });
    expect(encodeImaList(entries)).toEqual(makeList(made));
    expect(readAll(makeRecord({ ...plans[0], template: 'ima-sig', fields: [], ...form }))).toHaveLength(1);
  });

  test('of the template ima has no length before its data', () => {
    const plan: EntryPlan = { template: 'ima', fields: [Buffer.alloc(20, 7), Buffer.from('/init')] };
    const [first, second] = readAll(makeList([plan, plan]));
    expect(first?.data).toEqual(Buffer.concat([Buffer.alloc(20, 7), number(5, 4), Buffer.from('/init')]));
    expect(second?.offset).toBe(makeRecord(plan).length);
  });

  test('that is taken up in the middle counts on from there', () => {
    const head = makeList(plans.slice(0, 3));
    const layout = readAll(list)[0]?.layout;
    const entries = readAll(list.subarray(head.length), { layout, offset: head.length, index: 3 });
    expect(entries.map(({ index, offset }) => [index, offset])).toEqual(
      readAll(list)
        .slice(3)
        .map(({ index, offset }) => [index, offset]),
    );
  });
});

describe('pieces of a list', () => {
  test('make the same entries wherever the list is cut', () => {
    const whole = encodeImaList(readAll(list));
    for (let cut = 0; cut <= list.length; cut += 1) {
      const reader = new ImaListReader();
      reader.push(list.subarray(0, cut));
      const before = drain(reader);
      expect(reader.pendingBytes).toBe(cut - reader.offset);
      reader.push(list.subarray(cut));
      expect(encodeImaList([...before, ...drain(reader)])).toEqual(whole);
      expect(reader.pendingBytes).toBe(0);
    }
  });

  test('of one byte each make the same entries', () => {
    const reader = new ImaListReader();
    const entries = [...list].flatMap((byte) => {
      reader.push(Buffer.from([byte]));
      return drain(reader);
    });
    expect(encodeImaList(entries)).toEqual(list);
  });

  test.skipIf(!dataIsHere('measured-boot'))('of random sizes make the same entries of a real list', () => {
    const real = readFileSync(measuredBootPath('debian-systemd-ima', 'binary_runtime_measurements'));
    const random = new SeededRandom(0x1ca);
    const reader = new ImaListReader();
    const entries = [];
    for (let at = 0; at < real.length;) {
      const size = 1 + random.below(700);
      reader.push(real.subarray(at, at + size));
      at += size;
      entries.push(...drain(reader));
    }
    expect(entries).toHaveLength(392);
    expect(encodeImaList(entries)).toEqual(real);
  });

  test('of a large entry cost no more than their bytes', () => {
    const plan: EntryPlan = {
      template: 'ima-buf',
      fields: [digestField('sha256', Buffer.alloc(32)), nameField('large'), Buffer.alloc(900_000)],
    };
    const record = makeRecord(plan);
    const reader = new ImaListReader();
    const start = process.cpuUsage();
    for (let at = 0; at < record.length; at += 16) {
      reader.push(record.subarray(at, at + 16));
      if (at + 16 < record.length) expect(reader.next()).toBeUndefined();
    }
    expect(reader.next()?.data).toHaveLength(4 + 40 + 4 + 6 + 4 + 900_000);
    // Joining all that waits at each of the 56,000 pieces would take a quarter of a minute.
    expect(process.cpuUsage(start).user / 1e6).toBeLessThan(5);
  });
});

describe('what is no list', () => {
  const broken = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(list);
    change(bytes.subarray(makeList(plans.slice(0, 2)).length));
    return bytes;
  };
  const nameAt = 4 + 20;
  const dataAt = nameAt + 4 + 7;

  test.each<[string, Buffer, ImaFindingCode, number]>([
    [
      'text',
      Buffer.from('this is text and no list at all, however long it may be, or become later on, if ever'),
      'IMA_LAYOUT_UNKNOWN',
      0,
    ],
    ['random bytes', new SeededRandom(1).bytes(200), 'IMA_LAYOUT_UNKNOWN', 0],
    ['an entry of a pcr that does not exist', broken((bytes) => bytes.writeUInt32LE(24, 0)), 'IMA_ENTRY_MALFORMED', 2],
    ['an entry without a template name', broken((bytes) => bytes.writeUInt32LE(0, nameAt)), 'IMA_ENTRY_MALFORMED', 2],
    ['a template name of 256 bytes', broken((bytes) => bytes.writeUInt32LE(256, nameAt)), 'IMA_ENTRY_MALFORMED', 2],
    [
      'a template name with a control character',
      broken((bytes) => bytes.writeUInt8(7, nameAt + 5)),
      'IMA_ENTRY_MALFORMED',
      2,
    ],
    [
      'data of more than the limit',
      broken((bytes) => bytes.writeUInt32LE(0xffff_fff0, dataAt)),
      'IMA_ENTRY_TOO_LARGE',
      2,
    ],
    [
      'a name of the template ima of more than 255 bytes',
      Buffer.concat([
        makeRecord({ template: 'ima', fields: [Buffer.alloc(20, 1), Buffer.from('/init')] }),
        Buffer.concat([
          number(10, 4),
          Buffer.alloc(20, 1),
          number(3, 4),
          Buffer.from('ima'),
          Buffer.alloc(20, 1),
          number(256, 4),
        ]),
      ]),
      'IMA_ENTRY_TOO_LARGE',
      1,
    ],
  ])('%s is told with its place, and the entries before it stand', (_, bytes, code, index) => {
    const reader = new ImaListReader();
    reader.push(bytes);
    expect(drain(reader)).toHaveLength(index);
    expect(reader.fault).toMatchObject({ code, index, severity: 'error' });
    expect(reader.fault?.offset).toBe(reader.offset);
    reader.push(list);
    expect(reader.next()).toBeUndefined();
  });

  test('a list of more entries than the limit ends there', () => {
    const reader = new ImaListReader({ limits: { maxEntries: 3 } });
    reader.push(list);
    expect(drain(reader)).toHaveLength(3);
    expect(reader.fault).toMatchObject({ code: 'IMA_LIST_TOO_LONG', index: 3 });
  });

  test('a limit on data holds before any of it is here', () => {
    const reader = new ImaListReader({ limits: { maxDataBytes: 10 } });
    reader.push(list.subarray(0, dataAt + 4));
    expect(reader.next()).toBeUndefined();
    expect(reader.fault?.code).toBe('IMA_ENTRY_TOO_LARGE');
  });

  test('an empty list has no entry and no fault', () => {
    const reader = new ImaListReader();
    reader.push(Buffer.alloc(0));
    expect([reader.next(), reader.fault, reader.pendingBytes]).toEqual([undefined, undefined, 0]);
  });
});
