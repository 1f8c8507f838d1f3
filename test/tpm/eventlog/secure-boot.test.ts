import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { checkEvents } from '../../../tpm/eventlog/check-events.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { readSecureBoot } from '../../../tpm/eventlog/secure-boot.ts';
import { readSigners } from '../../../tpm/eventlog/signers.ts';
import { dataIsHere, measuredBootPath } from '../../support/data.ts';
import { OWNER, SHA256_TYPE, X509_TYPE, guid, makeSignatureList, makeVariable, sha256 } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';
import {
  GLOBAL,
  SECURITY,
  SHIM,
  certificate,
  other,
  hash,
  variable,
  authority,
  signed,
  on,
  pk,
  kek,
  db,
  dbx,
  separator,
  used,
  honest,
  read,
  signatures,
  without,
  replaced,
} from './make-secure-boot.ts';
import { measuredLog } from './real-logs.ts';

test('an honest Secure Boot is read in full, without findings', () => {
  const { state, findings } = read(honest);
  expect(findings).toEqual([]);
  expect(state).toMatchObject({ mode: 'enabled', separator: 6, debugMode: false, dmaProtectionDisabled: false });
  expect(state.databases.db).toMatchObject({ state: 'read', event: 4 });
  expect(signatures(state, 'db')).toEqual([{ kind: 'x509', type: X509_TYPE, owner: OWNER, data: certificate }]);
  expect(signatures(state, 'dbx')).toMatchObject([{ kind: 'sha256', data: hash }, { kind: 'sha256' }]);
  expect(state.authorities).toEqual([
    {
      event: 7,
      variable: 'db',
      source: 'db',
      owner: OWNER,
      data: certificate,
      sha256: sha256(certificate).toString('hex'),
      inDb: true,
    },
  ]);
});

describe('the mode', () => {
  test.each<[string, Buffer, string, string | undefined]>([
    ['1: enabled', Buffer.from([1]), 'enabled', undefined],
    ['0: disabled', Buffer.from([0]), 'disabled', undefined],
    ['empty: unset', Buffer.alloc(0), 'unset', 'SECURE_BOOT_UNSET'],
    ['2: unknown', Buffer.from([2]), 'unknown', 'SECURE_BOOT_VARIABLE_MALFORMED'],
    ['two bytes: unknown', Buffer.from([1, 0]), 'unknown', 'SECURE_BOOT_VARIABLE_MALFORMED'],
  ])('of a SecureBoot variable of %s', (_, data, mode, code) => {
    const { state, findings } = read(replaced(on, variable(GLOBAL, 'SecureBoot', data)));
    expect(state.mode).toBe(mode);
    expect(findings.map((finding) => finding.code)).toEqual(code === undefined ? [] : [code]);
  });

  test('is unknown without the variable', () => {
    expect(read(without(on)).state.mode).toBe('unknown');
  });

  test('is unknown where the variable is not what was measured', () => {
    const forged = { ...on, measured: makeVariable(GLOBAL, 'SecureBoot', Buffer.from([0])) };
    const { state, findings } = read(replaced(on, forged));
    expect(state.mode).toBe('unknown');
    expect(findings).toContainEqual(expect.objectContaining({ code: 'SECURE_BOOT_EVENT_UNVERIFIED', event: 1 }));
  });

  test('knows setup, audit and deployed mode where they are measured', () => {
    const flags = ['SetupMode', 'AuditMode', 'DeployedMode'].map((name) => variable(GLOBAL, name, Buffer.from([1])));
    expect(read([...flags, ...honest]).state).toMatchObject({ setupMode: true, auditMode: true, deployedMode: true });
    expect(read(honest).state).toMatchObject({ setupMode: undefined, auditMode: undefined, deployedMode: undefined });
  });
});

