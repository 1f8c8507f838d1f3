import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import { ImaKeyring, readImaKey } from '../../../tpm/ima/keyring.ts';
import { digestField, nameField, number } from './list-builder.ts';
import { readOne } from './read-entries.ts';
import { ecSigner, rsaSigner, signV2, signV3 } from './signing.ts';
import type { Signer } from './signing.ts';

/** evm-sig entries as a kernel lists them, with portable signatures as evmctl makes them. */

const rsa = rsaSigner();
const ec = ecSigner('P-256');
const keyring = new ImaKeyring([rsa.key, ec.key]);
const digest = hash('sha256', 'content', 'buffer');

interface Plan {
  readonly signer?: Signer;
  readonly ima?: Buffer | undefined;
  readonly uid?: number;
  readonly mode?: number;
  readonly order?: 'little' | 'big';
  /** Of the kernel, where its list has another (`ima_canonical_fmt`). */
  readonly signedOrder?: 'little' | 'big';
  readonly bits?: 32 | 64;
  readonly version?: 2 | 3;
  /** What is listed, where that is not what was signed. */
  readonly listed?: {
    readonly uid?: number;
    readonly selinux?: string;
    readonly digest?: Buffer;
    readonly xattrs?: 'none';
  };
}

const hashed = Buffer.concat([Buffer.from([0x04, 0x04]), digest]);

function evmEntry(plan: Plan) {
  const { signer = rsa, uid = 0, mode = 0o100755, order = 'little', bits = 64, version = 2, listed = {} } = plan;
  const { signedOrder = order } = plan;
  const ima = 'ima' in plan ? plan.ima : hashed;
  const xattrs = [
    ['security.selinux', Buffer.from('system_u:object_r:bin_t:s0\0')] as const,
    ...(ima === undefined ? [] : [['security.ima', ima] as const]),
  ];
  const misc = Buffer.concat([
    Buffer.alloc(bits === 64 ? 12 : 8),
    number(uid, 4, signedOrder),
    number(0, 4, signedOrder),
    number(mode, 2, signedOrder),
    Buffer.alloc(2),
  ]);
  const signed = hash('sha256', Buffer.concat([...xattrs.map(([, value]) => value), misc]), 'buffer');
  const signature =
    version === 2 ? signV2(signer, 'sha256', signed, { type: 5 }) : signV3(signer, 'sha256', signed, { type: 5 });
  const shown = listed.xattrs === 'none' ? [] : xattrs;
  const values = shown.map(([name, value]) =>
    name === 'security.selinux' && listed.selinux !== undefined ? Buffer.from(listed.selinux) : value,
  );
  return readOne({
    template: 'evm-sig',
    order,
    fields: [
      digestField('sha256', listed.digest ?? digest),
      nameField('/usr/bin/tool'),
      signature,
      shown.length === 0 ? Buffer.alloc(0) : nameField(shown.map(([name]) => name).join('|')),
      Buffer.concat(values.map(({ length }) => number(length, 4, order))),
      Buffer.concat(values),
      number(listed.uid ?? uid, 4, order),
      number(0, 4, order),
      number(mode, 2, order),
    ],
  });
}

function check(plan: Plan) {
  return examineEntry(evmEntry(plan), keyring).signature;
}

