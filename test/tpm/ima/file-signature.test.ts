import { createHash, generateKeyPairSync, hash, sign } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { ImaDigest } from '../../../tpm/ima/fields.ts';
import { checkFileSignature } from '../../../tpm/ima/file-signature.ts';
import { imaHashByName } from '../../../tpm/ima/hash-names.ts';
import { ImaKeyring, readImaKey } from '../../../tpm/ima/keyring.ts';
import { combineResults } from '../../../tpm/ima/signature-result.ts';
import type { ImaSignatureResult, SignatureFault } from '../../../tpm/ima/signature-result.ts';
import { ecSigner, rsaSigner, signMessage, signV2, signV3, withHeader } from './signing.ts';
import type { HashName, HeaderPlan, Signer } from './signing.ts';

const content = 'the bytes of a file';

function digestOf(algorithm: HashName, of: ImaDigest['of'] = 'untold'): ImaDigest {
  return { algorithm, hash: imaHashByName(algorithm), of, value: hash(algorithm, content, 'buffer') };
}

const signers = [
  rsaSigner(2048),
  rsaSigner(3072),
  rsaSigner(1024),
  ...(['P-256', 'P-384', 'P-521', 'secp256k1'] as const).map(ecSigner),
];
const keyring = new ImaKeyring(signers.map(({ key }) => key));
const algorithms = ['sha1', 'sha224', 'sha256', 'sha384', 'sha512'] as const;
const [rsa = rsaSigner()] = signers;
const p256 = signers[3] ?? rsa;

function fault(result: ImaSignatureResult): string {
  return result.kind === 'invalid' ? result.fault : result.kind;
}

describe('signatures under keys that none is tried under', () => {
  const digest = digestOf('sha256');
  const { untried } = keyring;

  test.each([
    ['a valid one', signV2(rsa, 'sha256', digest.value), 'UNTRIED'],
    ['one of version 3', signV3(p256, 'sha256', digest.value, { type: 3 }), 'UNTRIED'],
    ['one of another file', signV2(rsa, 'sha256', hash('sha256', 'other', 'buffer')), 'UNTRIED'],
    ['one of an unknown key', signV2(ecSigner('P-256'), 'sha256', digest.value), 'unknownKey'],
    ['one of another hash', signV2(rsa, 'sha1', hash('sha1', content, 'buffer')), 'HASH_MISMATCH'],
    ['half a one', signV2(rsa, 'sha256', digest.value).subarray(0, 5), 'TRUNCATED'],
    ['none', Buffer.alloc(0), 'none'],
  ])('%s is told without a trial', (_, signature, expected) => {
    expect(fault(checkFileSignature(signature, digest, untried))).toBe(expected);
    expect(untried.untried).toBe(untried);
  });
});

