import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';

import { findAttributeFaults, findHashFaults, findKeyFaults } from '../../../tpm/crypto/ak-rules.ts';
import { TPM_ALG_NULL, TPM_ALG_SHA1, TPM_ALG_SHA384 } from '../../../tpm/structures/constants.ts';
import { rocaSpki } from '../../support/test-ek-pki.ts';

const codes = (faults: readonly { readonly code: string }[]): readonly string[] => faults.map(({ code }) => code);

describe('the rules of an attestation key', () => {
  it('name every attribute that is not as it must be', () => {
    expect(codes(findAttributeFaults(0))).toEqual([
      'AK_NOT_RESTRICTED',
      'AK_NOT_SIGNING',
      'AK_NOT_FIXED_TPM',
      'AK_NOT_FIXED_PARENT',
      'AK_NOT_GENERATED_IN_TPM',
    ]);
    // fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign; with noDA as others make them.
    for (const attributes of [0x50072, 0x50472]) expect(findAttributeFaults(attributes)).toEqual([]);
    expect(codes(findAttributeFaults(0x70072))).toEqual(['AK_DECRYPTS']);
  });

  it('ask for a strong hash', () => {
    expect(findHashFaults(TPM_ALG_SHA384, 'signs with')).toEqual([]);
    expect(codes(findHashFaults(TPM_ALG_SHA1, 'signs with'))).toEqual(['AK_HASH_WEAK']);
    expect(codes(findHashFaults(TPM_ALG_NULL, 'signs with'))).toEqual(['AK_HASH_WEAK']);
  });

  const rsa = (modulusLength: number, publicExponent = 65537) =>
    generateKeyPairSync('rsa', { modulusLength, publicExponent }).publicKey;
  const ec = (namedCurve: string) => generateKeyPairSync('ec', { namedCurve }).publicKey;

  it.each([
    ['RSA of 1024 bits', () => rsa(1024), 'the key has 1024 bits'],
    ['the exponent 3', () => rsa(2048, 3), 'the exponent 3'],
    ['the fingerprint of ROCA', () => createPublicKey({ key: rocaSpki(), format: 'der', type: 'spki' }), 'CVE-2017'],
    ['a curve of another kind', () => ec('secp256k1'), 'secp256k1'],
  ])('take no key with %s', (_name, make, message) => {
    expect(findKeyFaults(make())).toEqual([
      { code: 'AK_KEY_WEAK', message: expect.stringContaining(message) as string },
    ]);
  });

  it('take no key that signs otherwise', () => {
    expect(codes(findKeyFaults(generateKeyPairSync('ed25519').publicKey))).toEqual(['AK_SCHEME_UNSUPPORTED']);
  });

  it('take sound keys', () => {
    for (const key of [rsa(2048), ec('prime256v1'), ec('secp384r1'), ec('secp521r1')]) {
      expect(findKeyFaults(key)).toEqual([]);
    }
  });
});
