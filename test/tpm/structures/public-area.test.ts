import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { encode } from '../../../tpm/codec/structure.ts';
import { algorithmName } from '../../../tpm/structures/constants.ts';
import { attributeNames, hasAttribute, objectAttributes } from '../../../tpm/structures/object-attributes.ts';
import {
  TPM2B_PUBLIC,
  TPMT_PUBLIC,
  decodePublicArea,
  decodeSizedPublicArea,
  encodeSizedPublicArea,
  makePublicArea,
} from '../../../tpm/structures/public-area.ts';
import { conformancePath } from '../../support/data.ts';

// Attestation key of keylime's test data (Apache-2.0): RSA-2048, RSASSA with SHA-256.
const akBytes = readFileSync(conformancePath('keylime+keylime', 'test-data', 'files', 'ak.pub'));

describe('public area', () => {
  it('reads the attestation key of a real TPM', () => {
    const ak = decodeSizedPublicArea(akBytes);
    expect(ak).toMatchObject({
      type: 0x0001,
      nameAlg: 0x000b,
      parameters: {
        symmetric: { algorithm: 0x0010 },
        scheme: { scheme: 0x0014, hashAlg: 0x000b },
        keyBits: 2048,
        exponent: 0,
      },
    });
    expect(attributeNames(ak.objectAttributes)).toEqual([
      'fixedTPM',
      'fixedParent',
      'sensitiveDataOrigin',
      'userWithAuth',
      'restricted',
      'sign',
    ]);
  });

  it('keeps the bytes without the size and encodes to them', () => {
    const ak = decodeSizedPublicArea(akBytes);
    expect(ak.raw).toEqual(akBytes.subarray(2));
    expect(encode(TPMT_PUBLIC, ak)).toEqual(ak.raw);
    expect(encode(TPM2B_PUBLIC, ak)).toEqual(akBytes);
    expect(encodeSizedPublicArea(ak)).toEqual(akBytes);
    expect(makePublicArea(ak).raw).toEqual(ak.raw);
    expect(decodePublicArea(ak.raw)).toEqual(ak);
  });

  it.each<[string, (bytes: Buffer) => Buffer, string]>([
    ['a size that leaves bytes over', (bytes) => Buffer.concat([bytes, Buffer.from([0])]), 'TRAILING_BYTES'],
    ['a size beyond the bytes', (bytes) => bytes.subarray(0, -1), 'TRUNCATED'],
    ['a size above all public areas', (bytes) => Buffer.concat([Buffer.from('ffff', 'hex'), bytes]), 'SIZE_EXCEEDED'],
    [
      'an unknown type',
      (bytes) => Buffer.concat([bytes.subarray(0, 2), Buffer.from('0099', 'hex'), bytes.subarray(4)]),
      'UNKNOWN_SELECTOR',
    ],
    ['no bytes at all', () => Buffer.from('0000', 'hex'), 'TRUNCATED'],
  ])('refuses %s', (_name, tamper, code) => {
    expect(() => decodeSizedPublicArea(tamper(akBytes))).toThrow(expect.objectContaining({ code }));
  });

  it('names an algorithm, and an unknown one by its number', () => {
    expect([0x000b, 0x0018, 0x0043, 0x0099].map(algorithmName)).toEqual(['sha256', 'ecdsa', 'cfb', '0x0099']);
  });
});

describe('object attributes', () => {
  it('makes the bits of an EK and of an AK', () => {
    expect(
      objectAttributes('fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'adminWithPolicy', 'restricted', 'decrypt'),
    ).toBe(0x000300b2);
    expect(
      objectAttributes('fixedTPM', 'fixedParent', 'sensitiveDataOrigin', 'userWithAuth', 'restricted', 'sign'),
    ).toBe(0x00050072);
  });

  it('tells single bits apart', () => {
    expect(hasAttribute(0x00050072, 'restricted')).toBe(true);
    expect(hasAttribute(0x00050072, 'decrypt')).toBe(false);
  });

  it('shows reserved bits', () => {
    expect(attributeNames(0x80000002)).toEqual(['fixedTPM', 'reserved']);
  });
});