describe('what breaks the rules of PCR 7 is found', () => {
  test.each<[string, readonly MadeEvent[], string]>([
    ['no PK', without(pk), 'SECURE_BOOT_VARIABLE_MISSING'],
    ['an empty KEK', replaced(kek, variable(GLOBAL, 'KEK', Buffer.alloc(0))), 'SECURE_BOOT_VARIABLE_MISSING'],
    ['no separator', without(separator, used), 'SECURE_BOOT_SEPARATOR_MISSING'],
    ['no authority', without(used), 'SECURE_BOOT_AUTHORITY_MISSING'],
    ['a variable after the separator', [...honest, dbx], 'SECURE_BOOT_VARIABLE_LATE'],
    ['a variable twice', [on, ...honest], 'SECURE_BOOT_VARIABLE_REPEATED'],
    [
      'a variable of another vendor',
      replaced(dbx, variable(GLOBAL, 'dbx', Buffer.alloc(0))),
      'SECURE_BOOT_VARIABLE_GUID',
    ],
    ['an authority before the separator', [used, ...honest], 'SECURE_BOOT_AUTHORITY_EARLY'],
    [
      'an authority that is not in db',
      [...honest, authority(SECURITY, 'db', signed(other))],
      'SECURE_BOOT_AUTHORITY_NOT_IN_DB',
    ],
    [
      'an authority of another owner',
      [...honest, authority(SECURITY, 'db', Buffer.concat([guid(GLOBAL), certificate]))],
      'SECURE_BOOT_AUTHORITY_NOT_IN_DB',
    ],
    [
      'an authority of dbx',
      [...honest, authority(SECURITY, 'dbx', signed(certificate))],
      'SECURE_BOOT_AUTHORITY_MALFORMED',
    ],
    [
      'an authority of the list of what shim refuses',
      [...honest, authority(SHIM, 'MokListX', certificate)],
      'SECURE_BOOT_AUTHORITY_MALFORMED',
    ],
    [
      'an authority of a variable of shim that nobody knows',
      [...honest, authority(SHIM, 'MokX', certificate)],
      'SECURE_BOOT_AUTHORITY_MALFORMED',
    ],
    [
      'an authority of nothing',
      [...honest, authority(SECURITY, 'db', Buffer.alloc(0))],
      'SECURE_BOOT_AUTHORITY_MALFORMED',
    ],
    [
      'an authority without owner',
      [...honest, authority(SECURITY, 'db', certificate)],
      'SECURE_BOOT_AUTHORITY_WITHOUT_OWNER',
    ],
    ['an authority twice', [...honest, used], 'SECURE_BOOT_AUTHORITY_REPEATED'],
    [
      'the firmware’s debugger',
      [{ pcr: 7, type: 0x8000_0007, data: Buffer.from('UEFI Debug Mode') }, ...honest],
      'UEFI_DEBUG_MODE',
    ],
    [
      'no protection against DMA',
      [{ pcr: 7, type: 0x8000_0007, data: Buffer.from('DMA Protection Disabled\0') }, ...honest],
      'DMA_PROTECTION_DISABLED',
    ],
    [
      'an unknown action',
      [{ pcr: 7, type: 0x8000_0007, data: Buffer.from('Hello') }, ...honest],
      'SECURE_BOOT_EVENT_UNEXPECTED',
    ],
    [
      'an event of another type',
      [{ pcr: 7, type: 8, data: Buffer.from('version') }, ...honest],
      'SECURE_BOOT_EVENT_UNEXPECTED',
    ],
    [
      'an event of which nothing is verified',
      [{ pcr: 7, type: 0x40e, data: Buffer.from('x'), measured: Buffer.from('y') }, ...honest],
      'SECURE_BOOT_EVENT_UNVERIFIED',
    ],
    ['dbx under a type of SPDM', replaced(dbx, { ...dbx, type: 0x8000_00e3 }), 'SECURE_BOOT_EVENT_UNVERIFIED'],
    [
      'an unknown type of signature',
      replaced(dbx, variable(SECURITY, 'dbx', makeSignatureList(GLOBAL, [hash]))),
      'SIGNATURE_TYPE_UNKNOWN',
    ],
  ])('%s', (_, events, code) => {
    const { state, findings } = read(events);
    expect(findings.map((finding) => finding.code)).toContain(code);
    expect(state.mode).toBe('enabled');
  });

  test('a late or foreign variable has no effect', () => {
    const emptied = variable(SECURITY, 'dbx', Buffer.alloc(0));
    expect(signatures(read([...honest, emptied]).state, 'dbx')).toMatchObject([{}, {}]);
    const foreign = variable(OWNER, 'dbx', Buffer.alloc(0));
    expect(signatures(read([foreign, ...honest]).state, 'dbx')).toMatchObject([{}, {}]);
  });
});

