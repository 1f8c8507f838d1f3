import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { isFinding, readMeasurement } from '../../../tpm/ima/fields.ts';
import type { ImaMeasurement } from '../../../tpm/ima/fields.ts';
import { IMA_TEMPLATE_NAMES, imaTemplate } from '../../../tpm/ima/templates.ts';
import { ImaPcrs } from '../../../tpm/ima/pcrs.ts';
import { hashAlgorithm } from '../../../tpm/crypto/digest.ts';
import { TPM_ALG_SHA1 } from '../../../tpm/structures/constants.ts';
import { digestField, nameField, number } from './list-builder.ts';
import type { EntryPlan } from './list-builder.ts';
import { readOne } from './read-entries.ts';

const sha256 = hash('sha256', 'content', 'buffer');
const sha512 = hash('sha512', 'content', 'buffer');
const name = nameField('/usr/bin/tool');
const signature = Buffer.from('03020400112233000161', 'hex');

function measurementOf(plan: EntryPlan): ImaMeasurement {
  const entry = readOne(plan);
  expect(new ImaPcrs([hashAlgorithm(TPM_ALG_SHA1)]).extend(entry)).toBe(true);
  const read = readMeasurement(entry);
  if (isFinding(read)) throw new Error(read.message);
  return read;
}

const xattrFields = [
  nameField('security.selinux|security.ima'),
  Buffer.concat([number(4, 4), number(3, 4)]),
  Buffer.from('abcdxyz'),
];

describe('each template', () => {
  test.each<[string, readonly Buffer[], object]>([
    [
      'ima',
      [Buffer.alloc(20, 5), Buffer.from('/init')],
      { name: '/init', digest: { algorithm: 'sha1', value: Buffer.alloc(20, 5) } },
    ],
    [
      'ima-ng',
      [digestField('sha256', sha256), name],
      { name: '/usr/bin/tool', digest: { algorithm: 'sha256', of: 'untold', value: sha256 } },
    ],
    ['ima-sig', [digestField('sha512', sha512), name, signature], { signature, digest: { algorithm: 'sha512' } }],
    [
      'ima-buf',
      [digestField('sha256', sha256), nameField('dm_table_load'), Buffer.from('content')],
      { name: 'dm_table_load', buffer: Buffer.from('content') },
    ],
    [
      'ima-modsig',
      [digestField('sha256', sha256), name, signature, digestField('sha512', sha512), Buffer.from('pkcs7')],
      { signature, modsigDigest: { algorithm: 'sha512', value: sha512 }, modsig: Buffer.from('pkcs7') },
    ],
    [
      'ima-ngv2',
      [digestField('verity:sha256', sha256), name],
      { digest: { algorithm: 'sha256', of: 'verity', value: sha256 } },
    ],
    ['ima-sigv2', [digestField('ima:sha256', sha256), name, signature], { signature, digest: { of: 'file' } }],
    [
      'evm-sig',
      [
        digestField('sha256', sha256),
        name,
        signature,
        ...xattrFields,
        number(1000, 4),
        number(100, 4),
        number(0o100755, 2),
      ],
      {
        evmSignature: signature,
        xattrs: [
          { name: 'security.selinux', value: Buffer.from('abcd') },
          { name: 'security.ima', value: Buffer.from('xyz') },
        ],
        uid: 1000,
        gid: 100,
        mode: 0o100755,
      },
    ],
  ])('%s is read field by field, and hashed as the kernel does', (template, fields, expected) => {
    expect(measurementOf({ template, fields })).toMatchObject(expected);
  });

  test('has a row', () => {
    expect(IMA_TEMPLATE_NAMES).toEqual([
      'ima',
      'ima-ng',
      'ima-sig',
      'ima-buf',
      'ima-modsig',
      'ima-ngv2',
      'ima-sigv2',
      'evm-sig',
    ]);
  });

  test('of big-endian kernels has its integers in that order', () => {
    const fields = [
      digestField('sha256', sha256),
      name,
      signature,
      nameField('security.ima'),
      number(3, 4, 'big'),
      Buffer.from('xyz'),
      number(1000, 4, 'big'),
      number(0, 4, 'big'),
      number(0o100644, 2, 'big'),
    ];
    expect(measurementOf({ template: 'evm-sig', fields, order: 'big' })).toMatchObject({
      xattrs: [{ name: 'security.ima' }],
      uid: 1000,
      mode: 0o100644,
    });
  });

  test('may have empty fields where no file is behind the entry', () => {
    const none = Buffer.alloc(0);
    const fields = [
      digestField('sha256', sha256),
      nameField('boot_aggregate'),
      none,
      none,
      none,
      none,
      none,
      none,
      none,
    ];
    const read = measurementOf({ template: 'evm-sig', fields });
    expect(read).toMatchObject({ name: 'boot_aggregate', evmSignature: none, xattrs: [] });
    expect(read).not.toHaveProperty('uid');
    expect(
      measurementOf({
        template: 'ima-modsig',
        fields: [digestField('sha1', Buffer.alloc(20)), name, none, none, none],
      }),
    ).not.toHaveProperty('modsigDigest');
  });
});

