import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { makeCredential, makeCredentialAsync } from '../../../tpm/crypto/make-credential.ts';
import type { Credential } from '../../../tpm/crypto/make-credential.ts';
import { objectName } from '../../../tpm/crypto/name.ts';
import {
  TPM_ALG_CAMELLIA,
  TPM_ALG_CFB,
  TPM_ALG_NULL,
  TPM_ALG_SHA256,
  TPM_ALG_SHA384,
  TPM_ALG_SHA512,
  TPM_ECC_NIST_P256,
  TPM_ECC_NIST_P384,
  TPM_ECC_NIST_P521,
  algorithmName,
} from '../../../tpm/structures/constants.ts';
import { decodeSizedPublicArea } from '../../../tpm/structures/public-area.ts';
import type { EccPublic, RsaPublic, TPMT_PUBLIC } from '../../../tpm/structures/public-area.ts';
import { conformancePath } from '../../support/data.ts';
import { openCredential } from '../../support/open-credential.ts';
import { makeAk, makeEk } from '../../support/tpm-keys.ts';
import type { KeyKind } from '../../support/tpm-keys.ts';

// keylime (Apache-2.0), tpm_util_test.py; the framing is that of tpm2-tools' credential files.
interface Vector {
  readonly ekTpm2bPublicHex: string;
  readonly challengeHex: string;
  readonly akNameHex: string;
}
const vectors = JSON.parse(readFileSync(conformancePath('derived', 'keylime-tpm-util-vectors.json'), 'utf8')) as {
  readonly makeCredentialRsa: Vector & { readonly expectedFirst80BytesHex: string };
  readonly makeCredentialEcc: Vector & {
    readonly expectedHex: string;
    readonly ephemeralKey: { readonly priv: string };
  };
};

const subjectOf = (vector: Vector) => ({
  ek: decodeSizedPublicArea(Buffer.from(vector.ekTpm2bPublicHex, 'hex')),
  akName: Buffer.from(vector.akNameHex, 'hex'),
});
const credentialFile = ({ credentialBlob, encryptedSecret }: Credential): string =>
  `badcc0de00000001${credentialBlob.toString('hex')}${encryptedSecret.toString('hex')}`;

const KINDS: readonly (readonly [string, KeyKind])[] = [
  ['RSA-2048', { rsaBits: 2048 }],
  ['RSA-3072', { rsaBits: 3072 }],
  ['RSA-4096', { rsaBits: 4096 }],
  ['P-256', { curveID: TPM_ECC_NIST_P256 }],
  ['P-384', { curveID: TPM_ECC_NIST_P384 }],
  ['P-521', { curveID: TPM_ECC_NIST_P521 }],
];
const PARAMETERS = [TPM_ALG_SHA256, TPM_ALG_SHA384, TPM_ALG_SHA512].flatMap((nameAlg) =>
  [128, 256].map((aesBits) => ({ nameAlg, aesBits, label: `${algorithmName(nameAlg)} and AES-${aesBits}` })),
);

const P256: KeyKind = { curveID: TPM_ECC_NIST_P256 };
const ak = makeAk(P256, { hashAlg: TPM_ALG_SHA256 });
const akName = objectName(ak.publicArea);
const secret = randomBytes(32);
const random = randomBytes;

