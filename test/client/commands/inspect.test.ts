import { readFileSync } from 'node:fs';
import { beforeEach, describe, expect, test } from 'vitest';
import { conformancePath, dataIsHere, measuredBootPath } from '../../support/data.ts';
import { makeLog } from '../../tpm/eventlog/make-log.ts';
import type { MadeEvent } from '../../tpm/eventlog/make-log.ts';
import { Shell } from '../support/shell.ts';

const events: readonly MadeEvent[] = [
  { pcr: 0, type: 8, data: Buffer.from('firmware\u001b[2J', 'utf8') },
  ...[0, 1, 2, 3, 4, 5, 6, 7].map((pcr) => ({ pcr, type: 4, data: Buffer.alloc(4) })),
  {
    pcr: 8,
    type: 13,
    data: Buffer.from('kernel_cmdline: quiet \u202eevil\0'),
    measured: Buffer.from('quiet \u202eevil'),
  },
];
const base64 = (bytes: Buffer): string => bytes.toString('base64').replaceAll(/(.{76})/g, '$1\n');

let shell: Shell;

beforeEach(async () => {
  shell = await Shell.open();
});

async function inspect(bytes: Buffer, ...options: readonly string[]): Promise<number> {
  shell.files.set('log.b64', base64(bytes));
  return shell.assay('inspect', 'eventlog', 'log.b64', ...options);
}

function json(): Record<string, unknown> {
  return JSON.parse(shell.out) as Record<string, unknown>;
}

describe('the exit code says', () => {
  test.each<[string, Buffer, number]>([
    ['0: parsed and consistent', makeLog(events), 0],
    ['1: an error among the findings', makeLog([...events, { pcr: 7, type: 4, data: Buffer.alloc(4) }]), 1],
    ['1: cut off', makeLog(events).subarray(0, -3), 1],
    ['2: nothing to read', Buffer.alloc(0), 2],
    ['2: no log', Buffer.from('bogus\ninvalid\nevent\nlog\nfile\nhere\n'), 2],
    [
      '2: a malformed header',
      makeLog(
        [],
        Array.from({ length: 17 }, (_, index) => index + 1),
      ),
      2,
    ],
  ])('%s', async (_, bytes, code) => {
    expect(await inspect(bytes)).toBe(code);
    expect(await inspect(bytes, '--output', 'json')).toBe(code);
  });

  test('2 for a file that is not there, with the reason', async () => {
    expect(await shell.assay('inspect', 'eventlog', 'absent')).toBe(2);
    expect(shell.err).toContain('boot log absent: not found');
  });
});

test('standard input is a file too', async () => {
  shell.files.set('-', base64(makeLog(events)));
  expect(await shell.assay('inspect', 'eventlog', '-')).toBe(0);
  expect(shell.out).toContain('S_CRTM_VERSION');
});

test('what a log says is never acted upon by a terminal', async () => {
  await inspect(makeLog(events));
  expect(shell.out).toContain('quiet \\u{202e}evil');
  for (const hostile of ['\u001b', '\u202e']) expect(shell.out).not.toContain(hostile);
  await inspect(makeLog(events), '--output', 'json');
  for (const hostile of ['\u001b', '\u202e']) expect(shell.out).not.toContain(hostile);
});

test('JSON has the documented parts', async () => {
  await inspect(makeLog(events), '--output', 'json');
  expect(json()).toMatchObject({
    format: 'crypto-agile',
    complete: true,
    algorithms: ['sha1', 'sha256'],
    specId: { version: '2.0.0' },
    startup: { locality: 0, hcrtm: false },
    comparison: [],
    secureBoot: {
      mode: 'unknown',
      enabled: false,
      authorities: [],
      separator: 9,
      databases: { db: { state: 'absent' } },
    },
    boot: {
      phases: [
        { phase: 'firmware', events: [1, 2, 3, 4, 5, 6, 7, 8, 9] },
        { phase: 'boot-loader', events: [10] },
      ],
      images: [],
      kernelCommandLines: [{ event: 10, pcr: 8, source: 'grub', verified: true }],
      exitBootServices: 'missing',
    },
    findings: [],
  });
  const { events: listed, pcrs, bootAggregate } = json() as Record<string, Record<string, unknown>>;
  expect(listed?.['2']).toEqual({
    index: 2,
    offset: expect.any(Number),
    pcr: 0,
    type: 'EV_SEPARATOR',
    digests: {
      sha1: '9069ca78e7450a285173431b3e52c5c25299e473',
      sha256: 'df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119',
    },
    verified: true,
    covers: 'event-data',
    size: 4,
    data: { kind: 'separator', value: '00000000' },
  });
  expect(pcrs?.['sha256']).toMatchObject({ '1': '3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969' });
  expect(Object.keys(bootAggregate ?? {})).toEqual(['sha1', 'sha256', 'sha256_pcr0_7']);
});

