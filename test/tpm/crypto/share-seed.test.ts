import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { decode, encode, fields, sizedBytes, u16 } from '../../../tpm/codec/structure.ts';
import { curveOf, publicKeyOf } from '../../../tpm/crypto/public-key.ts';
import { shareSeed } from '../../../tpm/crypto/share-seed.ts';
import { TPMS_ECC_POINT } from '../../../tpm/structures/buffers.ts';
import {
  TPM_ALG_ECC,
  TPM_ALG_SHA256,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P521,
} from '../../../tpm/structures/constants.ts';
import { decodePublicArea } from '../../../tpm/structures/public-area.ts';
import type { EccPublic, PublicArea } from '../../../tpm/structures/public-area.ts';
import { conformancePath } from '../../support/data.ts';
import { openSeed } from '../../support/open-credential.ts';
import { makeEk } from '../../support/tpm-keys.ts';

// google/go-tpm (Apache-2.0), validated there against the TCG reference code. All fields but Label are hex.
interface Case {
  readonly Name: string;
  readonly Label: string;
  readonly EphemeralPrivate: string;
  readonly PublicKey: string;
  readonly PrivateKey: string;
  readonly Secret: string;
  readonly Ciphertext: string;
}

const path = conformancePath('google+go-tpm', 'tpm2', 'test', 'testvectors', 'ecc_labeled_encaps.json');
const cases = JSON.parse(readFileSync(path, 'utf8')) as readonly Case[];

/** TPMT_SENSITIVE of an ECC key: only its last field is of use here. */
const sensitive = fields({
  type: u16,
  authValue: sizedBytes(64),
  seedValue: sizedBytes(64),
  privateKey: sizedBytes(66),
});

const notRandom = (): Buffer => {
  throw new TypeError('no randomness is needed with a fixed ephemeral key');
};

function eccPublic(hex: string): PublicArea<EccPublic> {
  const publicArea = decodePublicArea(Buffer.from(hex, 'hex'));
  if (publicArea.type !== TPM_ALG_ECC) {
    throw new TypeError('vector is no ECC key');
  }
  return publicArea;
}

describe('shareSeed', () => {
  it('has a hundred ECC vectors', () => {
    expect(cases).toHaveLength(100);
  });

  it.each(cases)('yields vector $Name', (vector) => {
    const publicArea = eccPublic(vector.PublicKey);
    const { seed, secret } = shareSeed(publicArea, {
      label: vector.Label,
      random: notRandom,
      ephemeralPrivateKey: Buffer.from(vector.EphemeralPrivate, 'hex'),
    });
    expect(seed.toString('hex')).toBe(vector.Secret);
    expect(secret.toString('hex')).toBe(vector.Ciphertext);
  });

  it.each(cases)('shares the seed that the private key of vector $Name finds', (vector) => {
    const publicArea = eccPublic(vector.PublicKey);
    const { privateKey } = decode(sensitive, Buffer.from(vector.PrivateKey, 'hex'));
    const d = Buffer.concat([Buffer.alloc(curveOf(publicArea).coordinateSize - privateKey.length), privateKey]);
    const jwk = { ...publicKeyOf(publicArea).export({ format: 'jwk' }), d: d.toString('base64url') };
    const key = { publicArea, privateKey: createPrivateKey({ key: jwk, format: 'jwk' }) };
    expect(openSeed(key, vector.Label, Buffer.from(vector.Ciphertext, 'hex')).toString('hex')).toBe(vector.Secret);
  });

  it('cuts the surplus bits of a drawn P-521 key instead of refusing it', () => {
    const ek = makeEk({ curveID: TPM_ECC_NIST_P521 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    const { seed, secret } = shareSeed(ek.publicArea, {
      label: 'IDENTITY',
      random: (size) => Buffer.alloc(size, 0xf1),
    });
    expect(openSeed(ek, 'IDENTITY', secret)).toEqual(seed);
  });

  it('draws again when the drawn number is no private key', () => {
    const ek = makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    const draws = [Buffer.alloc(32), Buffer.alloc(32, 0xff), Buffer.alloc(32, 7)];
    const { seed, secret } = shareSeed(ek.publicArea, {
      label: 'IDENTITY',
      random: () => draws.shift() ?? notRandom(),
    });
    expect(draws).toEqual([]);
    expect(openSeed(ek, 'IDENTITY', secret)).toEqual(seed);
  });

  it('gives up on a source that yields nothing usable', () => {
    const ek = makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    expect(() => shareSeed(ek.publicArea, { label: 'IDENTITY', random: (size) => Buffer.alloc(size) })).toThrow(
      TypeError,
    );
  });

  it('refuses a point off the curve', () => {
    const { publicArea } = makeEk({ curveID: TPM_ECC_NIST_P256 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    if (publicArea.type !== TPM_ALG_ECC) {
      throw new TypeError('no ECC key');
    }
    const off = { ...publicArea, unique: { x: publicArea.unique.y, y: publicArea.unique.x } };
    expect(() => shareSeed(off, { label: 'IDENTITY', random: (size) => Buffer.alloc(size, 1) })).toThrow(
      expect.objectContaining({ code: 'INVALID_POINT' }),
    );
  });

  it('writes every coordinate in full length', () => {
    const ek = makeEk({ curveID: TPM_ECC_NIST_P521 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    const { secret } = shareSeed(ek.publicArea, { label: 'IDENTITY', random: (size) => Buffer.alloc(size, 3) });
    const { x, y } = decode(TPMS_ECC_POINT, secret);
    expect([x.length, y.length]).toEqual([66, 66]);
    expect(encode(TPMS_ECC_POINT, { x, y })).toEqual(secret);
  });
});
