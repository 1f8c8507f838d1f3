import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parsePcrFile } from '../../../client/inspect/eventlog-input.ts';
import { inspectIma } from '../../../client/inspect/ima.ts';
import { ImaKeyring, readImaKeys } from '../../../tpm/ima/keyring.ts';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { kernelFile, kernelPcrs, kernelSigner } from '../../support/kernel-lists.ts';
import { digestField, fileEntries, makeList, nameField } from '../../tpm/ima/list-builder.ts';
import type { EntryPlan } from '../../tpm/ima/list-builder.ts';
import { ecSigner, rsaSigner, signV2, signV3 } from '../../tpm/ima/signing.ts';

const empty = new ImaKeyring([]);
const digest = hash('sha256', 'content', 'buffer');

describe('a list of many kinds of entries', () => {
  const [rsa, ec, stranger] = [rsaSigner(), ecSigner('P-256'), ecSigner('P-384')];
  const keyring = new ImaKeyring([rsa.key, ec.key]);
  const plans: readonly EntryPlan[] = [
    { template: 'ima-ngv2', fields: [digestField('ima:sha256', Buffer.alloc(32, 1)), nameField('boot_aggregate')] },
    {
      template: 'ima-sigv2',
      fields: [digestField('ima:sha256', digest), nameField('/usr/bin/a'), signV2(rsa, 'sha256', digest)],
    },
    {
      template: 'ima-sigv2',
      fields: [digestField('verity:sha256', digest), nameField('/usr/bin/b'), signV3(ec, 'sha256', digest)],
    },
    {
      template: 'ima-sig',
      fields: [digestField('sha256', digest), nameField('/usr/bin/c'), signV2(stranger, 'sha256', digest)],
    },
    {
      template: 'ima-sig',
      fields: [digestField('sha256', digest), nameField('/usr/bin/d'), signV2(rsa, 'sha256', Buffer.alloc(32))],
    },
    { template: 'ima-sig', fields: [digestField('sha256', digest), nameField('/usr/bin/e'), Buffer.alloc(0)] },
    {
      template: 'ima-sig',
      fields: [digestField('sha256', digest), nameField('/usr/bin/f'), signV2(rsa, 'sha256', digest, { type: 5 })],
    },
    {
      template: 'ima-buf',
      fields: [digestField('sha256', hash('sha256', rsa.spki, 'buffer')), nameField('.ima'), rsa.spki],
    },
    { template: 'ima-ng', violation: true, fields: [digestField('sha256', Buffer.alloc(32)), nameField('/var/log/x')] },
  ];
  const report = inspectIma(makeList(plans), { keyring });

  test('is counted by template and by what its signatures are worth', () => {
    expect(report).toMatchObject({
      form: 'binary',
      entries: 9,
      templates: { 'ima-ngv2': 1, 'ima-sigv2': 2, 'ima-sig': 4, 'ima-buf': 1, 'ima-ng': 1 },
      violations: 1,
      signatures: { valid: 2, invalid: 1, unknownKey: 1, unsupported: 1, none: 4 },
      bootAggregate: { algorithm: 'sha256', digest: '01'.repeat(32) },
      keysAdded: [{ keyring: '.ima', fingerprint: `sha256:${rsa.key.fingerprint}` }],
    });
    expect(Object.keys(report.pcr10)).toEqual(['sha1', 'sha256', 'sha384', 'sha512']);
    expect(Object.keys(report.pcr10ZeroPadded)).toEqual(['sha256', 'sha384', 'sha512']);
  });

  test('has each finding with its place', () => {
    expect(report.findings.map(({ code, index }) => [code, index])).toEqual([
      ['IMA_SIGNATURE_KEY_UNKNOWN', 3],
      ['IMA_SIGNATURE_INVALID', 4],
      ['IMA_SIGNATURE_UNSUPPORTED', 6],
      ['IMA_KEY_ADDED', 7],
      ['IMA_VIOLATION', 8],
    ]);
  });

  test('says the same in Base64', () => {
    const base64 = makeList(plans).toString('base64').replace(/.{76}/g, '$&\n');
    const { form, ...others } = inspectIma(Buffer.from(`${base64}\n`), { keyring });
    const { form: binary, ...same } = report;
    expect([form, binary]).toEqual(['base64', 'binary']);
    expect(others).toEqual(same);
  });
});

