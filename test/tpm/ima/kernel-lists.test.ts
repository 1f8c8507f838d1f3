import { describe, expect, test } from 'vitest';
import { parseImaAscii } from '../../../tpm/ima/ascii.ts';
import { bootAggregatesOf, checkBootAggregate, isBootAggregate } from '../../../tpm/ima/boot-aggregate.ts';
import { encodeImaList } from '../../../tpm/ima/encode.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import type { ImaExtendMode } from '../../../tpm/ima/pcr-chain.ts';
import { replayImaList } from '../../../tpm/ima/replay.ts';
import { kernelFile, kernelList, kernelPcrs, kernelTarget } from '../../support/kernel-lists.ts';
import { counted, examined, fail, flipped, keyring, measurementOf, replayed, STRIDE } from './kernel-entries.ts';

/** Lists of real kernels against what their TPMs held. */

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
    scene: 'minimal-kexec-silent',
    entries: 27,
    templates: { 'ima-sig': 27 },
    modes: MINIMAL,
    aggregate: 'sha256 PCR0-9',
    violations: 0,
  },
  {
    scene: 'minimal-kexec-late/before',
    entries: 63,
    templates: { 'ima-sig': 63 },
    modes: MINIMAL,
    aggregate: 'sha256 PCR0-9',
    violations: 0,
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
