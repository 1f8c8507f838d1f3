import { hash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bootAggregatesOf, checkBootAggregate } from '../../../tpm/ima/boot-aggregate.ts';
import { bufferKind } from '../../../tpm/ima/critical-data.ts';
import { examineEntry } from '../../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../../tpm/ima/examine.ts';
import { ImaKeyring } from '../../../tpm/ima/keyring.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { digestField, makeList, nameField } from './list-builder.ts';
import type { EntryPlan } from './list-builder.ts';
import { readAll } from './read-entries.ts';
import { rsaSigner, signV2 } from './signing.ts';

const empty = new ImaKeyring([]);
const boot: EntryPlan = {
  template: 'ima-ng',
  fields: [digestField('sha256', Buffer.alloc(32, 1)), nameField('boot_aggregate')],
};

function measuredBuffer(name: string, bytes: Buffer, digest = hash('sha256', bytes, 'buffer')): EntryPlan {
  return { template: 'ima-buf', fields: [digestField('sha256', digest), nameField(name), bytes] };
}

/** Examines an entry that stands behind a boot_aggregate. */
function examine(plan: EntryPlan, keyring = empty): ExaminedEntry {
  const [, entry] = readAll(makeList([boot, plan]));
  if (entry === undefined) throw new Error('no entry');
  return examineEntry(entry, keyring);
}

const codes = ({ findings }: ExaminedEntry): string[] => findings.map(({ code }) => code);

describe('a measured buffer', () => {
  test('is given out where its digest is of it', () => {
    const bytes = Buffer.from('dm_version=4.45.0;');
    expect(examine(measuredBuffer('dm_table_load', bytes)).buffer).toEqual({
      kind: 'deviceMapper',
      name: 'dm_table_load',
      bytes,
    });
  });

  test('that its digest is not of is no data', () => {
    const examined = examine(measuredBuffer('dm_table_load', Buffer.from('a'), hash('sha256', 'b', 'buffer')));
    expect(examined.buffer).toBeUndefined();
    expect(codes(examined)).toEqual(['IMA_BUFFER_DIGEST_MISMATCH']);
  });

  test('of a hash that is not known here is no data', () => {
    const examined = examine({
      template: 'ima-buf',
      fields: [digestField('wp256', Buffer.alloc(32)), nameField('x'), Buffer.from('a')],
    });
    expect(examined.buffer).toBeUndefined();
    expect(codes(examined)).toEqual(['IMA_DIGEST_ALGORITHM_UNKNOWN']);
  });

  test('is absent for a file in a list whose every entry has the template', () => {
    const examined = examine({
      template: 'ima-buf',
      fields: [digestField('sha256', Buffer.alloc(32, 2)), nameField('/init'), Buffer.alloc(0)],
    });
    expect([examined.buffer, codes(examined)]).toEqual([undefined, []]);
  });

  test('added to a keyring is learned as a key, as data', () => {
    const signer = rsaSigner();
    const examined = examine(measuredBuffer('.ima', signer.spki));
    expect(examined.learnedKey).toMatchObject({ keyring: '.ima', key: { fingerprint: signer.key.fingerprint } });
    expect(codes(examined)).toEqual(['IMA_KEY_ADDED']);
    expect(codes(examine(measuredBuffer('.ima', Buffer.from('no key'))))).toEqual(['IMA_KEY_UNREADABLE']);
  });

  test.each([
    ['.ima', 'keyring'],
    ['.builtin_trusted_keys', 'keyring'],
    ['kexec-cmdline', 'kexec'],
    ['kexec_execute', 'kexec'],
    ['dm_device_resume', 'deviceMapper'],
    ['device_resume', 'deviceMapper'],
    ['selinux-policy-hash', 'securityModule'],
    ['kernel_version', 'kernel'],
    ['anything', 'other'],
  ])('named %s is of the kind %s', (name, kind) => {
    expect(bufferKind(name)).toBe(kind);
  });
});

describe('kexec', () => {
  test('is told by its record, whatever template the list claims', () => {
    expect(codes(examine(measuredBuffer('kexec-cmdline', Buffer.from('quiet'))))).toEqual(['IMA_KEXEC']);
    const relabelled = { ...measuredBuffer('kexec_load', Buffer.from('quiet')), template: 'd-ng|n-ng|xattrvalues' };
    expect(codes(examine(relabelled))).toContain('IMA_KEXEC');
  });

  test('is told by a second boot_aggregate', () => {
    expect(codes(examine(boot))).toEqual(['IMA_BOOT_AGGREGATE_REPEATED']);
  });

  test('is not told by critical data of the name boot_aggregate', () => {
    expect(codes(examine(measuredBuffer('boot_aggregate', Buffer.from('x'))))).toEqual([]);
  });
});

