import { hash } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { digestField, hashedData, makeList, nameField } from '../../tpm/ima/list-builder.ts';
import { EvidenceBench } from '../support/evidence-bench.ts';
import { pcrText } from '../support/quote-bench.ts';

let bench: EvidenceBench;

beforeEach(async () => {
  bench = await EvidenceBench.open();
});

const anchors = ['--trust-anchors', 'anchors'] as const;
const codesOf = (part: { readonly findings?: readonly { readonly code: string }[] } | null): readonly string[] =>
  part?.findings?.map(({ code }) => code) ?? [];

describe('a list in a format whose name could hide what a field is', () => {
  const signature = Buffer.from([3, 2, 4]);
  const entry = {
    template: 'ima-sig',
    fields: [digestField('sha256', hash('sha256', 'evil', 'buffer')), nameField('/evil'), signature],
  };

  test.each([
    ['ima-sig', 'refused', 'IMA_SIGNATURE_INVALID'],
    ['d-ng|n-ng|xattrvalues', 'partial', 'IMA_TEMPLATE_AMBIGUOUS'],
  ])('is not called verified: %s', async (template, status, code) => {
    bench.tpm.extend(10, hash('sha256', hashedData(entry), 'buffer'));
    bench.quote();
    bench.files.set('pcrs', pcrText(bench.tpm.read()));
    bench.files.set('binary_runtime_measurements', makeList([...bench.entries.slice(0, 8), { ...entry, template }]));
    const [exit, report] = await bench.verify(...anchors);
    expect([bench.shell.err, exit, report.result]).toEqual(['', 1, 'refused']);
    expect(report.imaList).toMatchObject({ status, entries: 9 });
    expect(codesOf(report.imaList)).toContain(code);
  });
});

describe('an IMA list', () => {
  test.each<[string, string, string, () => void]>([
    [
      'refused',
      'IMA_LOG_INCOMPLETE',
      'that lacks an entry',
      () => bench.files.set('binary_runtime_measurements', makeList(bench.entries.slice(1))),
    ],
    [
      'refused',
      'IMA_LOG_INCOMPLETE',
      'that ends too early',
      () => bench.files.set('binary_runtime_measurements', makeList(bench.entries.slice(0, 7))),
    ],
    [
      'refused',
      'IMA_LOG_INCOMPLETE',
      'that is empty',
      () => bench.files.set('binary_runtime_measurements', Buffer.alloc(0)),
    ],
    [
      'unproven',
      'PCR_NOT_QUOTED',
      'whose PCR was not quoted',
      () => bench.quote(bench.select(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11)),
    ],
  ])('is %s by %s %s', async (status, code, _name, make) => {
    make();
    const [exit, report] = await bench.verify();
    expect([exit, report.result, report.imaList?.status, report.imaList?.entries]).toEqual([1, 'refused', status, 0]);
    expect(codesOf(report.imaList)).toContain(code);
  });

  test('whose boot log is not there has the aggregate of the PCRs that were quoted', async () => {
    bench.files.delete('binary_bios_measurements');
    bench.files.delete('tpm2-measure.log');
    const [exit, report] = await bench.verify();
    expect([exit, report.imaList?.status, report.imaList?.bootAggregate]).toEqual([0, 'verified', 'PCR0-9']);
    expect(codesOf(report.imaList)).toEqual([]);
  });

  test('whose aggregate nothing was compared with is not verified: it may have begun in another boot', async () => {
    bench.files.delete('binary_bios_measurements');
    bench.files.delete('tpm2-measure.log');
    bench.quote(bench.select(10));
    const [exit, report] = await bench.verify();
    expect([bench.shell.err, exit, report.result]).toEqual(['', 1, 'refused']);
    expect([report.imaList?.status, report.imaList?.bootAggregate]).toEqual(['partial', null]);
    expect(codesOf(report.imaList)).toEqual(['IMA_BOOT_AGGREGATE_UNCHECKED']);
  });

  test.each([
    ['file', 'IMA_BOOT_AGGREGATE_MISSING'],
    ['zeros', 'IMA_BOOT_AGGREGATE_EMPTY'],
    ['other boot', 'IMA_BOOT_AGGREGATE_MISMATCH'],
  ] as const)('that begins with %s cannot be tied to a boot: refused', async (first, code) => {
    bench = await EvidenceBench.open({ first });
    const [exit, report] = await bench.verify();
    expect([bench.shell.err, exit, report.result]).toEqual(['', 1, 'refused']);
    expect([report.bootLog?.status, report.imaList?.status]).toEqual(['verified', 'refused']);
    expect(codesOf(report.imaList)).toContain(code);
  });
});

describe('a list of a kernel that was told its format', () => {
  test.each([
    'ima_template_fmt=d-ng|n-ng|xattrvalues',
    'quiet "ima-template-fmt=d-ng|n-ng|xattrvalues" ima_template_fmt=d-ng|n-ng',
  ])('is unproven where one field may be shown as another: %s', async (commandLine) => {
    bench = await EvidenceBench.open({ commandLine });
    const [exit, report] = await bench.verify();
    expect([bench.shell.err, exit, report.result]).toEqual(['', 1, 'refused']);
    expect([report.bootLog?.status, report.imaList?.status]).toEqual(['verified', 'unproven']);
    expect([report.imaList?.entries, codesOf(report.imaList)]).toEqual([0, ['RUNTIME_FORMAT_AMBIGUOUS']]);
  });

  test('is refused where it speaks against its host', async () => {
    bench = await EvidenceBench.open({ commandLine: 'ima_template_fmt=d-ng|n-ng|xattrvalues', first: 'zeros' });
    const [, report] = await bench.verify();
    expect(report.imaList?.status).toBe('refused');
    expect(codesOf(report.imaList)).toEqual(['IMA_BOOT_AGGREGATE_EMPTY', 'RUNTIME_FORMAT_AMBIGUOUS']);
  });

  test.each([
    'ima_template_fmt=d-ng|n-ng|sig',
    'ima_template_fmt=d-ngv2|n-ng|sig|iuid|igid|imode',
    'ima_template=ima-sig',
    'xima_template_fmt=d-ng|n-ng|xattrvalues',
  ])('is verified where every field means what its place says: %s', async (commandLine) => {
    bench = await EvidenceBench.open({ commandLine });
    const [exit, report] = await bench.verify();
    expect([bench.shell.err, exit, report.imaList?.status]).toEqual(['', 0, 'verified']);
  });
});