describe('a portable EVM signature', () => {
  test.each<[string, Plan]>([
    ['by RSA', {}],
    ['by ECDSA', { signer: ec }],
    ['in version 3', { version: 3 }],
    ['on a kernel of 32 bits', { bits: 32 }],
    ['on a big-endian kernel', { order: 'big' }],
    ['on a big-endian kernel whose list is little-endian (ima_canonical_fmt)', { signedOrder: 'big', uid: 1000 }],
    ['of a file of another owner', { uid: 1000, mode: 0o100644 }],
    ['over a file signature', { ima: signV2(ec, 'sha256', digest) }],
  ])('%s is valid with all that it is over', (_, plan) => {
    expect(check(plan)).toMatchObject({ kind: 'valid', source: 'evm', key: (plan.signer ?? rsa).key });
  });

  test('over a SHA-1 digest in the old form is valid', () => {
    const sha1 = hash('sha1', 'content', 'buffer');
    const xattr = Buffer.concat([Buffer.from([1]), sha1]);
    const misc = Buffer.concat([Buffer.alloc(20), number(0o100755, 2), Buffer.alloc(2)]);
    const signature = signV2(rsa, 'sha256', hash('sha256', Buffer.concat([xattr, misc]), 'buffer'), { type: 5 });
    const entry = readOne({
      template: 'evm-sig',
      fields: [
        digestField('sha1', sha1),
        nameField('/a'),
        signature,
        nameField('security.ima'),
        number(21, 4),
        xattr,
        number(0, 4),
        number(0, 4),
        number(0o100755, 2),
      ],
    });
    expect(examineEntry(entry, keyring).signature.kind).toBe('valid');
  });

  test.each<[string, Plan, string]>([
    ['with another owner', { listed: { uid: 1 } }, 'VALUE_WRONG'],
    ['with another label', { listed: { selinux: 'system_u:object_r:etc_t:s0\0' } }, 'VALUE_WRONG'],
    ['of another file', { listed: { digest: hash('sha256', 'other', 'buffer') } }, 'IMA_XATTR_MISMATCH'],
    ['that does not cover the content', { ima: undefined }, 'IMA_XATTR_MISSING'],
    ['with an empty security.ima', { ima: Buffer.alloc(0) }, 'IMA_XATTR_MISSING'],
    ['of a digest of another hash', { ima: Buffer.concat([Buffer.from([4, 5]), digest]) }, 'IMA_XATTR_MISMATCH'],
    ['over a false file signature', { ima: signV2(ec, 'sha256', hash('sha256', 'other', 'buffer')) }, 'VALUE_WRONG'],
    ['without its attributes', { listed: { xattrs: 'none' } }, 'IMA_XATTR_MISSING'],
  ])('%s is invalid', (_, plan, fault) => {
    const examined = examineEntry(evmEntry(plan), keyring);
    expect(examined.signature).toMatchObject({ kind: 'invalid', fault });
    expect(examined.findings.map(({ code }) => code)).toContain('IMA_SIGNATURE_INVALID');
  });

  test('of an unknown key is told so, and so is one over a file signature of an unknown key', () => {
    expect(examineEntry(evmEntry({}), new ImaKeyring([])).signature.kind).toBe('unknownKey');
    const signed = evmEntry({ ima: signV2(ec, 'sha256', digest) });
    expect(examineEntry(signed, new ImaKeyring([rsa.key])).signature.kind).toBe('unknownKey');
  });

  test('is no file signature where it stands in the field of one', () => {
    const signature = signV2(rsa, 'sha256', digest, { type: 5 });
    const entry = readOne({ template: 'ima-sig', fields: [digestField('sha256', digest), nameField('/a'), signature] });
    const examined = examineEntry(entry, keyring);
    expect(examined.signature.kind).toBe('unsupported');
    expect(examined.findings.map(({ code }) => code)).toContain('IMA_SIGNATURE_UNSUPPORTED');
  });

  test('a file signature is none of EVM', () => {
    const entry = readOne({
      template: 'd-ng|n-ng|evmsig',
      fields: [digestField('sha256', digest), nameField('/a'), signV2(rsa, 'sha256', digest)],
    });
    expect(examineEntry(entry, keyring).signature).toMatchObject({ kind: 'invalid', fault: 'TYPE_UNKNOWN' });
  });

  test('in a format without the attributes cannot be valid', () => {
    const entry = readOne({
      template: 'd-ng|n-ng|evmsig',
      fields: [digestField('sha256', digest), nameField('/a'), signV2(rsa, 'sha256', digest, { type: 5 })],
    });
    expect(examineEntry(entry, keyring).signature).toMatchObject({ kind: 'invalid', fault: 'XATTRS_MISSING' });
  });
});

