import { describe, expect, test } from 'vitest';
import { X509_TYPE, makeSignatureList, sha256 } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';
import {
  SECURITY,
  SHIM,
  certificate,
  other,
  variable,
  authority,
  signed,
  db,
  used,
  honest,
  read,
  replaced,
} from './make-secure-boot.ts';

describe('shim', () => {
  test('says its revocation level and whether its lists are trusted', () => {
    const sbat = 'sbat,1,2025021800\nshim,4\ngrub,5\n';
    const { state, findings } = read([
      ...honest,
      authority(SHIM, 'SbatLevel', Buffer.from(sbat)),
      authority(SHIM, 'MokListTrusted', Buffer.from([1])),
      authority(SHIM, 'Shim', other),
    ]);
    expect(state).toMatchObject({ sbatLevel: sbat, mokListTrusted: true });
    expect(state.authorities[1]).toMatchObject({ variable: 'Shim', source: 'shim', owner: undefined, inDb: undefined });
    expect(findings).toEqual([]);
  });

  test.each([
    ['is off where it says 1', ['01'], true],
    ['is on where it says 0', ['00'], false],
    ['is off where it says what nobody knows', ['02'], true],
    ['is off where it says nothing', [''], true],
    ['is off where a better state was measured after the true one', ['01', '00'], true],
    ['is off where it says so later', ['00', '01'], true],
    ['does not say', [], undefined],
  ] as const)('%s in MokSBState, which is no signer', (_name, states, shimOff) => {
    const events = states.map((state) => authority(SHIM, 'MokSBState', Buffer.from(state, 'hex')));
    const { state, findings } = read([...honest, ...events]);
    expect(state.shimOff).toBe(shimOff);
    expect(state.authorities).toHaveLength(1);
    expect(findings).toEqual([]);
  });

  test('measures other state of its own, which is no signer', () => {
    const events = ['MokDBState', 'MokPolicy'].map((name) => authority(SHIM, name, Buffer.from([1])));
    const { state, findings } = read([...honest, ...events]);
    expect(state.authorities).toHaveLength(1);
    expect(findings).toEqual([]);
  });

  const level = authority(SHIM, 'SbatLevel', Buffer.from('sbat,1,2025051800\nshim,4\n'));
  const byShim = authority(SHIM, 'Shim', other);
  const late = expect.objectContaining({ code: 'SECURE_BOOT_SBAT_LEVEL_LATE', severity: 'warning', pcr: 7 }) as unknown;

  test.each<[string, readonly MadeEvent[]]>([
    ['shim’s own authority', [...honest, byShim]],
    ['an authority of its owner’s list', [...honest, authority(SHIM, 'MokListRT', signed(other))]],
    ['an authority of its vendor’s database', [...honest, authority(SECURITY, 'vendor_db', signed(other))]],
    ['an authority of db that was measured again', [...honest, used]],
  ])('enforced no revocation level that comes after %s', (_, before) => {
    const { state, findings } = read([...before, level, byShim]);
    expect(state.sbatLevel).toBeUndefined();
    expect(findings).toContainEqual(late);
  });

  test('may start another shim, whose level does not count', () => {
    const first = authority(SHIM, 'SbatLevel', Buffer.from('sbat,1\nshim,1\n'));
    const { state, findings } = read([...honest, first, byShim, level]);
    expect(state.sbatLevel).toBe('sbat,1\nshim,1\n');
    expect(findings).toEqual([]);
  });

  test('measures its level after the drivers that the firmware verified', () => {
    const two = variable(SECURITY, 'db', makeSignatureList(X509_TYPE, [certificate, other]));
    const { state, findings } = read([...replaced(db, two), authority(SECURITY, 'db', signed(other)), level, byShim]);
    expect(state.sbatLevel).toContain('shim,4');
    expect(findings).toEqual([]);
  });

  test('measures its lists into PCR 14, where their names are hints', () => {
    const list: MadeEvent = { pcr: 14, type: 13, data: Buffer.from('MokListX\0'), measured: Buffer.from('content') };
    expect(read([...honest, list]).state.mokMeasurements).toEqual([
      { event: 8, name: 'MokListX', digests: [expect.anything(), sha256(Buffer.from('content'))] },
    ]);
  });
});
