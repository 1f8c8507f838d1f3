import { basename } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseImaAscii } from '../../../tpm/ima/ascii.ts';
import { bootAggregatesOf, checkBootAggregate, isBootAggregate } from '../../../tpm/ima/boot-aggregate.ts';
import { encodeImaList } from '../../../tpm/ima/encode.ts';
import type { ImaEntry } from '../../../tpm/ima/entry.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../../tpm/ima/examine.ts';
import type { ImaMeasurement } from '../../../tpm/ima/fields.ts';
import { ImaKeyring } from '../../../tpm/ima/keyring.ts';
import type { ImaKey } from '../../../tpm/ima/keyring.ts';
import type { ImaExtendMode } from '../../../tpm/ima/pcr-chain.ts';
import { replayImaList } from '../../../tpm/ima/replay.ts';
import { readAll } from './read-entries.ts';
import { kernelFile, kernelList, kernelPcrs, kernelSigner, kernelTarget } from '../../support/kernel-lists.ts';

/** Lists of real kernels, with non-empty fields of every kind that a template has. */

const signers = (['signer-rsa', 'signer-p256', 'signer-p384'] as const).map(
  (name) => [name, kernelSigner(name)] as const,
);
const keyring = new ImaKeyring(signers.map(([, key]) => key));
const signerOf = ({ fingerprint }: ImaKey): string =>
  signers.find(([, key]) => key.fingerprint === fingerprint)?.[0] ?? 'nobody';

function replayed(scene: string): readonly ImaEntry[] {
  const outcome = replayImaList(kernelList(scene), { target: kernelTarget(scene) });
  if (outcome.kind !== 'matched') throw new Error(`${scene}: ${outcome.findings[0]?.message ?? ''}`);
  return outcome.entries;
}

function examined(scene: string): readonly ExaminedEntry[] {
  return replayed(scene).map((entry) => examineEntry(entry, keyring));
}

function fail(): never {
  throw new Error('no such entry');
}

function measurementOf({ measurement }: ExaminedEntry): ImaMeasurement {
  return measurement ?? fail();
}

/** The measurements of one name. */
function named(scene: string, name: string): readonly ExaminedEntry[] {
  return examined(scene).filter(({ measurement }) => measurement?.name === name);
}

const OWN: readonly ImaExtendMode[] = ['bankHash'];
const PADDED: readonly ImaExtendMode[] = ['paddedSha1', 'paddedViolations'];
/** With a violation in the list the two differ. */
const PADDED_NEW: readonly ImaExtendMode[] = ['paddedSha1'];

interface Expected {
  readonly scene: string;
  readonly entries: number;
  readonly templates: Readonly<Record<string, number>>;
  /** Of the list that its PCRs are of. */
  readonly modes: Readonly<Record<string, readonly ImaExtendMode[]>>;
  readonly aggregate: 'sha1 PCR0-7' | 'sha256 PCR0-9' | 'sha512 PCR0-9';
  readonly violations: number;
}

const DISTRIBUTION = { sha1: OWN, sha256: OWN, sha384: PADDED };
/** It has the hashes when it starts. */
const MINIMAL = { sha1: OWN, sha256: OWN, sha384: OWN };
const WITH_VIOLATIONS = { ...DISTRIBUTION, sha384: PADDED_NEW };