describe.each(signers.map((signer) => [signer.name, signer] as const))('signatures of a %s key', (_, signer) => {
  test.each(algorithms.map((algorithm) => [algorithm]))(
    'over a %s digest are valid in versions 2 and 3',
    (algorithm) => {
      const digest = digestOf(algorithm);
      for (const signature of [
        signV2(signer, algorithm, digest.value),
        signV3(signer, algorithm, digest.value, { type: 6 }),
        signV3(signer, algorithm, digest.value, { type: 3 }),
      ]) {
        expect(checkFileSignature(signature, digest, keyring)).toEqual({
          kind: 'valid',
          source: 'ima',
          key: signer.key,
        });
      }
    },
  );

  test.each(algorithms.map((algorithm) => [algorithm]))(
    'that node makes over the file itself with %s are valid',
    (algorithm) => {
      const signature = withHeader(signer, algorithm, signMessage(signer, algorithm, Buffer.from(content)));
      expect(checkFileSignature(signature, digestOf(algorithm), keyring).kind).toBe('valid');
    },
  );

  test('are of that key, file and hash alone', () => {
    const digest = digestOf('sha256');
    const signature = signV2(signer, 'sha256', digest.value);
    const others = new ImaKeyring(keyring.keys.filter((key) => key !== signer.key));
    expect(checkFileSignature(signature, digest, others).kind).toBe('unknownKey');
    const changed = { ...digest, value: createHash('sha256').update('another').digest() };
    expect(fault(checkFileSignature(signature, changed, keyring))).toBe('VALUE_WRONG');
    expect(fault(checkFileSignature(signature, digestOf('sha384'), keyring))).toBe('HASH_MISMATCH');
  });

  test('are never valid with a byte changed', () => {
    const digest = digestOf('sha256');
    const signature = signV2(signer, 'sha256', digest.value);
    for (let at = 0; at < signature.length; at += at < 20 ? 1 : 7) {
      for (const bit of [1, 0x80]) {
        const flipped = Buffer.from(signature);
        flipped.writeUInt8((signature[at] ?? 0) ^ bit, at);
        expect(checkFileSignature(flipped, digest, keyring).kind).not.toBe('valid');
      }
    }
    for (let length = 1; length < signature.length; length += 5) {
      expect(checkFileSignature(signature.subarray(0, length), digest, keyring).kind).not.toBe('valid');
    }
  });

  test('of one version are not valid as the other', () => {
    const digest = digestOf('sha256');
    const v3 = signV3(signer, 'sha256', digest.value, { type: 3 });
    v3.writeUInt8(2, 1);
    expect(fault(checkFileSignature(v3, digest, keyring))).toBe('VALUE_WRONG');
    const v2 = signV2(signer, 'sha256', digest.value);
    v2.writeUInt8(3, 1);
    expect(fault(checkFileSignature(v2, digest, keyring))).toBe('VALUE_WRONG');
  });
});

describe('ML-DSA keys', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ml-dsa-65');
  const key = readImaKey(publicKey.export({ type: 'spki', format: 'der' }));
  const signer: Signer = { ...rsa, name: 'ML-DSA-65', key, privateKey };
  const digest = digestOf('sha512');
  const fileId = Buffer.concat([Buffer.from([6, 6]), digest.value]);
  const ring = new ImaKeyring([key]);

  test('sign the structure of version 3 itself', () => {
    const signature = withHeader(signer, 'sha512', sign(null, fileId, privateKey), { type: 6, version: 3 });
    expect(checkFileSignature(signature, digest, ring)).toEqual({ kind: 'valid', source: 'ima', key });
    signature.writeUInt8((signature.at(-1) ?? 0) ^ 1, signature.length - 1);
    expect(fault(checkFileSignature(signature, digest, ring))).toBe('VALUE_WRONG');
    const short = withHeader(signer, 'sha512', Buffer.alloc(10), { type: 6, version: 3 });
    expect(fault(checkFileSignature(short, digest, ring))).toBe('VALUE_WRONG');
  });

  test('have no signatures of version 2', () => {
    const signature = withHeader(signer, 'sha512', sign(null, digest.value, privateKey));
    expect(fault(checkFileSignature(signature, digest, ring))).toBe('VALUE_WRONG');
  });
});