describe('given PCRs', () => {
  const pcr1 = '3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969';

  test.each([
    ['in lines', `# from sysfs\nsha256 1 ${pcr1.toUpperCase()}\n`],
    ['as tpm2_pcrread prints them', `sha256:\n  1 : 0x${pcr1.toUpperCase()}\n`],
  ])('%s are compared', async (_, text) => {
    shell.files.set('pcrs', text);
    expect(await inspect(makeLog(events), '--pcrs', 'pcrs', '--output', 'json')).toBe(0);
    expect(json()['comparison']).toEqual([{ bank: 'sha256', pcr: 1, outcome: 'explained' }]);
  });

  test('that differ are an error with PCR and bank', async () => {
    shell.files.set('pcrs', `sha256 1 ${'ab'.repeat(32)}`);
    expect(await inspect(makeLog(events), '--pcrs', 'pcrs', '--output', 'json')).toBe(1);
    expect(json()['findings']).toMatchObject([{ code: 'PCR_MISMATCH', severity: 'error', pcr: 1, bank: 'sha256' }]);
  });

  test.each([
    ['an unknown bank', 'md5 1 00'],
    ['a PCR that does not exist', `sha256 24 ${pcr1}`],
    ['a short value', 'sha256 1 abcd'],
    ['a value without bank', `1 : 0x${pcr1}`],
    ['text', 'hello'],
    ['nothing', '\n'],
  ])('with %s are wrong usage', async (_, text) => {
    shell.files.set('pcrs', text);
    expect(await inspect(makeLog(events), '--pcrs', 'pcrs')).toBe(2);
    expect(shell.err).toContain('pcrs');
  });
});

test('the userspace log goes on where the boot log ends', async () => {
  const record = { pcr: 11, digests: [{ hashAlg: 'sha256', digest: 'ab'.repeat(32) }], content: { string: 'x' } };
  shell.files.set('userspace', `\u001e${JSON.stringify(record)}\n`);
  expect(await inspect(makeLog(events), '--userspace-log', 'userspace', '--output', 'json')).toBe(0);
  expect(json()).toMatchObject({
    userspace: { complete: true, records: [{ index: 0, pcr: 11, text: 'x', verified: false }] },
  });
  expect((json()['pcrs'] as Record<string, object>)['sha256']).toHaveProperty('11');
  await inspect(makeLog(events), '--userspace-log', 'userspace');
  expect(shell.out).toContain('RECORD');
});

describe.skipIf(!dataIsHere('measured-boot'))('a real Secure Boot', () => {
  const folder = 'sb-ms-shim-grub';

  test('is explained, its signers by name', async () => {
    shell.files.set('pcrs', readFileSync(measuredBootPath(folder, 'pcrs.txt'), 'utf8'));
    expect(await inspect(readFileSync(measuredBootPath(folder, 'binary_bios_measurements')), '--pcrs', 'pcrs')).toBe(0);
    expect(shell.out).toContain('secure boot:          enabled');
    expect(shell.out).toContain('verified with:        db: CN=Microsoft Corporation UEFI CA 2011');
    expect(shell.out).toContain('PCR_WITHOUT_EVENTS');
  });

  test('with one byte of a command changed is no longer verified', async () => {
    const bytes = readFileSync(measuredBootPath(folder, 'binary_bios_measurements'));
    bytes[bytes.indexOf('kernel_cmdline: /vmlinuz') + 20] = 0x58;
    await inspect(bytes, '--output', 'json');
    expect(json()['boot']).toMatchObject({ kernelCommandLines: [{ verified: false }] });
    expect(json()['findings']).toContainEqual(expect.objectContaining({ code: 'EVENT_DATA_MISMATCH', event: 42 }));
    expect(json()['findings']).toContainEqual(expect.objectContaining({ code: 'KERNEL_COMMAND_LINE_AMBIGUOUS' }));
  });
});

describe.skipIf(!dataIsHere('conformance'))('a log in base64', () => {
  test('is read as it is', async () => {
    const path = conformancePath('tpm2-software+tpm2-tss/test/data/fapi/eventlog/binary_measurements_hcrtm.b64');
    shell.files.set('log.b64', readFileSync(path, 'utf8'));
    expect(await shell.assay('inspect', 'eventlog', 'log.b64', '--output', 'json')).toBe(0);
    expect(json()).toMatchObject({ algorithms: ['sha1', 'sha256', 'sm3_256'], startup: { hcrtm: true, locality: 4 } });
  });
});
