import { constants, generateKeyPairSync, sign } from 'node:crypto';

import { describe, expect, it } from 'vitest';

import { encode } from '../../../tpm/codec/structure.ts';
import { makeSigningKey, signingKeyOf, verifySignature } from '../../../tpm/crypto/verify-signature.ts';
import {
  TPM_ALG_ECC,
  TPM_ALG_ECDAA,
  TPM_ALG_ECDSA,
  TPM_ALG_KEYEDHASH,
  TPM_ALG_NULL,
  TPM_ALG_OAEP,
  TPM_ALG_RSA,
  TPM_ALG_RSAPSS,
  TPM_ALG_RSASSA,
  TPM_ALG_SHA1,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_ECC_NIST_P521,
} from '../../../tpm/structures/constants.ts';
import type { TPMT_PUBLIC } from '../../../tpm/structures/public-area.ts';
import { TPMT_SIGNATURE, decodeSignature } from '../../../tpm/structures/signature.ts';
import { makeAk, signWithAk } from '../../support/tpm-keys.ts';

const RSA_PSS_AK = { hashAlg: TPM_ALG_SHA256, rsaScheme: TPM_ALG_RSAPSS } as const;
const KEYS = [
  { name: 'RSASSA, SHA-256', ak: makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256 }) },
  { name: 'RSASSA, SHA-384, 3072 bits', ak: makeAk({ rsaBits: 3072 }, { hashAlg: TPM_ALG_SHA384 }) },
  { name: 'RSAPSS, SHA-256', ak: makeAk({ rsaBits: 2048 }, RSA_PSS_AK) },
  { name: 'ECDSA P-256, SHA-256', ak: makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 }) },
  { name: 'ECDSA P-384, SHA-384', ak: makeAk({ curveID: TPM_ECC_NIST_P384 }, { hashAlg: TPM_ALG_SHA384 }) },
  { name: 'ECDSA P-521, SHA-512', ak: makeAk({ curveID: TPM_ECC_NIST_P521 }, { hashAlg: TPM_ALG_SHA512 }) },
];
const message = Buffer.from('ff544347 statement');

function refused(code: string): unknown {
  return expect.objectContaining({ name: 'TpmCryptoError', code });
}

describe.each(KEYS)('signature by $name', ({ ak }) => {
  const signer = signingKeyOf(ak.publicArea);
  const bytes = signWithAk(ak, message);
  const signature = decodeSignature(bytes);

  it('proves the message when it is valid', () => {
    expect(verifySignature(signer, message, signature)).toEqual({ message, signer });
  });

  it('is refused with any one bit of it flipped', () => {
    for (let at = 4; at < bytes.length; at++) {
      const tampered = Buffer.from(bytes);
      tampered.writeUInt8(tampered.readUInt8(at) ^ (1 << (at % 8)), at);
      expect(() => verifySignature(signer, message, decodeSignature(tampered))).toThrow();
    }
  });

  it('is refused over any message that differs in a bit', () => {
    for (let at = 0; at < message.length; at++) {
      const other = Buffer.from(message);
      other.writeUInt8(other.readUInt8(at) ^ 1, at);
      expect(() => verifySignature(signer, other, signature)).toThrow(refused('SIGNATURE_INVALID'));
    }
  });

  it('is refused when it names another hash, which is not followed', () => {
    expect(() => verifySignature(signer, message, { ...signature, hash: TPM_ALG_SHA1 } as TPMT_SIGNATURE)).toThrow(
      refused('SIGNATURE_HASH_MISMATCH'),
    );
  });

  it('is refused when it is null', () => {
    expect(() => verifySignature(signer, message, { sigAlg: TPM_ALG_NULL })).toThrow(refused('SIGNATURE_NULL'));
  });
});

