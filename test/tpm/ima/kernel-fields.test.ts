import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import { ImaKeyring } from '../../../tpm/ima/keyring.ts';
import { kernelList, kernelSigner } from '../../support/kernel-lists.ts';
import {
  counted,
  examined,
  fail,
  flipped,
  keyring,
  measurementOf,
  named,
  replayed,
  signerOf,
  STRIDE,
} from './kernel-entries.ts';
import { readAll } from './read-entries.ts';

/** What entries of real kernels say: each template has non-empty fields of its own kind. */

/** What became of each signature, by the name of the file. */
function signaturesOf(scene: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    examined(scene).flatMap((entry) => {
      const { signature } = entry;
      const { name } = measurementOf(entry);
      if (signature.kind === 'none') return [];
      const told =
        signature.kind === 'valid'
          ? `${signature.source} ${signerOf(signature.key)}`
          : signature.kind === 'invalid'
            ? `${signature.source} ${signature.fault}`
            : signature.kind;
      return [[basename(name), told]];
    }),
  );
}

const RSA = 'ima signer-rsa';
const SIGNED = {
  'signer-rsa.sh': RSA,
  'signer-p256.sh': 'ima signer-p256',
  'signer-p384.sh': 'ima signer-p384',
  'changed.sh': 'ima VALUE_WRONG',
};

describe('file signatures in lists of kernels', () => {
  test.each([
    ['distribution-sigv2', { ...SIGNED, 'evm-signature.sh': RSA, 'evm-hash.sh': 'unsupported', 'verity-signed': RSA }],
    [
      // Its policy measured the file itself, which the signature is not of.
      'distribution-custom',
      { ...SIGNED, 'evm-signature.sh': RSA, 'evm-hash.sh': 'unsupported', 'verity-signed': 'ima DIGEST_KIND_MISMATCH' },
    ],
    [
      'distribution-evm-sig',
      {
        ...SIGNED,
        'evm-signature.sh': 'evm signer-rsa',
        'evm-hash.sh': 'evm signer-rsa',
        'verity-signed': 'ima VALUE_WRONG',
      },
    ],
    [
      'minimal-modsig',
      {
        ...SIGNED,
        'measured.ko': 'modsig signer-rsa',
        'vmlinuz-signed': 'modsig signer-rsa',
        'evm-signature.sh': RSA,
        'evm-hash.sh': 'unsupported',
        'verity-signed': RSA,
      },
    ],
    ['distribution-ngv2', {}],
    ['distribution-ima', {}],
  ])('are worth in %s what they are', (scene, expected) => {
    expect(signaturesOf(scene)).toEqual(expected);
  });

  test.each(['distribution-sigv2', 'distribution-custom', 'distribution-evm-sig', 'minimal-modsig'])(
    'in %s are valid no more with a byte of signature or digest changed',
    (scene) => {
      const list = kernelList(scene);
      const signed = examined(scene).filter(({ signature }) => signature.kind === 'valid');
      expect(signed.length).toBeGreaterThan(3);
      for (const { entry, signature, measurement } of signed) {
        const { digest, signature: listed, evmSignature, xattrs = [], modsig, modsigDigest } = measurement ?? fail();
        const start = list.indexOf(entry.data);
        // An appended signature is over the file without it, and its value ends the message.
        const signed = modsigDigest ?? digest;
        const parts = [signed.value, listed, evmSignature, modsig?.subarray(-256), ...xattrs.map(({ value }) => value)];
        for (const part of parts) {
          const from = start + entry.data.indexOf(part ?? '');
          for (let at = from; at < from + (part?.length ?? 0); at += STRIDE) {
            const changed = readAll(flipped(list, at))[entry.index] ?? fail();
            // Where the key of EVM is another, the signature of the file itself still is one.
            const { signature: told } = examineEntry(changed, keyring);
            expect([at, told]).not.toEqual([at, signature]);
          }
        }
      }
    },
  );
});