describe('makeCredential', () => {
  it('makes the blob that keylime makes for an RSA EK when every random byte is 0x12', () => {
    const vector = vectors.makeCredentialRsa;
    const challenge = Buffer.from(vector.challengeHex, 'hex');
    const credential = makeCredential(subjectOf(vector), challenge, { random: (size) => Buffer.alloc(size, 0x12) });
    expect(credentialFile(credential).slice(0, 160)).toBe(vector.expectedFirst80BytesHex);
  });

  it('makes the blob that keylime makes for an ECC EK with its ephemeral key', () => {
    const vector = vectors.makeCredentialEcc;
    const ephemeralPrivateKey = Buffer.from(BigInt(vector.ephemeralKey.priv).toString(16).padStart(64, '0'), 'hex');
    const challenge = Buffer.from(vector.challengeHex, 'hex');
    const credential = makeCredential(subjectOf(vector), challenge, { random, ephemeralPrivateKey });
    expect(credentialFile(credential)).toBe(vector.expectedHex);
  });

  describe.each(KINDS)('for an EK on %s', (_name, kind) => {
    it.each(PARAMETERS)('with $label makes what only that EK opens, for that name', async (parameters) => {
      const ek = makeEk(kind, parameters);
      const subject = { ek: ek.publicArea, akName };
      for (const credential of [
        makeCredential(subject, secret, { random }),
        await makeCredentialAsync(subject, secret, { random }),
      ]) {
        expect(openCredential(ek, akName, credential)).toEqual(secret);
        const otherName = Buffer.from(akName);
        otherName.writeUInt8(otherName.readUInt8(33) ^ 1, 33);
        expect(() => openCredential(ek, otherName, credential)).toThrow(
          expect.objectContaining({ code: 'CREDENTIAL_INTEGRITY' }),
        );
      }
    });
  });

  it('makes a credential that another EK does not open', () => {
    const parameters = { nameAlg: TPM_ALG_SHA256, aesBits: 128 };
    const [mine, other] = [makeEk(P256, parameters), makeEk(P256, parameters)];
    const credential = makeCredential({ ek: mine.publicArea, akName }, secret, { random });
    expect(() => openCredential(other, akName, credential)).toThrow(
      expect.objectContaining({ code: 'CREDENTIAL_INTEGRITY' }),
    );
  });

  it('makes a new secret exchange each time', () => {
    const ek = makeEk(P256, { nameAlg: TPM_ALG_SHA256, aesBits: 128 });
    const subject = { ek: ek.publicArea, akName };
    const [first, second] = [1, 2].map(() => makeCredential(subject, secret, { random }));
    expect(first?.encryptedSecret).not.toEqual(second?.encryptedSecret);
    expect(first?.credentialBlob).not.toEqual(second?.credentialBlob);
  });
});

const rsaEk = makeEk({ rsaBits: 2048 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }).publicArea as RsaPublic;
const eccEk = makeEk(P256, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }).publicArea as EccPublic;

const REFUSALS: readonly (readonly [string, TPMT_PUBLIC, Buffer, string])[] = [
  ['a secret longer than the name digest', rsaEk, Buffer.alloc(33), 'SECRET_SIZE'],
  ['an empty secret', rsaEk, Buffer.alloc(0), 'SECRET_SIZE'],
  ['an attestation key in the place of an EK', ak.publicArea, secret, 'UNSUITABLE_KEY'],
  ['a key that is not restricted', { ...rsaEk, objectAttributes: 0x000200b2 }, secret, 'UNSUITABLE_KEY'],
  ['an unknown nameAlg', { ...rsaEk, nameAlg: TPM_ALG_NULL }, secret, 'UNSUPPORTED_HASH'],
  [
    'an EK without a cipher',
    { ...rsaEk, parameters: { ...rsaEk.parameters, symmetric: { algorithm: TPM_ALG_NULL } } },
    secret,
    'UNSUPPORTED_SYMMETRIC',
  ],
  [
    'an EK with another cipher',
    {
      ...eccEk,
      parameters: { ...eccEk.parameters, symmetric: { algorithm: TPM_ALG_CAMELLIA, keyBits: 128, mode: TPM_ALG_CFB } },
    },
    secret,
    'UNSUPPORTED_SYMMETRIC',
  ],
  ['an even modulus', { ...rsaEk, unique: Buffer.alloc(256, 0xfe) }, secret, 'INVALID_KEY'],
  ['a modulus of another length', { ...rsaEk, unique: rsaEk.unique.subarray(1) }, secret, 'INVALID_KEY'],
  ['an unknown curve', { ...eccEk, parameters: { ...eccEk.parameters, curveID: 0x0010 } }, secret, 'UNSUPPORTED_CURVE'],
  ['a point off the curve', { ...eccEk, unique: { x: eccEk.unique.y, y: eccEk.unique.x } }, secret, 'INVALID_POINT'],
  [
    'a point without coordinates',
    { ...eccEk, unique: { x: Buffer.alloc(0), y: Buffer.alloc(0) } },
    secret,
    'INVALID_POINT',
  ],
];

describe.each([
  ['makeCredential', async (ek: TPMT_PUBLIC, value: Buffer) => makeCredential({ ek, akName }, value, { random })],
  ['makeCredentialAsync', (ek: TPMT_PUBLIC, value: Buffer) => makeCredentialAsync({ ek, akName }, value, { random })],
] as const)('%s', (_name, make) => {
  it.each(REFUSALS)('refuses %s', async (_case, ek, value, code) => {
    await expect(make(ek, value)).rejects.toThrow(expect.objectContaining({ code }));
  });
});