describe('verifySignature', () => {
  it('refuses a valid RSASSA signature of a key whose scheme is RSAPSS, and the other way round', () => {
    const [ssa, pss] = [makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256 }), makeAk({ rsaBits: 2048 }, RSA_PSS_AK)];
    expect(ssa.privateKey).toBe(pss.privateKey);
    for (const [signed, verifier] of [
      [ssa, pss],
      [pss, ssa],
    ] as const) {
      const signature = decodeSignature(signWithAk(signed, message));
      expect(() => verifySignature(signingKeyOf(verifier.publicArea), message, signature)).toThrow(
        refused('SIGNATURE_ALGORITHM_MISMATCH'),
      );
    }
  });

  it('refuses an ECDSA signature under an RSA key', () => {
    const rsa = makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256 });
    const ecdsa = makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 });
    const signature = decodeSignature(signWithAk(ecdsa, message));
    expect(() => verifySignature(signingKeyOf(rsa.publicArea), message, signature)).toThrow(
      refused('SIGNATURE_ALGORITHM_MISMATCH'),
    );
  });

  it('refuses a signature of another key of the same scheme', () => {
    const [mine, other] = [1, 2].map(() => makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 }));
    if (mine === undefined || other === undefined) {
      throw new TypeError('no keys');
    }
    const signature = decodeSignature(signWithAk(other, message));
    expect(() => verifySignature(signingKeyOf(mine.publicArea), message, signature)).toThrow(
      refused('SIGNATURE_INVALID'),
    );
  });

  it.each([
    ['of the digest', 32],
    ['of all that fits', 256 - 32 - 2],
  ])('takes an RSAPSS salt of the length %s', (_name, saltLength) => {
    const ak = makeAk({ rsaBits: 2048 }, RSA_PSS_AK);
    const padding = constants.RSA_PKCS1_PSS_PADDING;
    const sig = sign('sha256', message, { key: ak.privateKey, padding, saltLength });
    const signature = { sigAlg: TPM_ALG_RSAPSS, hash: TPM_ALG_SHA256, sig } as const;
    expect(verifySignature(signingKeyOf(ak.publicArea), message, signature).message).toBe(message);
  });

  it.each([
    ['empty', Buffer.alloc(0)],
    ['cut short', Buffer.alloc(255, 1)],
    ['too long', Buffer.alloc(257, 1)],
    ['zero', Buffer.alloc(256)],
  ])('refuses an RSA signature that is %s', (_name, sig) => {
    for (const rsaScheme of [TPM_ALG_RSASSA, TPM_ALG_RSAPSS] as const) {
      const ak = makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256, rsaScheme });
      const signature = { sigAlg: rsaScheme, hash: TPM_ALG_SHA256, sig };
      expect(() => verifySignature(signingKeyOf(ak.publicArea), message, signature)).toThrow(
        refused('SIGNATURE_INVALID'),
      );
    }
  });

  it.each([
    ['zero r', Buffer.alloc(32), Buffer.alloc(32, 1), 'SIGNATURE_MALFORMED'],
    ['an empty s', Buffer.alloc(32, 1), Buffer.alloc(0), 'SIGNATURE_MALFORMED'],
    ['an r of the order or more', Buffer.alloc(32, 0xff), Buffer.alloc(32, 1), 'SIGNATURE_INVALID'],
    ['an r of another curve', Buffer.alloc(66, 1), Buffer.alloc(32, 1), 'SIGNATURE_INVALID'],
    ['an r of no curve', Buffer.alloc(128, 1), Buffer.alloc(32, 1), 'SIGNATURE_MALFORMED'],
  ])('refuses an ECDSA signature with %s', (_name, signatureR, signatureS, code) => {
    const ak = makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 });
    const signature = { sigAlg: TPM_ALG_ECDSA, hash: TPM_ALG_SHA256, signatureR, signatureS } as const;
    expect(() => verifySignature(signingKeyOf(ak.publicArea), message, signature)).toThrow(refused(code));
  });

  it('reads a null signature from its two bytes', () => {
    expect(decodeSignature(encode(TPMT_SIGNATURE, { sigAlg: TPM_ALG_NULL }))).toEqual({ sigAlg: TPM_ALG_NULL });
  });
});

describe('signingKeyOf', () => {
  const rsa = makeAk({ rsaBits: 2048 }, { hashAlg: TPM_ALG_SHA256 }).publicArea;
  const ecc = makeAk({ curveID: TPM_ECC_NIST_P256 }, { hashAlg: TPM_ALG_SHA256 }).publicArea;
  if (rsa.type !== TPM_ALG_RSA || ecc.type !== TPM_ALG_ECC) {
    throw new TypeError('keys of the wrong kind');
  }
  const { nameAlg, objectAttributes, authPolicy } = rsa;
  const withScheme = (scheme: typeof rsa.parameters.scheme): TPMT_PUBLIC => ({
    ...rsa,
    parameters: { ...rsa.parameters, scheme },
  });

  it.each<[string, TPMT_PUBLIC, string]>([
    ['a null scheme', withScheme({ scheme: TPM_ALG_NULL }), 'UNSUITABLE_KEY'],
    ['a scheme that does not sign', withScheme({ scheme: TPM_ALG_OAEP, hashAlg: TPM_ALG_SHA256 }), 'UNSUITABLE_KEY'],
    ['an unknown hash', withScheme({ scheme: TPM_ALG_RSASSA, hashAlg: 0x0099 }), 'UNSUPPORTED_HASH'],
    [
      'an anonymous scheme',
      {
        ...ecc,
        parameters: { ...ecc.parameters, scheme: { scheme: TPM_ALG_ECDAA, hashAlg: TPM_ALG_SHA256, count: 0 } },
      },
      'UNSUITABLE_KEY',
    ],
    [
      'a keyed hash',
      {
        type: TPM_ALG_KEYEDHASH,
        nameAlg,
        objectAttributes,
        authPolicy,
        parameters: { scheme: TPM_ALG_NULL },
        unique: Buffer.alloc(32),
      },
      'UNSUITABLE_KEY',
    ],
  ])('refuses %s', (_name, publicArea, code) => {
    expect(() => signingKeyOf(publicArea)).toThrow(refused(code));
  });

  it('refuses a key of another type than the scheme', () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    expect(() => makeSigningKey(publicKey, TPM_ALG_RSASSA, TPM_ALG_SHA256)).toThrow(refused('UNSUITABLE_KEY'));
  });
});
