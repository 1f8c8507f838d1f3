import { readFileSync, readdirSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { dataIsHere, measuredBootPath } from '../../support/data.ts';
import { rocaSpki, makeEk } from '../../support/test-ek-pki.ts';
import { TPM_ALG_SHA1 } from '../../../tpm/structures/constants.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';
import { makeList } from '../../tpm/ima/list-builder.ts';
import { EvidenceBench, EVENTS, userspaceRecord } from '../support/evidence-bench.ts';
import type { EvidenceJson } from '../support/evidence-bench.ts';

let bench: EvidenceBench;

beforeEach(async () => {
  bench = await EvidenceBench.open();
});

const anchors = ['--trust-anchors', 'anchors'] as const;
const change = (name: string, alter: (bytes: Buffer) => Buffer | string): void => {
  bench.files.set(name, alter(Buffer.from(bench.files.get(name) as Buffer)));
};
const flip = (bytes: Buffer, at: number): Buffer => {
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  return bytes;
};
const codesOf = (part: { readonly findings?: readonly { readonly code: string }[] } | null): readonly string[] =>
  part?.findings?.map(({ code }) => code) ?? [];

describe('good evidence', () => {
  test('is verified in every part', async () => {
    const [exit, report] = await bench.verify(...anchors);
    expect([bench.shell.err, exit]).toEqual(['', 0]);
    expect(report).toMatchObject({
      result: 'verified',
      quote: { result: 'verified' },
      bootLog: { status: 'verified', kernelCommandLines: [{ text: 'quiet' }] },
      imaList: { status: 'verified', entries: 8, bootAggregate: 'PCR0-9' },
      ekCertificates: [{ file: 'host/ek.der', status: 'valid' }],
    });
    expect(codesOf(report)).toEqual(['AK_ORIGIN_UNPROVEN', 'BANKS_UNPROVEN']);
    expect(report.imaList?.waitingBytes).toBe(makeList(bench.entries.slice(8)).length);
  });

  test('has the documented parts', async () => {
    const [, report] = await bench.verify();
    const parts = ['result', 'quote', 'bootLog', 'imaList', 'ekCertificates', 'findings'];
    expect(Object.keys(report)).toEqual(parts);
    expect(report.ekCertificates).toMatchObject([{ status: 'unchecked' }]);
    const text = await bench.text();
    expect(text).toMatch(/^evidence: +verified\nquote: +verified\nboot log: +verified\nIMA list: +verified\n/);
  });

  test('may be of a quote alone', async () => {
    for (const name of bench.files.keys())
      if (!['attest', 'signature', 'ak.pub'].includes(name)) bench.files.delete(name);
    const [exit, report] = await bench.verify();
    expect([exit, report.result, report.bootLog, report.imaList]).toEqual([0, 'verified', null, null]);
    expect(codesOf(report.quote)).toContain('EXTRA_DATA_UNCHECKED');
  });

  test('may be named file by file', async () => {
    await bench.verify();
    const { shell } = bench;
    for (const [name, bytes] of [...shell.binaries]) {
      shell.binaries.delete(name);
      shell.binaries.set(`elsewhere-${name.replace('host/', '')}`, bytes);
    }
    const at = (name: string) => `elsewhere-${name}`;
    shell.out = '';
    const code = await shell.assay(
      ...['verify', 'evidence', '--attest', at('attest'), '--signature', at('signature'), '--ak', at('ak.pub')],
      ...['--pcrs', at('pcrs'), '--boot-log', at('binary_bios_measurements'), '--output', 'json'],
      ...['--userspace-log', at('tpm2-measure.log'), '--ima-list', at('binary_runtime_measurements')],
      ...['--ek-certificate', at('ek.der')],
    );
    expect([code, (JSON.parse(shell.out) as EvidenceJson).imaList?.status]).toEqual([0, 'verified']);
  });
});

describe('where the quote does not hold', () => {
  const breaks: readonly (readonly [string, string, () => void])[] = [
    ['its signature is another', 'SIGNATURE_INVALID', () => change('signature', (bytes) => flip(bytes, 20))],
    ['a byte of it is changed', 'SIGNATURE_INVALID', () => change('attest', (bytes) => flip(bytes, bytes.length - 1))],
    ['it is for another nonce', 'EXTRA_DATA_MISMATCH', () => bench.files.set('extra-data.hex', '00')],
    [
      'it is no statement of a TPM',
      'ATTEST_MAGIC_WRONG',
      () => bench.quote(undefined, (truth) => ({ ...truth, magic: 0 })),
    ],
    ['it covers nothing', 'PCR_SELECTION_EMPTY', () => bench.quote([])],
    [
      'a PCR value is another',
      'PCR_DIGEST_MISMATCH',
      () => change('pcrs', (bytes) => String(bytes).replace(/..$/m, 'ff')),
    ],
    ['the values are not there', 'PCR_VALUES_ABSENT', () => bench.files.delete('pcrs')],
  ];

  test.each(breaks)('because %s (%s), nothing is said of the logs', async (_name, code, make) => {
    make();
    const [exit, report] = await bench.verify(...anchors);
    expect([bench.shell.err, exit, report.result]).toEqual(['', 1, 'refused']);
    expect(codesOf(report.quote)).toContain(code);
    const unproven = { status: 'unproven', reason: expect.stringMatching(/^the quote /) as unknown };
    expect([report.bootLog, report.imaList]).toEqual([unproven, unproven]);
  });

  test.each(breaks.slice(0, -1))('because %s (%s), no part is called verified', async (_name, _code, make) => {
    make();
    const text = await bench.text(...anchors);
    expect(text).toMatch(/^evidence: +refused\nquote: +refused\nboot log: +unproven/);
    expect(text).not.toMatch(/verified|quiet/);
    await bench.verify(...anchors);
    expect(bench.shell.out).not.toMatch(/"verified"|quiet/);
  });
});

describe('a boot log', () => {
  test.each<[string, string, string, () => void]>([
    [
      'refused',
      'PCR_MISMATCH',
      'with another command line',
      () => {
        const evil = Buffer.from('evil');
        const last = { pcr: 8, type: 13, data: Buffer.from('kernel_cmdline: evil\0'), measured: evil };
        bench.files.set('binary_bios_measurements', makeLog([...EVENTS.slice(0, -1), last]));
      },
    ],
    ['refused', 'LOG_EMPTY', 'that is empty', () => bench.files.set('binary_bios_measurements', Buffer.alloc(0))],
    [
      'refused',
      'EVENT_TRUNCATED',
      'that is cut short',
      () => change('binary_bios_measurements', (log) => log.subarray(0, -1)),
    ],
    [
      'refused',
      'PCR_MISMATCH',
      'of another host',
      () => bench.files.set('binary_bios_measurements', makeLog([{ pcr: 0, type: 8, data: Buffer.from('v2') }])),
    ],
    [
      'partial',
      'PCR_NOT_QUOTED',
      'that says more than the quote covers',
      () => bench.quote(bench.select(0, 1, 2, 3, 4, 5, 6, 7, 10)),
    ],
    ['unproven', 'PCR_NOT_QUOTED', 'of which the quote covers nothing', () => bench.quote(bench.select(10, 16))],
    [
      'refused',
      'PCR_MISMATCH',
      'with a userspace log of another boot',
      () => bench.files.set('tpm2-measure.log', userspaceRecord('ready')),
    ],
  ])('is %s by %s %s', async (status, code, _name, make) => {
    make();
    const [exit, report] = await bench.verify();
    expect([bench.shell.err, exit, report.result, report.bootLog?.status]).toEqual(['', 1, 'refused', status]);
    expect(codesOf(report.bootLog)).toContain(code);
    // The text stood in PCR 8: refused, or not covered, it is no claim.
    expect(report.bootLog?.kernelCommandLines).toEqual([]);
  });

  test('without the userspace log is right where nobody asks for what that explains', async () => {
    bench.files.delete('tpm2-measure.log');
    const [exit, report] = await bench.verify();
    expect([exit, report.bootLog?.status]).toEqual([0, 'verified']);
    expect(codesOf(report.bootLog)).toContain('PCR_WITHOUT_EVENTS');
  });

  test('says nothing by a PCR that the userspace log may take events from', async () => {
    // The command line's own event, as a record of the operating system.
    bench.files.set('binary_bios_measurements', makeLog(EVENTS.slice(0, -1)));
    const records = [userspaceRecord('enter-initrd'), userspaceRecord('quiet', 'quiet', 8)];
    bench.files.set('tpm2-measure.log', records.join(''));
    const [, report] = await bench.verify();
    expect([report.bootLog?.status, report.bootLog?.kernelCommandLines]).toEqual(['verified', []]);
    bench.files.set('binary_bios_measurements', makeLog(EVENTS.filter(({ pcr }) => pcr !== 7)));
    const separator = userspaceRecord('a', '\0\0\0\0', 7);
    bench.files.set('tpm2-measure.log', `${userspaceRecord('enter-initrd')}${separator}`);
    const [, hidden] = await bench.verify();
    expect([hidden.bootLog?.status, hidden.bootLog?.secureBoot]).toEqual(['verified', null]);
  });

  test('a text that was not what was measured is no claim', async () => {
    change('binary_bios_measurements', (log) => {
      const at = log.lastIndexOf('quiet');
      log.write('evil!', at);
      return log;
    });
    const [, report] = await bench.verify();
    expect(JSON.stringify(report.bootLog?.kernelCommandLines)).not.toContain('evil');
  });
});

describe('evidence that SHA-1 alone proves', () => {
  test('is proven in no log', async () => {
    bench = await EvidenceBench.open({ bank: TPM_ALG_SHA1 });
    const [exit, report] = await bench.verify();
    expect([bench.shell.err, exit, report.result, report.quote.result]).toEqual(['', 1, 'refused', 'verified']);
    expect(report.bootLog).toMatchObject({ status: 'unproven', secureBoot: null, kernelCommandLines: [] });
    expect(codesOf(report.bootLog)).toContain('BANK_SHA1_ONLY');
    expect(report.imaList).toMatchObject({ status: 'unproven', entries: 0, bootAggregate: null });
    expect(codesOf(report.imaList)).toEqual(['RUNTIME_BANK_WEAK']);
  });

  test('is a list in a bank of padded hashes, too', async () => {
    bench = await EvidenceBench.open({ padded: true });
    const [exit, report] = await bench.verify();
    expect([exit, report.result, report.bootLog?.status]).toEqual([1, 'refused', 'verified']);
    expect([report.imaList?.status, codesOf(report.imaList)]).toEqual(['unproven', ['RUNTIME_BANK_WEAK']]);
  });

  test('is refused where it speaks against its host', async () => {
    bench = await EvidenceBench.open({ bank: TPM_ALG_SHA1 });
    bench.files.set('binary_runtime_measurements', makeList(bench.entries.slice(1)));
    bench.files.set('binary_bios_measurements', makeLog(EVENTS.slice(1)));
    const [, report] = await bench.verify();
    expect([report.bootLog?.status, report.imaList?.status]).toEqual(['refused', 'refused']);
  });
});

test('an EK certificate that is refused refuses the evidence, whatever the quote says', async () => {
  bench.files.set('ek-2.der', makeEk({ spki: rocaSpki() }));
  const [exit, report] = await bench.verify();
  expect([exit, report.result]).toEqual([1, 'refused']);
  expect(report.ekCertificates.map(({ file, status }) => [file, status])).toEqual([
    ['host/ek-2.der', 'refused'],
    ['host/ek.der', 'unchecked'],
  ]);
});

describe('exit code 2', () => {
  test.each<[string, () => void]>([
    ['without a signature', () => bench.files.delete('signature')],
    ['with an attest that is none', () => bench.files.set('attest', 'junk')],
    ['with an EK certificate that is none', () => bench.files.set('ek.der', 'junk')],
    ['with a nonce that is no number', () => bench.files.set('extra-data.hex', 'xyz')],
    ['with a userspace log and no boot log', () => bench.files.delete('binary_bios_measurements')],
  ])('%s', async (_name, make) => {
    make();
    const [exit] = await bench.verify();
    expect([exit, bench.shell.err]).toEqual([2, expect.stringMatching(/^assay: (?!internal)/)]);
  });

  test('without a folder or files', async () => {
    expect(await bench.shell.assay('verify', 'evidence')).toBe(2);
    expect(await bench.shell.assay('verify', 'evidence', 'nowhere')).toBe(2);
  });
});

describe.skipIf(!dataIsHere('measured-boot'))('the evidence of a real boot', () => {
  const boots = [
    ['nosb-kernel-tis', 'disabled'],
    ['sb-ms-shim-grub', 'enabled'],
    ['debian-systemd-ima', 'disabled'],
  ] as const;
  const load = (folder: string): void => {
    bench.files.clear();
    for (const name of readdirSync(measuredBootPath(folder))) {
      bench.files.set(name, readFileSync(measuredBootPath(folder, name)));
    }
    bench.files.set('nonce.hex', '00112233445566778899aabbccddeeff');
  };

  test.each(boots)('%s is verified, Secure Boot %s', async (folder, mode) => {
    load(folder);
    const [exit, report] = await bench.verify();
    expect([bench.shell.err, exit, report.result]).toEqual(['', 0, 'verified']);
    expect([report.bootLog?.status, report.bootLog?.secureBoot?.mode]).toEqual(['verified', mode]);
    expect([report.imaList?.status, report.imaList?.bootAggregate]).toEqual(['verified', 'PCR0-9']);
  });

  test.each(boots)('%s with the logs of another is refused', async (folder) => {
    const other = folder === 'sb-ms-shim-grub' ? 'debian-systemd-ima' : 'sb-ms-shim-grub';
    for (const name of ['binary_bios_measurements', 'binary_runtime_measurements']) {
      load(folder);
      bench.files.set(name, readFileSync(measuredBootPath(other, name)));
      const [exit, report] = await bench.verify();
      expect([name, exit, report.result]).toEqual([name, 1, 'refused']);
    }
  });
});
