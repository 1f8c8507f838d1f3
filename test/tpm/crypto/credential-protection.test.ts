import { createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import { encode } from '../../../tpm/codec/structure.ts';
import { IDENTITY_LABEL, credentialProtection } from '../../../tpm/crypto/credential-protection.ts';
import { oaepEncrypt } from '../../../tpm/crypto/oaep.ts';
import { TPM2B_DIGEST } from '../../../tpm/structures/buffers.ts';
import { TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { TPM2B_ENCRYPTED_SECRET, TPM2B_ID_OBJECT } from '../../../tpm/structures/credential.ts';
import { conformancePath } from '../../support/data.ts';
import { makeEk } from '../../support/tpm-keys.ts';

// google/go-tpm (Apache-2.0). Its seed has the length of a cipher block and its random bytes are all zero.
const vectors = JSON.parse(readFileSync(conformancePath('derived', 'go-tpm-credactivation-vectors.json'), 'utf8')) as {
  readonly akNameDigestB64: string;
  readonly secretB64: string;
  readonly symBlockSize: number;
  readonly cases: readonly { readonly ekPem: string; readonly expectedB64: string }[];
};

describe('credential protection', () => {
  it('with a seed of 16 zero bytes makes the blob of go-tpm for an RSA EK', () => {
    const vector = vectors.cases.find(({ ekPem }) => createPublicKey(ekPem).asymmetricKeyType === 'rsa');
    const akName = Buffer.concat([Buffer.from('000b', 'hex'), Buffer.from(vectors.akNameDigestB64, 'base64')]);
    const seed = Buffer.alloc(vectors.symBlockSize);
    // Of the EK only nameAlg and cipher matter here.
    const ek = makeEk({ rsaBits: 2048 }, { nameAlg: TPM_ALG_SHA256, aesBits: 128 }).publicArea;
    const protection = credentialProtection(ek, seed, akName);
    const encIdentity = protection.encrypt(encode(TPM2B_DIGEST, Buffer.from(vectors.secretB64, 'base64')));
    const secret = oaepEncrypt(createPublicKey(vector?.ekPem ?? ''), seed, {
      hashAlg: TPM_ALG_SHA256,
      label: Buffer.from(`${IDENTITY_LABEL}\0`),
      random: (size) => Buffer.alloc(size),
    });
    const blob = Buffer.concat([
      encode(TPM2B_ID_OBJECT, { integrityHMAC: protection.integrity(encIdentity, akName), encIdentity }),
      encode(TPM2B_ENCRYPTED_SECRET, secret),
    ]);
    expect(blob.toString('base64')).toBe(vector?.expectedB64);
  });

  it('decrypts what it encrypted', () => {
    const ek = makeEk({ rsaBits: 2048 }, { nameAlg: TPM_ALG_SHA256, aesBits: 256 }).publicArea;
    const protection = credentialProtection(ek, Buffer.alloc(32, 1), Buffer.alloc(34, 2));
    const plain = Buffer.from('00044142434d', 'hex');
    expect(protection.encrypt(plain)).not.toEqual(plain);
    expect(protection.decrypt(protection.encrypt(plain))).toEqual(plain);
  });
});
