import { generateKeyPairSync, sign } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { ecdsaSignatureDer } from '../../../tpm/crypto/ecdsa-der.ts';

describe('ecdsaSignatureDer', () => {
  it.each([
    ['small integers', '01', '02', '3006020101020102'],
    ['an integer with its top bit set', '80', '7f', '30070202008002017f'],
    ['leading zeros', '000001', '00ff', '3007020101020200ff'],
  ])('writes %s', (_name, r, s, der) => {
    expect(ecdsaSignatureDer(Buffer.from(r, 'hex'), Buffer.from(s, 'hex')).toString('hex')).toBe(der);
  });

  it('takes the long form of the length where P-521 needs it', () => {
    const der = ecdsaSignatureDer(Buffer.alloc(66, 0x01), Buffer.alloc(66, 0x01));
    expect(der.subarray(0, 5).toString('hex')).toBe('3081880242');
    expect(der).toHaveLength(3 + 2 * 68);
  });

  it.each(['prime256v1', 'secp384r1', 'secp521r1'])('writes what the library writes on %s', (namedCurve) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve });
    for (let round = 0; round < 40; round++) {
      const der = sign('sha256', Buffer.from([round]), privateKey);
      const [r, s] = integersOf(der);
      expect(ecdsaSignatureDer(r, s)).toEqual(der);
    }
  });

  it.each([
    ['no r', Buffer.alloc(0), Buffer.from([1])],
    ['a zero r', Buffer.alloc(32), Buffer.from([1])],
    ['a zero s', Buffer.from([1]), Buffer.alloc(32)],
    ['an s longer than any curve', Buffer.from([1]), Buffer.alloc(67, 1)],
  ])('refuses %s', (_name, r, s) => {
    expect(() => ecdsaSignatureDer(r, s)).toThrow(expect.objectContaining({ code: 'SIGNATURE_MALFORMED' }));
  });
});

/** r and s out of the library's DER, their sign bytes left on. */
function integersOf(der: Buffer): readonly [Buffer, Buffer] {
  const start = der[1] === 0x81 ? 3 : 2;
  const rEnd = start + 2 + der.readUInt8(start + 1);
  return [der.subarray(start + 2, rEnd), der.subarray(rEnd + 2)];
}