describe('a custom format', () => {
  test('is a template of its own, with lengths before all fields', () => {
    const read = measurementOf({ template: 'd|n', fields: [Buffer.alloc(20, 3), nameField('/init')] });
    expect(read).toMatchObject({ name: '/init', digest: { algorithm: 'sha1', value: Buffer.alloc(20, 3) } });
    expect(imaTemplate('d|n').fixedForm).toBe(false);
  });

  test('may have known fields in any order', () => {
    const read = measurementOf({
      template: 'n-ng|sig|d-ngv2|iuid',
      fields: [name, signature, digestField('ima:sha256', sha256), number(7, 4)],
    });
    expect(read).toMatchObject({ name: '/usr/bin/tool', signature, uid: 7, digest: { of: 'file' } });
  });

  test.each([
    ['not-ima'],
    ['d-ng|other'],
    ['d-ng||n-ng'],
    ['ima-ng '.trim() + 'x'],
    [Array(16).fill('n-ng').join('|')],
  ])('%s is unknown', (template) => {
    const finding = readMeasurement(readOne({ template, fields: [digestField('sha256', sha256), name] }));
    expect(finding).toMatchObject({ code: 'IMA_TEMPLATE_UNKNOWN', severity: 'error', index: 0 });
  });
});

describe('fields that do not fit', () => {
  const evm = (change: Partial<Record<number, Buffer>>): EntryPlan => ({
    template: 'evm-sig',
    fields: [
      digestField('sha256', sha256),
      name,
      signature,
      ...xattrFields,
      number(0, 4),
      number(0, 4),
      number(0, 2),
    ].map((field, index) => change[index] ?? field),
  });

  test.each<[string, EntryPlan]>([
    ['a digest of the wrong size', { template: 'ima-ng', fields: [digestField('sha256', sha512), name] }],
    ['a digest without a hash', { template: 'ima-ng', fields: [sha256, name] }],
    ['an empty digest', { template: 'ima-ng', fields: [Buffer.alloc(0), name] }],
    ['a digest whose hash is not ended', { template: 'ima-ng', fields: [Buffer.from('sha256:'), name] }],
    ['a digest field of 200 bytes', { template: 'ima-ng', fields: [digestField('other', Buffer.alloc(200)), name] }],
    ['a typed digest in an untyped field', { template: 'ima-ng', fields: [digestField('ima:sha256', sha256), name] }],
    ['an untyped digest in a typed field', { template: 'ima-ngv2', fields: [digestField('sha256', sha256), name] }],
    ['a digest of an unknown type', { template: 'ima-ngv2', fields: [digestField('other:sha256', sha256), name] }],
    [
      'a digest type of the prototype',
      { template: 'ima-ngv2', fields: [digestField('constructor:sha256', sha256), name] },
    ],
    ['no name', { template: 'ima-ng', fields: [digestField('sha256', sha256), Buffer.from('\0')] }],
    [
      'a name with a zero inside',
      { template: 'ima-ng', fields: [digestField('sha256', sha256), Buffer.from('/bin/a\0b\0')] },
    ],
    ['a field too few', { template: 'ima-sig', fields: [digestField('sha256', sha256), name] }],
    ['a field too many', { template: 'ima-ng', fields: [digestField('sha256', sha256), name, signature] }],
    ['a format without a digest', { template: 'n-ng|sig', fields: [name, signature] }],
    ['a format without a name', { template: 'd-ng|sig', fields: [digestField('sha256', sha256), signature] }],
    ['d of 24 bytes', { template: 'd|n', fields: [Buffer.alloc(24), name] }],
    ['more names than lengths of attributes', evm({ 3: nameField('a|b|c') })],
    ['lengths in five bytes', evm({ 4: Buffer.alloc(5) })],
    ['an attribute that is longer than the values', evm({ 4: Buffer.concat([number(4, 4), number(4, 4)]) })],
    ['values behind the last attribute', evm({ 4: Buffer.concat([number(4, 4), number(2, 4)]) })],
    ['65 attributes', evm({ 3: nameField(Array(65).fill('a').join('|')) })],
    ['an owner of three bytes', evm({ 6: Buffer.alloc(3) })],
  ])('%s is told', (_, plan) => {
    expect(readMeasurement(readOne(plan))).toMatchObject({ code: 'IMA_FIELD_MALFORMED', severity: 'error' });
  });

  test('a digest of a hash that no kernel has is carried as it is', () => {
    const read = measurementOf({ template: 'ima-ng', fields: [digestField('unknown', Buffer.alloc(29, 1)), name] });
    expect(read.digest).toEqual({ algorithm: 'unknown', hash: undefined, of: 'untold', value: Buffer.alloc(29, 1) });
  });

  test('a name that is no UTF-8 keeps its bytes', () => {
    const bytes = Buffer.from('2f62696e2fff0a00', 'hex');
    const read = measurementOf({ template: 'ima-ng', fields: [digestField('sha256', sha256), bytes] });
    expect(read.nameBytes).toEqual(bytes.subarray(0, -1));
  });
});