describe('a signature list whose sizes do not add up is kept raw, and hides nothing else', () => {
  const list = makeSignatureList(SHA256_TYPE, [hash]);
  const patched = (offset: number, value: number): Buffer => {
    const bytes = Buffer.from(list);
    bytes.writeUInt32LE(value, offset);
    return bytes;
  };
  test.each<[string, Buffer]>([
    [
      'a header where none belongs, whose bytes would be a hash',
      makeSignatureList(SHA256_TYPE, [hash], { header: Buffer.alloc(48, 1) }),
    ],
    ['a list size of 4 GiB', patched(16, 0xffff_ffff)],
    ['a list size below its header', patched(16, 27)],
    ['a header size of 4 GiB', patched(20, 0xffff_ffff)],
    ['a signature size of zero', patched(24, 0)],
    ['a signature size of an owner alone', patched(24, 16)],
    ['a signature size of 4 GiB', patched(24, 0xffff_ffff)],
    ['a hash of 33 bytes', makeSignatureList(SHA256_TYPE, [Buffer.alloc(33)])],
    ['half a signature', Buffer.concat([list.subarray(0, -1)])],
    ['bytes after the last list', Buffer.concat([list, Buffer.from([1])])],
    ['a list in a list', makeSignatureList(SHA256_TYPE, [list])],
  ])('%s', (_, data) => {
    const { state, findings } = read(replaced(dbx, variable(SECURITY, 'dbx', data)));
    expect(state.databases.dbx).toMatchObject({ state: 'malformed', raw: data });
    expect(findings).toEqual([expect.objectContaining({ code: 'SECURE_BOOT_VARIABLE_MALFORMED', event: 5 })]);
    expect(state).toMatchObject({
      mode: 'enabled',
      authorities: [{ inDb: true }],
      databases: { db: { state: 'read' } },
    });
  });

  test('a header of an unknown type is skipped', () => {
    const data = makeSignatureList(GLOBAL, [hash], { header: Buffer.alloc(48, 1) });
    const { state } = read(replaced(dbx, variable(SECURITY, 'dbx', data)));
    expect(signatures(state, 'dbx')).toMatchObject([{ kind: 'other', type: GLOBAL, data: hash }]);
  });

  test('several lists are one database', () => {
    const data = Buffer.concat([
      makeSignatureList(X509_TYPE, [certificate]),
      makeSignatureList(X509_TYPE, [other]),
      list,
    ]);
    const { state } = read(replaced(db, variable(SECURITY, 'db', data)));
    expect(signatures(state, 'db')).toMatchObject([{ kind: 'x509' }, { kind: 'x509' }, { kind: 'sha256' }]);
  });
});

test('the database of SPDM is none of images', () => {
  const device = { ...variable('b9c2b4f4-bf5f-462d-8adf-c5c70ac35dad', 'devdb', Buffer.alloc(0)), type: 0x8000_00e3 };
  expect(read([...without(separator, used), device, separator, used]).findings).toEqual([]);
});

test('a certificate that does not parse stays a digest', () => {
  const { bySha256, findings } = readSigners(read(honest).state);
  expect(bySha256.size).toBe(0);
  expect(findings).toEqual([expect.objectContaining({ code: 'SIGNATURE_CERTIFICATE_UNREADABLE', severity: 'info' })]);
});

describe.skipIf(!dataIsHere('measured-boot'))('a real Secure Boot', () => {
  test('names who signed what ran', () => {
    const { state, findings } = readSecureBoot(checkEvents(parseEventLog(measuredLog('sb-ms-shim-grub'))));
    expect(findings).toEqual([]);
    const { bySha256 } = readSigners(state);
    expect(
      state.authorities.map(({ variable: name, sha256: digest }) => [name, bySha256.get(digest)?.subject]),
    ).toEqual([
      ['db', 'CN=Microsoft Corporation UEFI CA 2011, O=Microsoft Corporation, L=Redmond, ST=Washington, C=US'],
      ['MokListRT', 'CN=Debian Secure Boot CA'],
    ]);
    expect(state.sbatLevel).toBe('sbat,1,2025021800\nshim,4\ngrub,5\n');
    expect(readFileSync(measuredBootPath('sb-ms-shim-grub', 'dmesg.txt'), 'utf8')).toContain('Secure boot enabled');
  });
});
