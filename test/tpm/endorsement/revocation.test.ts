import { describe, expect, it } from 'vitest';

import { encodeDer } from '../../../tpm/endorsement/der.ts';
import { EndorsementError } from '../../../tpm/endorsement/endorsement-error.ts';
import { parseRevocationList } from '../../../tpm/endorsement/revocation.ts';
import { ext, extension } from '../../support/test-ca.ts';
import { revocationList } from '../../support/test-ek-pki.ts';

describe('a revocation list', () => {
  it('yields its issuer, times and serial numbers', () => {
    const list = parseRevocationList(revocationList(0x17, { extensions: [ext.aki('intermediate')] }));
    expect(list.issuer.text).toBe('CN=Test Intermediate CA');
    expect(list.thisUpdate).toEqual(new Date('2025-12-01T00:00:00Z'));
    expect(list.nextUpdate).toEqual(new Date('2028-01-01T00:00:00Z'));
    expect(list.authorityKeyIdentifier).toEqual(Buffer.from('intermediate'));
    expect([...list.revoked]).toEqual(['17']);
    expect(list.number).toBeUndefined();
  });

  it('yields its number, and no serial where it revokes nothing', () => {
    const list = parseRevocationList(revocationList([], { number: 0x0100 }));
    expect(list).toMatchObject({ number: '0100', revoked: new Set() });
  });

  it.each<[string, Buffer, RegExp]>([
    [
      'a delta',
      revocationList(1, { extensions: [extension('2.5.29.27', Buffer.from('020101', 'hex'), 'critical')] }),
      /is a delta/,
    ],
    [
      'a partial list',
      revocationList(1, { extensions: [extension('2.5.29.28', encodeDer(0x30), 'critical')] }),
      /is a partial or an indirect one/,
    ],
    [
      'an indirect list',
      revocationList(1, { entryExtensions: [extension('2.5.29.29', encodeDer(0x30), 'critical')] }),
      /an entry names another issuer/,
    ],
    [
      'a list with an extension that nobody knows',
      revocationList(1, { extensions: [extension('1.2.3.4', encodeDer(0x30), 'critical')] }),
      /critical extension 1\.2\.3\.4/,
    ],
  ])('says why it does not take %s', (_name, der, message) => {
    expect(() => parseRevocationList(der)).toThrow(message);
  });

  it.each([
    ['negative', '0201ff'],
    ['of 21 octets', `0215${'11'.repeat(21)}`],
    ['followed by something', '0201010500'],
    ['no number', '0500'],
  ])('is refused with a number that is %s', (_name, value) => {
    const der = revocationList(1, { extensions: [extension('2.5.29.20', Buffer.from(value, 'hex'))] });
    expect(() => parseRevocationList(der)).toThrow(EndorsementError);
  });

  it('is refused with more entries than are kept, also where they repeat', () => {
    const most = Array.from({ length: 100_000 }, () => 0x17);
    expect(parseRevocationList(revocationList(most)).revoked).toEqual(new Set(['17']));
    const refused = expect.objectContaining({ code: 'too_many' }) as Error;
    expect(() => parseRevocationList(revocationList([...most, 0x17]))).toThrow(refused);
  });

  it.each<[string, Buffer, string]>([
    ['that is none', Buffer.from('junk'), 'malformed'],
    ['with trailing bytes', Buffer.concat([revocationList(1), Buffer.from([0])]), 'malformed'],
    [
      'that is a delta',
      revocationList(1, { extensions: [extension('2.5.29.27', Buffer.from('020101', 'hex'), 'critical')] }),
      'unsupported',
    ],
    [
      'of one distribution point',
      revocationList(1, { extensions: [extension('2.5.29.28', encodeDer(0x30), 'critical')] }),
      'unsupported',
    ],
    ['that is endless', Buffer.alloc(9_000_000, 0x30), 'too_large'],
  ])('is refused %s', (_name, der, code) => {
    let caught: unknown;
    try {
      parseRevocationList(der);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(EndorsementError);
    expect(caught).toMatchObject({ code });
  });

  it('with any one byte flipped is read or refused with the typed error', () => {
    const der = revocationList(0x17);
    for (let index = 0; index < der.length; index += 1) {
      const flipped = Buffer.from(der);
      flipped[index] = (flipped[index] ?? 0) ^ 0xff;
      try {
        expect(parseRevocationList(flipped).revoked.size).toBeLessThanOrEqual(1);
      } catch (error) {
        expect(error).toBeInstanceOf(EndorsementError);
      }
    }
  });
});