const lists: readonly Expected[] = [
  {
    scene: 'distribution-ima',
    entries: 15,
    templates: { ima: 15 },
    modes: WITH_VIOLATIONS,
    aggregate: 'sha1 PCR0-7',
    violations: 2,
  },
  {
    scene: 'distribution-ngv2',
    entries: 14,
    templates: { 'ima-ngv2': 14 },
    modes: DISTRIBUTION,
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'distribution-sigv2',
    entries: 16,
    templates: { 'ima-sigv2': 16 },
    modes: { ...WITH_VIOLATIONS, sha512: PADDED_NEW },
    aggregate: 'sha256 PCR0-9',
    violations: 2,
  },
  {
    scene: 'distribution-evm-sig',
    entries: 13,
    templates: { 'evm-sig': 13 },
    modes: DISTRIBUTION,
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'distribution-custom',
    entries: 13,
    templates: { 'd-ngv2|n-ng|sig|iuid|igid|imode': 13 },
    modes: { sha256: OWN },
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'distribution-kexec/before',
    entries: 17,
    templates: { 'ima-sig': 15, 'ima-buf': 2 },
    modes: DISTRIBUTION,
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'distribution-selinux',
    entries: 16,
    templates: { 'ima-sig': 13, 'ima-buf': 3 },
    modes: { sha256: OWN },
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'minimal-modsig',
    entries: 21,
    templates: { 'ima-sigv2': 17, 'ima-buf': 2, 'ima-modsig': 2 },
    modes: { ...MINIMAL, sha512: OWN },
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'minimal-sha512',
    entries: 15,
    templates: { 'ima-sig': 15 },
    modes: { sha512: OWN },
    aggregate: 'sha512 PCR0-9',
    violations: 2,
  },
  {
    scene: 'minimal-keys',
    entries: 22,
    templates: { 'ima-sig': 15, 'ima-buf': 7 },
    modes: MINIMAL,
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'minimal-kexec',
    entries: 38,
    templates: { 'ima-sig': 32, 'ima-buf': 6 },
    modes: MINIMAL,
    aggregate: 'sha256 PCR0-9',
    violations: 2,
  },
  {
    scene: 'minimal-kexec-other-template',
    entries: 27,
    templates: { 'ima-sig': 14, 'ima-ngv2': 13 },
    modes: MINIMAL,
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
];

/** Every byte would take a minute on a busy machine; lengths of fields are no multiples of it. */
const STRIDE = 7;

function flipped(list: Buffer, at: number): Buffer {
  const changed = Buffer.from(list);
  changed[at] = (changed[at] ?? 0) ^ 0x40;
  return changed;
}

function counted(names: readonly string[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

describe.each(lists)('the list of $scene', (expected) => {
  const { scene } = expected;

  test('yields PCR 10 as the TPM had it, in every bank, with the template hashes that it claims', () => {
    const outcome = replayImaList(kernelList(scene), { target: kernelTarget(scene) });
    if (outcome.kind !== 'matched') throw new Error(outcome.kind);
    expect(outcome.findings).toEqual([]);
    expect(outcome.waitingBytes).toBe(0);
    expect(Object.fromEntries(outcome.checkpoint.pcrs.map(({ bank, modes }) => [bank.name, modes]))).toEqual(
      expected.modes,
    );
    expect(counted(outcome.entries.map(({ template }) => template.name))).toEqual(expected.templates);
    expect(outcome.entries).toHaveLength(expected.entries);
    expect(outcome.entries.filter(({ isViolation }) => isViolation)).toHaveLength(expected.violations);
    expect(encodeImaList(outcome.entries)).toEqual(kernelList(scene));
  });

  test('yields no PCR 10 with a byte of what was measured changed', () => {
    const list = kernelList(scene);
    const target = kernelTarget(scene);
    // Of a violation nothing was hashed.
    for (const { data, isViolation, index } of replayed(scene)) {
      const start = isViolation ? -1 : list.indexOf(data);
      for (let at = start; !isViolation && at < start + data.length; at += STRIDE) {
        const outcome = replayImaList(flipped(list, at), { target });
        expect([index, at, outcome.kind]).toEqual([index, at, 'incomplete']);
      }
    }
  });

  test('began in this boot', () => {
    const [first = fail()] = examined(scene);
    const check = checkBootAggregate(first.entry, measurementOf(first).digest, bootAggregatesOf(kernelPcrs(scene)));
    expect(check.kind === 'matched' ? `${check.algorithm} ${check.variant}` : check).toBe(expected.aggregate);
  });

  test('is the same in ASCII', () => {
    const { entries, findings } = parseImaAscii(kernelFile(scene, 'ascii_runtime_measurements').toString('latin1'));
    expect(findings).toEqual([]);
    expect(encodeImaList(entries)).toEqual(kernelList(scene));
  });
});

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
    60_000,
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

describe('a kernel that was started by kexec and carries no list over', () => {
  test('has a list that does not yield PCR 10, nor does the one before it', () => {
    const target = kernelTarget('distribution-kexec');
    for (const scene of ['distribution-kexec', 'distribution-kexec/before']) {
      const outcome = replayImaList(kernelList(scene), { target });
      expect(outcome).toMatchObject({ kind: 'incomplete', findings: [{ code: 'IMA_LOG_INCOMPLETE' }] });
    }
    // Both together do: it went on where the other had left the PCR.
    const both = Buffer.concat(['distribution-kexec/before', 'distribution-kexec'].map(kernelList));
    const outcome = replayImaList(both, { target });
    if (outcome.kind !== 'matched') throw new Error(outcome.kind);
    const codes = outcome.entries.flatMap((entry) => examineEntry(entry, keyring).findings).map(({ code }) => code);
    expect(codes).toEqual(expect.arrayContaining(['IMA_KEXEC', 'IMA_BOOT_AGGREGATE_REPEATED']));
  });
});

describe('a kernel that was started by kexec with the list carried over', () => {
  test.each([
    ['minimal-kexec', ['IMA_KEXEC', 'IMA_BOOT_AGGREGATE_REPEATED']],
    // Its policy measures nothing of kexec.
    ['minimal-kexec-silent', ['IMA_BOOT_AGGREGATE_REPEATED']],
    ['minimal-kexec-other-template', ['IMA_BOOT_AGGREGATE_REPEATED']],
  ])('%s goes on with list and PCR, and shows by another boot_aggregate', (scene, expected) => {
    const before = kernelList(`${scene}/before`);
    const list = kernelList(scene);
    expect(list.subarray(0, before.length)).toEqual(before);
    const first = replayImaList(before, { target: kernelTarget(`${scene}/before`) });
    if (first.kind !== 'matched') throw new Error(first.kind);
    const { checkpoint } = first;
    const tail = list.subarray(checkpoint.offset);
    const second = replayImaList(tail, { target: kernelTarget(scene), checkpoint });
    if (second.kind !== 'matched') throw new Error(second.kind);
    expect([second.findings, second.waitingBytes]).toEqual([[], 0]);
    const all = examined(scene);
    const aggregates = all.filter(({ measurement }) => measurement !== undefined && isBootAggregate(measurement));
    expect(aggregates.map(({ entry }) => entry.index)).toEqual([0, checkpoint.entries]);
    const [one, other] = aggregates.map((entry) => measurementOf(entry).digest.value);
    expect(other).toEqual(one);
    const codes = all.flatMap(({ findings }) => findings).map(({ code }) => code);
    expect([...new Set(codes)].filter((code) => /KEXEC|AGGREGATE/.test(code))).toEqual(expected);
  });

  test('has a list that does not yield PCR 10 where much was measured after the kernel was loaded', () => {
    const outcome = replayImaList(kernelList('minimal-kexec-late'), { target: kernelTarget('minimal-kexec-late') });
    expect(outcome).toMatchObject({ kind: 'incomplete', findings: [{ code: 'IMA_LOG_INCOMPLETE' }] });
  });
});
