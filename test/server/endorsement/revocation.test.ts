import { describe, expect, it } from 'vitest';

import { encodeDer } from '../../../server/endorsement/der.ts';
import { EndorsementError } from '../../../server/endorsement/endorsement-error.ts';
import { parseRevocationList } from '../../../server/endorsement/revocation.ts';
import { ext, extension } from '../../support/test-ca.ts';
import { revocationList } from '../../support/test-ek-pki.ts';

describe('a revocation list', () => {
  it('yields its issuer, times and serial numbers', () => {
    const list = parseRevocationList(revocationList(0x17, { extensions: [ext.aki('intermediate')] }));
    expect(list.issuer.text).toBe('CN=Test Intermediate CA');
    expect(list.thisUpdate).toEqual(new Date('2026-02-01T00:00:00Z'));
    expect(list.nextUpdate).toEqual(new Date('2028-01-01T00:00:00Z'));
    expect(list.authorityKeyIdentifier).toEqual(Buffer.from('intermediate'));
    expect([...list.revoked]).toEqual(['17']);
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