describe('a file signature among the attributes, without one of EVM', () => {
  const content = (signature: Buffer, xattr = 'security.ima') =>
    readOne({
      template: 'evm-sig',
      fields: [
        digestField('sha256', digest),
        nameField('/usr/bin/tool'),
        Buffer.alloc(0),
        nameField(xattr),
        number(signature.length, 4),
        signature,
        number(0, 4),
        number(0, 4),
        number(0o100755, 2),
      ],
    });
  const other = hash('sha256', 'other', 'buffer');

  test.each<[string, Buffer, object]>([
    ['is valid by RSA', signV2(rsa, 'sha256', digest), { kind: 'valid', source: 'ima', key: rsa.key }],
    ['is valid by ECDSA', signV2(ec, 'sha256', digest), { kind: 'valid', source: 'ima', key: ec.key }],
    [
      'of another file is invalid',
      signV2(rsa, 'sha256', other),
      { kind: 'invalid', source: 'ima', fault: 'VALUE_WRONG' },
    ],
    ['of an unknown key is told so', signV2(rsaSigner(), 'sha256', digest), { kind: 'unknownKey', source: 'ima' }],
    ['that is a bare digest is none', hashed, { kind: 'none' }],
  ])('%s', (_, signature, expected) => {
    expect(examineEntry(content(signature), keyring).signature).toMatchObject(expected);
  });

  test('is looked for in security.ima alone', () => {
    const entry = content(signV2(rsa, 'sha256', digest), 'security.selinux');
    expect(examineEntry(entry, keyring).signature).toEqual({ kind: 'none' });
  });

  test('is enough where the key of EVM is unknown, and does not make good a false signature of EVM', () => {
    const ima = signV2(ec, 'sha256', digest);
    expect(examineEntry(evmEntry({ ima }), new ImaKeyring([ec.key])).signature).toMatchObject({
      kind: 'valid',
      source: 'ima',
    });
    expect(check({ ima, listed: { uid: 1 } })).toMatchObject({ kind: 'invalid', source: 'evm' });
  });
});

describe('what evmctl made of a file', () => {
  /**
   * Made once by ima-evm-utils 1.4 (`evmctl sign --imasig --portable -a sha256` with a P-256 key) of a file with the content
   * "content" and a line break, owner and group 0, mode 0755, and no other attributes.
   */
  const key = readImaKey(
    Buffer.from(
      'MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEVcTy9YntLdguaNAYFdN+wh+ILjGljjQslVVhJg2zXzZeVI7X6kVROR7C52mXUj4wCi6l61bKN9OsKhPrYWPfqQ==',
      'base64',
    ),
  );
  const ima = Buffer.from(
    '030204e7f06f2a0047304502207c6a606290de60df58f73e81db6e0994186ada40244231c7b4683636fbdd5de1022100cc55b11f5d8978e095ee2cb7b77b675404832cf346818838613f6eac644cd6eb',
    'hex',
  );
  const evm = Buffer.from(
    '050204e7f06f2a00473045022100b523e0f21dd6ce4aa4e9949b57b075d49e92860db7d5fb7cbb6b5a248240e87d02201aedaaa2bdb12c787ae3e6af9709379979225f0df0553ebbe846bbeef2a568ae',
    'hex',
  );
  const measured = digestField('sha256', hash('sha256', 'content\n', 'buffer'));
  const listed = (mode: number) =>
    readOne({
      template: 'evm-sig',
      fields: [
        measured,
        nameField('/f'),
        evm,
        nameField('security.ima'),
        number(ima.length, 4),
        ima,
        number(0, 4),
        number(0, 4),
        number(mode, 2),
      ],
    });

  test('verifies as a portable signature of the file with its mode, and with no other', () => {
    const ring = new ImaKeyring([key]);
    expect(examineEntry(listed(0o100755), ring).signature).toEqual({ kind: 'valid', source: 'evm', key });
    expect(examineEntry(listed(0o104755), ring).signature).toMatchObject({ kind: 'invalid', fault: 'VALUE_WRONG' });
  });

  test('verifies as a file signature', () => {
    const entry = readOne({ template: 'ima-sig', fields: [measured, nameField('/f'), ima] });
    expect(examineEntry(entry, new ImaKeyring([key])).signature).toEqual({ kind: 'valid', source: 'ima', key });
  });
});