test('a kernel with another hash lists signed files by the hash of their signatures', () => {
  const hashes = examined('minimal-sha512').map((entry) => [
    basename(measurementOf(entry).name),
    measurementOf(entry).digest.algorithm,
  ]);
  expect(Object.fromEntries(hashes)).toMatchObject({
    boot_aggregate: 'sha512',
    'unsigned.sh': 'sha512',
    'signer-rsa.sh': 'sha256',
  });
  expect(signaturesOf('minimal-sha512')).toMatchObject(SIGNED);
});

describe('fields of the newer templates', () => {
  test('d-ngv2 tells a digest of fs-verity from one of the file', () => {
    for (const scene of ['distribution-ngv2', 'distribution-sigv2']) {
      const of = Object.fromEntries(
        examined(scene).map((entry) => [measurementOf(entry).name, measurementOf(entry).digest.of]),
      );
      expect(of).toMatchObject({
        '/files/verity': 'verity',
        '/files/verity-signed': 'verity',
        '/files/unsigned.sh': 'file',
      });
    }
  });

  test('evm-sig has owner, mode and the attributes', () => {
    const [entry] = named('distribution-evm-sig', '/files/evm-hash.sh');
    const { uid, gid, mode, xattrs, evmSignature } = measurementOf(entry ?? fail());
    expect({ uid, gid, mode }).toEqual({ uid: 0, gid: 0, mode: 0o100755 });
    expect(xattrs?.map(({ name, value }) => [name, value[0]])).toEqual([['security.ima', 4]]);
    expect(evmSignature?.[0]).toBe(5);
    const [verity] = named('distribution-evm-sig', '/files/verity');
    expect(measurementOf(verity ?? fail())).toMatchObject({ uid: 1000, gid: 1000, xattrs: [] });
  });
});

describe('buffers that kernels measured', () => {
  test('are states of the security module', () => {
    const buffers = examined('distribution-selinux').flatMap(({ buffer }) => (buffer === undefined ? [] : [buffer]));
    const states = buffers.filter(({ kind }) => kind === 'securityModule').map(({ bytes }) => bytes.toString('latin1'));
    expect(states.map((state) => state.slice(0, 26))).toEqual([
      'initialized=0;enforcing=1;',
      'initialized=0;enforcing=0;',
    ]);
  });

  test('are keys of keyrings, tables of the device mapper and the version of the kernel', () => {
    const buffers = examined('minimal-keys').flatMap(({ buffer }) => (buffer === undefined ? [] : [buffer]));
    expect(buffers.map(({ kind, name }) => [kind, name])).toEqual([
      ['kernel', 'kernel_version'],
      ['keyring', '.builtin_trusted_keys'],
      ['keyring', '.ima'],
      ['keyring', '.ima'],
      ['deviceMapper', 'dm_table_load'],
      ['deviceMapper', 'dm_device_resume'],
      ['deviceMapper', 'dm_device_remove'],
    ]);
    expect(buffers[0]?.bytes.toString('latin1')).toBe('6.12.117-lists');
    expect(buffers[4]?.bytes.toString('latin1')).toContain('target_name=linear');
  });

  test('hold the keys that were added to .ima, which verify what was signed by them', () => {
    const learned = examined('minimal-keys').flatMap(({ learnedKey }) =>
      learnedKey === undefined ? [] : [learnedKey],
    );
    expect(learned.map(({ keyring: name, key }) => [name, signerOf(key)])).toEqual([
      ['.builtin_trusted_keys', 'nobody'],
      ['.ima', 'signer-p256'],
      ['.ima', 'signer-rsa'],
    ]);
    expect(learned[0]?.key.fingerprint).toBe(kernelSigner('authority').fingerprint);
    const ring = new ImaKeyring(learned.filter(({ keyring: name }) => name === '.ima').map(({ key }) => key));
    const kinds = replayed('minimal-modsig').map((entry) => examineEntry(entry, ring).signature.kind);
    expect(counted(kinds)).toEqual({ valid: 6, invalid: 1, unknownKey: 1, unsupported: 1, none: 12 });
  });
});