describe('a list with faults', () => {
  test('shows the first findings of a kind and counts all', () => {
    const plans = fileEntries(200).map((plan) => ({ ...plan, claimedHash: Buffer.alloc(20, 1) }));
    const report = inspectIma(makeList(plans), { keyring: empty });
    expect(report.findings).toHaveLength(64);
    expect(report.findingCounts).toEqual({ IMA_TEMPLATE_HASH_MISMATCH: 200 });
  });

  test('that ends inside an entry is told, and the rest stands', () => {
    const list = makeList(fileEntries(3));
    const report = inspectIma(list.subarray(0, -10), { keyring: empty });
    expect(report).toMatchObject({
      entries: 2,
      findings: [{ code: 'IMA_LIST_ENDS_INSIDE_ENTRY', severity: 'warning', index: 2 }],
    });
  });

  test('that breaks off has the entries before', () => {
    const list = Buffer.concat([makeList(fileEntries(3)), Buffer.alloc(60, 0xff)]);
    expect(inspectIma(list, { keyring: empty })).toMatchObject({
      entries: 3,
      findings: [{ code: 'IMA_ENTRY_MALFORMED' }],
    });
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('a measured boot', () => {
  test.each([
    ['nosb-kernel-tis', 54],
    ['sb-ms-shim-grub', 54],
    ['debian-systemd-ima', 392],
  ])('%s is consistent with its PCRs, in binary and in ASCII', (folder, entries) => {
    const pcrs = parsePcrFile('pcrs.txt', readFileSync(measuredBootPath(folder, 'pcrs.txt'), 'utf8'));
    const keyring = new ImaKeyring(readImaKeys(readFileSync(measuredBootPath('ca', 'ima-signer.der'))));
    for (const name of ['binary_runtime_measurements', 'ascii_runtime_measurements']) {
      const report = inspectIma(readFileSync(measuredBootPath(folder, name)), { keyring, pcrs });
      expect(report.findings).toEqual([]);
      expect(report.prefix?.entries).toBe(entries);
      expect(report.bootAggregate).toMatchObject({ algorithm: 'sha256', variant: 'PCR0-9' });
    }
  });

  test('does not explain the PCRs of another', () => {
    const pcrs = parsePcrFile('pcrs.txt', readFileSync(measuredBootPath('debian-systemd-ima', 'pcrs.txt'), 'utf8'));
    const list = readFileSync(measuredBootPath('sb-ms-shim-grub', 'binary_runtime_measurements'));
    const codes = inspectIma(list, { keyring: empty, pcrs }).findings.map(({ code }) => code);
    expect(codes).toEqual(['IMA_BOOT_AGGREGATE_MISMATCH', 'IMA_LOG_INCOMPLETE']);
  });
});

describe.skipIf(!dataIsHere('conformance'))('lists of other projects', () => {
  test('of which the last byte was lost are read to the end', () => {
    const file = conformancePath(
      'tpm2-software+tpm2-tss',
      'test',
      'data',
      'fapi',
      'eventlog',
      'sml-ima-ng-sha1-invalidated.b64',
    );
    expect(inspectIma(readFileSync(file), { keyring: empty })).toMatchObject({
      form: 'base64',
      entries: 1,
      violations: 1,
      findingCounts: { IMA_LIST_ENDS_INSIDE_ENTRY: 1, IMA_VIOLATION: 1, IMA_BOOT_AGGREGATE_EMPTY: 1 },
    });
  });
});

describe('lists that real kernels made', () => {
  const keyring = new ImaKeyring((['signer-rsa', 'signer-p256', 'signer-p384'] as const).map(kernelSigner));

  test.each(['binary_runtime_measurements', 'ascii_runtime_measurements'])('are told whole by their %s', (name) => {
    const report = inspectIma(kernelFile('minimal-kexec', name), { keyring, pcrs: kernelPcrs('minimal-kexec') });
    expect(report).toMatchObject({
      entries: 38,
      templates: { 'ima-sig': 32, 'ima-buf': 6 },
      violations: 2,
      signatures: { valid: 8, invalid: 4, unknownKey: 0, unsupported: 2 },
      bootAggregate: { algorithm: 'sha256', variant: 'PCR0-9' },
      prefix: { entries: 38, waitingBytes: 0 },
      findingCounts: { IMA_KEXEC: 1, IMA_BOOT_AGGREGATE_REPEATED: 1, IMA_KEY_ADDED: 3, IMA_VIOLATION: 2 },
    });
    expect(report.keysAdded.map(({ keyring: ring }) => ring)).toEqual(['.ima', '.ima', '.ima']);
  });
});