describe('one entry', () => {
  test.each([
    ['d-ng|n-ng|xattrvalues', ['IMA_TEMPLATE_AMBIGUOUS']],
    ['n-ng|d-ng|sig', ['IMA_FIELD_MALFORMED']],
    ['d-ng|n-ng|sig', []],
    ['d-ng|n-ng|buf', []],
    ['ima-sig', []],
  ])('by the format %s is told where a field of it may be another', (template, expected) => {
    const fields = [digestField('sha256', Buffer.alloc(32, 2)), nameField('/init'), Buffer.alloc(0)];
    expect(codes(examine({ template, fields }))).toEqual(expected);
  });

  test.each([20, 32])('that is a violation may have %i zeros in the place of a digest', (size) => {
    const fields = [digestField('sha256', Buffer.alloc(size)), nameField('/var/log/x'), Buffer.alloc(0)];
    expect(codes(examine({ template: 'ima-sig', violation: true, fields }))).toEqual(['IMA_VIOLATION']);
  });

  test('that is a violation has no signature and is told', () => {
    const signer = rsaSigner();
    const ring = new ImaKeyring([signer.key]);
    const zeros = Buffer.alloc(32);
    const plan: EntryPlan = {
      template: 'ima-sig',
      violation: true,
      fields: [digestField('sha256', zeros), nameField('/a'), signV2(signer, 'sha256', zeros)],
    };
    const examined = examine(plan, ring);
    expect(examined).toMatchObject({ isViolation: true, signature: { kind: 'none' } });
    expect(codes(examined)).toEqual(['IMA_VIOLATION']);
  });

  test('of fields that cannot be read is told and nothing else is believed', () => {
    const examined = examine({ template: 'ima-ng', fields: [digestField('sha256', Buffer.alloc(3)), nameField('/a')] });
    expect(examined).toMatchObject({ measurement: undefined, signature: { kind: 'none' }, buffer: undefined });
    expect(codes(examined)).toEqual(['IMA_FIELD_MALFORMED']);
  });

  test('at the start that is no boot_aggregate is told', () => {
    const [entry] = readAll(makeList([measuredBuffer('boot_aggregate', Buffer.from('x'))]));
    expect(entry === undefined ? [] : codes(examineEntry(entry, empty))).toEqual(['IMA_BOOT_AGGREGATE_MISSING']);
  });

  test('with a very long name quotes its beginning', () => {
    const examined = examine(measuredBuffer('.'.repeat(5000), Buffer.from('x')));
    expect(examined.findings[0]?.message.length).toBeLessThan(300);
  });
});

describe('the boot aggregate', () => {
  const bank = (size: number) => new Map(Array.from({ length: 10 }, (_, pcr) => [pcr, Buffer.alloc(size, pcr + 1)]));
  const values = new Map([
    [TPM_ALG_SHA1, bank(20)],
    [TPM_ALG_SHA256, bank(32)],
  ]);
  const over = (node: string, size: number, last: number): Buffer =>
    hash(node, Buffer.concat(Array.from({ length: last + 1 }, (_, pcr) => Buffer.alloc(size, pcr + 1))), 'buffer');

  function check(algorithm: string, value: Buffer, known = values) {
    const examined = examine({
      template: 'ima-ng',
      fields: [digestField(algorithm, value), nameField('boot_aggregate')],
    });
    if (examined.measurement === undefined) throw new Error('not read');
    const result = checkBootAggregate(examined.entry, examined.measurement.digest, bootAggregatesOf(known));
    return result.kind === 'matched' ? `${result.algorithm} ${result.variant}` : result.finding.code;
  }

  test.each<[string, Buffer, string]>([
    ['sha1', over('sha1', 20, 7), 'sha1 PCR0-7'],
    ['sha1', over('sha1', 20, 9), 'sha1 PCR0-9'],
    ['sha256', over('sha256', 32, 7), 'sha256 PCR0-7'],
    ['sha256', over('sha256', 32, 9), 'sha256 PCR0-9'],
    ['sha256', over('sha256', 32, 8), 'IMA_BOOT_AGGREGATE_MISMATCH'],
    ['sha256', Buffer.alloc(32), 'IMA_BOOT_AGGREGATE_EMPTY'],
    ['sha512', Buffer.alloc(64, 1), 'IMA_BOOT_AGGREGATE_UNCHECKED'],
    ['md5', Buffer.alloc(16, 1), 'IMA_BOOT_AGGREGATE_UNCHECKED'],
  ])('of %s is found in its variant', (algorithm, value, expected) => {
    expect(check(algorithm, value)).toBe(expected);
  });

  test('is not judged where a PCR of it is not known', () => {
    const seven = new Map([[TPM_ALG_SHA256, new Map([...bank(32)].slice(0, 8))]]);
    expect(check('sha256', over('sha256', 32, 7), seven)).toBe('sha256 PCR0-7');
    expect(check('sha256', over('sha256', 32, 9), seven)).toBe('IMA_BOOT_AGGREGATE_UNCHECKED');
  });
});
