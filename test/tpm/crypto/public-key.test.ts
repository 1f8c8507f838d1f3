import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { publicKeyOf, subjectPublicKeyInfo } from '../../../tpm/crypto/public-key.ts';
import {
  TPM_ALG_ECC,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_NULL,
  TPM_ALG_RSA,
  TPM_ALG_SHA256,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_ECC_NIST_P521,
} from '../../../tpm/structures/constants.ts';
import { decodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import type { EccPublic, RsaPublic } from '../../../tpm/structures/public-area.ts';
import { conformancePath } from '../../support/data.ts';
import { makeAk } from '../../support/tpm-keys.ts';

const spki = { type: 'spki', format: 'der' } as const;
const CURVES = [TPM_ECC_NIST_P256, TPM_ECC_NIST_P384, TPM_ECC_NIST_P521];

function ecc(curveID: number): EccPublic {
  const { publicArea } = makeAk({ curveID }, { hashAlg: TPM_ALG_SHA256 });
  if (publicArea.type !== TPM_ALG_ECC) {
    throw new TypeError('no ECC key');
  }
  return publicArea;
}

function rsa(): RsaPublic {
  const { publicArea } = makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256 });
  if (publicArea.type !== TPM_ALG_RSA) {
    throw new TypeError('no RSA key');
  }
  return publicArea;
}

describe('publicKeyOf', () => {
  it('is the key that keylime’s TPM exported as PEM', () => {
    const file = (name: string) => readFileSync(conformancePath('keylime+keylime', 'test-data', 'files', name));
    const ak = decodeSizedPublicArea(file('ak.pub'));
    expect(subjectPublicKeyInfo(ak)).toEqual(createPublicKey(file('akpub.pem')).export(spki));
  });

  it.each(CURVES)('is the key itself on curve %s', (curveID) => {
    const { publicArea, privateKey } = makeAk({ curveID }, { hashAlg: TPM_ALG_SHA256 });
    expect(subjectPublicKeyInfo(publicArea)).toEqual(createPublicKey(privateKey).export(spki));
  });

  it('takes exponent 0 for 65537, and any other as it stands', () => {
    const key = rsa();
    const withExponent = (exponent: number) => ({ ...key, parameters: { ...key.parameters, exponent } });
    expect(publicKeyOf(key).asymmetricKeyDetails?.publicExponent).toBe(65537n);
    expect(publicKeyOf(withExponent(65537)).asymmetricKeyDetails?.publicExponent).toBe(65537n);
    expect(publicKeyOf(withExponent(3)).asymmetricKeyDetails?.publicExponent).toBe(3n);
  });

  it.each([1, 2, 65536])('refuses exponent %s', (exponent) => {
    const key = rsa();
    const weak = { ...key, parameters: { ...key.parameters, exponent } };
    expect(() => publicKeyOf(weak)).toThrow(expect.objectContaining({ code: 'INVALID_KEY' }));
  });

  it('refuses a modulus whose top bit is clear: it would be shorter than declared', () => {
    const key = rsa();
    const unique = Buffer.from(key.unique);
    unique.writeUInt8(0x7f, 0);
    expect(() => publicKeyOf({ ...key, unique })).toThrow(expect.objectContaining({ code: 'INVALID_KEY' }));
  });

  it('pads a coordinate whose leading zeros were left out', () => {
    let key = ecc(TPM_ECC_NIST_P256);
    for (let draw = 0; draw < 20_000 && key.unique.x[0] !== 0; draw++) {
      key = ecc(TPM_ECC_NIST_P256);
    }
    expect(key.unique.x[0]).toBe(0);
    const stripped = { ...key, unique: { ...key.unique, x: key.unique.x.subarray(1) } };
    expect(subjectPublicKeyInfo(stripped)).toEqual(subjectPublicKeyInfo(key));
  });

  it.each(CURVES)('refuses points that are not on curve %s', (curveID) => {
    const key = ecc(curveID);
    const y = Buffer.from(key.unique.y);
    y.writeUInt8(y.readUInt8(y.length - 1) ^ 1, y.length - 1);
    for (const unique of [
      { x: key.unique.x, y },
      { x: Buffer.alloc(0), y: Buffer.alloc(0) },
      { x: Buffer.alloc(key.unique.x.length, 0xff), y },
      { x: Buffer.concat([Buffer.from([0]), key.unique.x]), y: key.unique.y },
    ]) {
      expect(() => publicKeyOf({ ...key, unique })).toThrow(expect.objectContaining({ code: 'INVALID_POINT' }));
    }
  });

  it('refuses a point of another curve', () => {
    const key = ecc(TPM_ECC_NIST_P256);
    const other = { ...key, parameters: { ...key.parameters, curveID: TPM_ECC_NIST_P384 } };
    expect(() => publicKeyOf(other)).toThrow(expect.objectContaining({ code: 'INVALID_POINT' }));
  });

  it('refuses a curve without a row', () => {
    const key = ecc(TPM_ECC_NIST_P256);
    const other = { ...key, parameters: { ...key.parameters, curveID: 0x0001 } };
    expect(() => publicKeyOf(other)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_CURVE' }));
  });

  it('refuses an object that has no asymmetric key', () => {
    const { nameAlg, objectAttributes, authPolicy } = rsa();
    expect(() =>
      publicKeyOf({
        type: TPM_ALG_KEYEDHASH,
        nameAlg,
        objectAttributes,
        authPolicy,
        parameters: { scheme: TPM_ALG_NULL },
        unique: Buffer.alloc(32),
      }),
    ).toThrow(expect.objectContaining({ code: 'UNSUITABLE_KEY' }));
  });
});