describe('the header', () => {
  const digest = digestOf('sha256');
  const signed = (plan: HeaderPlan, signer: Signer = rsa): Buffer => signV2(signer, 'sha256', digest.value, plan);

  test.each<[string, Buffer, SignatureFault | 'unsupported' | 'none']>([
    ['absent', Buffer.alloc(0), 'none'],
    ['of one byte', Buffer.from([3]), 'VERSION_UNKNOWN'],
    ['without a signature', signed({}).subarray(0, 9), 'TRUNCATED'],
    ['with a size too large', signed({ size: 257 }), 'SIZE_MISMATCH'],
    ['with a size too small', signed({ size: 255 }), 'SIZE_MISMATCH'],
    ['of a digest attribute', signed({ type: 4 }), 'TYPE_UNKNOWN'],
    ['of an HMAC', signed({ type: 2 }), 'TYPE_UNKNOWN'],
    ['of version 1', signed({ version: 1 }), 'unsupported'],
    ['of version 4', signed({ version: 4 }), 'VERSION_UNKNOWN'],
    ['of fs-verity in version 2', signed({ type: 6 }), 'VERSION_UNKNOWN'],
    ['of a hash that does not exist', signed({ hashId: 99 }), 'HASH_UNKNOWN'],
    ['of Streebog', signed({ hashId: 18 }), 'unsupported'],
    ['of another hash than the digest', signed({ hashId: 5 }), 'HASH_MISMATCH'],
    ['of a portable EVM signature', signed({ type: 5 }), 'unsupported'],
  ])('%s is told for what it is, whether the key is known or not', (_, signature, expected) => {
    expect(fault(checkFileSignature(signature, digest, keyring))).toBe(expected);
    expect(fault(checkFileSignature(signature, digest, new ImaKeyring([])))).toBe(expected);
  });

  test('names the key that is missing', () => {
    const result = checkFileSignature(signed({ keyId: Buffer.from('cafe0001', 'hex') }), digest, keyring);
    expect(result).toEqual({ kind: 'unknownKey', source: 'ima', keyId: 'cafe0001' });
  });

  test('that names another known key makes the signature invalid', () => {
    const keyId = Buffer.from(p256.key.identifiers[0]?.slice(-8) ?? '', 'hex');
    expect(fault(checkFileSignature(signed({ keyId }), digest, keyring))).toBe('VALUE_WRONG');
  });

  test('finds the right one of two keys with the same id', () => {
    const impostor = { ...p256.key, identifiers: rsa.key.identifiers };
    const shared = new ImaKeyring([impostor, rsa.key]);
    expect(checkFileSignature(signed({}), digest, shared)).toMatchObject({ kind: 'valid', key: rsa.key });
  });
});

describe('kinds of digests', () => {
  test('fs-verity digests have signatures of their type alone', () => {
    const verity = digestOf('sha256', 'verity');
    const file = digestOf('sha256', 'file');
    const { value } = verity;
    expect(checkFileSignature(signV3(rsa, 'sha256', value), verity, keyring).kind).toBe('valid');
    expect(fault(checkFileSignature(signV3(rsa, 'sha256', value), file, keyring))).toBe('DIGEST_KIND_MISMATCH');
    expect(fault(checkFileSignature(signV2(rsa, 'sha256', value), verity, keyring))).toBe('DIGEST_KIND_MISMATCH');
    expect(checkFileSignature(signV2(rsa, 'sha256', value), file, keyring).kind).toBe('valid');
    expect(fault(checkFileSignature(signV3(rsa, 'sha256', value, { type: 3 }), verity, keyring))).toBe(
      'DIGEST_KIND_MISMATCH',
    );
  });

  test('a type that was exchanged does not verify', () => {
    const digest = digestOf('sha256');
    const signature = signV3(rsa, 'sha256', digest.value, { type: 6 });
    signature.writeUInt8(3, 0);
    expect(fault(checkFileSignature(signature, digest, keyring))).toBe('VALUE_WRONG');
  });

  test('a digest of an unknown hash matches no signature', () => {
    const digest: ImaDigest = { algorithm: 'unknown', hash: undefined, of: 'untold', value: Buffer.alloc(32) };
    expect(fault(checkFileSignature(signV2(rsa, 'sha256', Buffer.alloc(32)), digest, keyring))).toBe('HASH_MISMATCH');
  });
});

test('of several results the one that must not be overlooked counts', () => {
  const valid: ImaSignatureResult = { kind: 'valid', source: 'ima', key: rsa.key };
  const invalid: ImaSignatureResult = { kind: 'invalid', source: 'evm', fault: 'VALUE_WRONG' };
  const unknown: ImaSignatureResult = { kind: 'unknownKey', source: 'modsig', keyId: '00' };
  const none: ImaSignatureResult = { kind: 'none' };
  expect(combineResults([none, valid, invalid])).toBe(invalid);
  expect(combineResults([none, unknown, valid])).toBe(valid);
  expect(combineResults([none, unknown])).toBe(unknown);
  expect(combineResults([])).toEqual(none);
});
