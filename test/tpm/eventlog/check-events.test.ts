import { describe, expect, test } from 'vitest';
import { checkEvents } from '../../../tpm/eventlog/check-events.ts';
import { EVENT_TYPES } from '../../../tpm/eventlog/event-types.ts';
import { parseEventLog } from '../../../tpm/eventlog/parse.ts';
import { TPM_ALG_SHA1, TPM_ALG_SHA256 } from '../../../tpm/structures/constants.ts';
import { guid, makeLog, makeVariable, sha256, u32, u64 } from './make-log.ts';
import type { MadeEvent } from './make-log.ts';

const GLOBAL = '8be4df61-93ca-11d2-aa0d-00e098032b8c';
const separator = (pcr: number): MadeEvent => ({ pcr, type: 4, data: Buffer.alloc(4) });

function check(event: MadeEvent, ...others: readonly MadeEvent[]) {
  const log = checkEvents(parseEventLog(makeLog([event, ...others])));
  return { event: log.events[1], findings: log.findings };
}

const wide = (text: string): Buffer => Buffer.from(text, 'utf16le');
const bootOrder = makeVariable(GLOBAL, 'BootOrder', Buffer.from('0100', 'hex'));
const gpt = Buffer.concat([
  Buffer.from('EFI PART'),
  Buffer.alloc(76),
  u32(128),
  Buffer.alloc(4),
  u64(1),
  guid('c12a7328-f81f-11d2-ba4b-00a0c93ec93b'),
  Buffer.alloc(112),
]);

describe('what a digest covers, by type', () => {
  test.each<[string, MadeEvent, string, Buffer | undefined]>([
    ['a version: its data', { pcr: 0, type: 8, data: wide('v1\0') }, 'event-data', wide('v1\0')],
    ['an action: its text', { pcr: 4, type: 0x8000_0007, data: Buffer.from('Text') }, 'text', Buffer.from('Text')],
    [
      'an action logged with a terminator: the text without',
      { pcr: 4, type: 0x8000_0007, data: Buffer.from('Text\0'), measured: Buffer.from('Text') },
      'text',
      Buffer.from('Text'),
    ],
    ['a separator: its value', separator(0), 'event-data', Buffer.alloc(4)],
    [
      'an error separator with a description: the value 1',
      { pcr: 0, type: 4, data: Buffer.from('broken'), measured: Buffer.from('01000000', 'hex') },
      'separator-value',
      Buffer.from('01000000', 'hex'),
    ],
    [
      'a boot variable: its data alone',
      { pcr: 1, type: 0x8000_0002, data: bootOrder, measured: Buffer.from('0100', 'hex') },
      'variable-data',
      Buffer.from('0100', 'hex'),
    ],
    [
      'a boot variable of other firmware: the structure',
      { pcr: 1, type: 0x8000_0002, data: bootOrder },
      'event-data',
      bootOrder,
    ],
    ['a variable: the structure', { pcr: 7, type: 0x8000_0001, data: bootOrder }, 'event-data', bootOrder],
    ['a partition table: all of it', { pcr: 5, type: 0x8000_0006, data: gpt }, 'event-data', gpt],
    [
      'an authority of old shim: one byte less',
      { pcr: 7, type: 0x8000_00e0, data: Buffer.concat([bootOrder, Buffer.from('x')]), measured: bootOrder },
      'event-data',
      bootOrder,
    ],
    [
      'an image: the image',
      { pcr: 4, type: 0x8000_0003, data: Buffer.from('path'), measured: Buffer.from('image') },
      'image',
      undefined,
    ],
    [
      'GRUB’s command: the text after the prefix',
      { pcr: 8, type: 13, data: Buffer.from('grub_cmd: boot\0'), measured: Buffer.from('boot') },
      'text',
      Buffer.from('boot'),
    ],
    [
      'old GRUB’s command: the text with its terminator',
      { pcr: 8, type: 13, data: Buffer.from('grub_cmd boot\0'), measured: Buffer.from('boot\0') },
      'text',
      Buffer.from('boot\0'),
    ],
    [
      'GRUB’s file: the file',
      { pcr: 9, type: 13, data: Buffer.from('/vmlinuz\0'), measured: Buffer.from('kernel') },
      'file',
      undefined,
    ],
    [
      'systemd-boot’s command line: UTF-16 with terminator',
      { pcr: 12, type: 13, data: wide('quiet\0') },
      'event-data',
      wide('quiet\0'),
    ],
    [
      'old systemd-boot’s: the terminator that is half logged',
      { pcr: 8, type: 13, data: wide('quiet\0').subarray(0, -1), measured: wide('quiet\0') },
      'text',
      wide('quiet\0'),
    ],
    [
      'the name of a section of a unified image',
      { pcr: 11, type: 13, data: wide('.linux\0'), measured: Buffer.from('.linux\0') },
      'text',
      Buffer.from('.linux\0'),
    ],
    [
      'the content of such a section',
      { pcr: 11, type: 13, data: wide('.linux\0'), measured: Buffer.from('MZ…') },
      'section',
      undefined,
    ],
    [
      'shim’s lists: their content',
      { pcr: 14, type: 13, data: Buffer.from('MokList\0'), measured: Buffer.from('…') },
      'variable-content',
      undefined,
    ],
    [
      'a tag of Windows: the whole',
      { pcr: 12, type: 6, data: Buffer.concat([u32(1), u32(2), Buffer.from('ab')]) },
      'event-data',
      Buffer.concat([u32(1), u32(2), Buffer.from('ab')]),
    ],
    [
      'a tag measured by its content',
      { pcr: 9, type: 6, data: Buffer.concat([u32(1), u32(2), Buffer.from('ab')]), measured: Buffer.from('ab') },
      'tag-content',
      Buffer.from('ab'),
    ],
    [
      'a post code: firmware',
      { pcr: 0, type: 1, data: Buffer.from('ACPI DATA'), measured: Buffer.from('tables') },
      'firmware',
      undefined,
    ],
    [
      'a post code whose data was measured',
      { pcr: 0, type: 1, data: Buffer.from('POST CODE') },
      'event-data',
      Buffer.from('POST CODE'),
    ],
  ])('%s', (_, made, covers, measured) => {
    const { event, findings } = check(made);
    expect(event).toMatchObject({ covers, verified: measured !== undefined });
    expect(event?.measured).toEqual(measured);
    expect(findings).toEqual([]);
  });
});

describe('data that is not what was measured', () => {
  const other = Buffer.from('what was really measured');
  test.each<[string, MadeEvent]>([
    ['a version', { pcr: 0, type: 8, data: Buffer.from('v2'), measured: other }],
    ['an action', { pcr: 4, type: 0x8000_0007, data: Buffer.from('Text'), measured: other }],
    [
      'an action with two terminators',
      { pcr: 4, type: 0x8000_0007, data: Buffer.from('Text\0\0'), measured: Buffer.from('Text') },
    ],
    ['a separator', { ...separator(0), measured: other }],
    ['a variable', { pcr: 7, type: 0x8000_0001, data: bootOrder, measured: other }],
    ['a boot variable', { pcr: 1, type: 0x8000_0002, data: bootOrder, measured: other }],
    ['a partition table', { pcr: 5, type: 0x8000_0006, data: gpt, measured: other }],
    ['a command of GRUB', { pcr: 8, type: 13, data: Buffer.from('grub_cmd: boot\0'), measured: other }],
    [
      'a command of GRUB with text behind a zero byte',
      { pcr: 8, type: 13, data: Buffer.from('grub_cmd: boot\0evil\0'), measured: Buffer.from('boot') },
    ],
  ])('%s is found and not verified', (_, made) => {
    const { event, findings } = check(made);
    expect(event).toMatchObject({ verified: false, measured: undefined });
    expect(findings).toEqual([expect.objectContaining({ code: 'EVENT_DATA_MISMATCH', event: 1 })]);
  });

  test('in one bank of two is found, and says in which', () => {
    const data = Buffer.from('v1');
    const digests = [
      [TPM_ALG_SHA1, Buffer.alloc(20, 1)],
      [TPM_ALG_SHA256, sha256(data)],
    ] as const;
    const made: MadeEvent = { pcr: 0, type: 8, data, digests };
    expect(check(made).event).toMatchObject({ verified: false });
    const turned = checkEvents(parseEventLog(makeLog([{ ...made, digests: [digests[1], digests[0]] }], [11, 4])));
    expect(turned.findings).toEqual([expect.objectContaining({ code: 'EVENT_BANKS_DISAGREE', bank: TPM_ALG_SHA1 })]);
    const strong = checkEvents(parseEventLog(makeLog([made])), [TPM_ALG_SHA256]);
    expect(strong.events[1]).toMatchObject({ verified: true });
  });
});

describe('events under a type that they were not measured under', () => {
  const action = Buffer.from('Exit Boot Services Invocation');
  test.each<[string, MadeEvent]>([
    ['an action as an image', { pcr: 4, type: 0x8000_0003, data: Buffer.from('x'), measured: action }],
    ['an action as a version', { pcr: 0, type: 8, data: action }],
    ['an action as a tag', { pcr: 5, type: 6, data: action }],
    ['an action as an unknown type', { pcr: 5, type: 0x1234, data: action }],
    ['a separator as a version', { pcr: 0, type: 8, data: Buffer.alloc(4) }],
    ['a separator as an image', { pcr: 4, type: 0x8000_0003, data: Buffer.from('x'), measured: Buffer.alloc(4) }],
    ['a variable as an image', { pcr: 4, type: 0x8000_0003, data: bootOrder }],
    ['a variable as a partition table', { pcr: 4, type: 0x8000_0006, data: bootOrder }],
    ['a variable as a separator', { pcr: 7, type: 4, data: bootOrder }],
    ['a variable as an action', { pcr: 4, type: 0x8000_0007, data: makeVariable(GLOBAL, 'x', Buffer.from([1, 2])) }],
    ['a version as a variable', { pcr: 7, type: 0x8000_0001, data: Buffer.from('version') }],
    ['a version as an authority', { pcr: 7, type: 0x8000_00e0, data: Buffer.from('version') }],
    ['a version as firmware', { pcr: 2, type: 0x8000_0008, data: Buffer.from('version') }],
    ['a text as one of shim’s lists', { pcr: 14, type: 13, data: Buffer.from('MokList') }],
  ])('%s', (_, made) => {
    const { event, findings } = check(made);
    expect(event).toMatchObject({ verified: false, measured: undefined });
    expect(findings).toContainEqual(
      expect.objectContaining({ code: 'EVENT_TYPE_MISLABELLED', severity: 'error', event: 1 }),
    );
  });

  const blank = Buffer.alloc(92);
  test.each<[string, MadeEvent]>([
    ['an action with control characters', { pcr: 1, type: 0x8000_0007, data: Buffer.from('HP config\r\n') }],
    ['an action in another script', { pcr: 1, type: 5, data: Buffer.from('Intel® ME') }],
    ['bytes of a maker as a variable', { pcr: 1, type: 0x8000_0001, data: Buffer.from('VendorSetup') }],
    ['a blank disk as a partition table', { pcr: 5, type: 0x8000_0006, data: blank }],
    ['firmware that is measured by its description', { pcr: 0, type: 0x8000_0008, data: Buffer.alloc(16, 7) }],
    ['a separator of eight bytes', { pcr: 6, type: 4, data: Buffer.alloc(8) }],
  ])('are doubtful, and not believed, where no rule rests on their PCR: %s', (_, made) => {
    const { event, findings } = check(made);
    expect(event).toMatchObject({ verified: false, measured: undefined });
    expect(findings).toEqual([
      expect.objectContaining({ code: 'EVENT_TYPE_DOUBTFUL', severity: 'warning', event: 1, pcr: made.pcr }),
    ]);
  });

  test('an error separator is none of a PCR for another event that is called its separator', () => {
    const failed: MadeEvent = { pcr: 0, type: 1, data: Buffer.from('x'), measured: Buffer.from('01000000', 'hex') };
    const called: MadeEvent = { pcr: 0, type: 4, data: Buffer.from('version') };
    expect(check(failed, called).findings).toContainEqual(
      expect.objectContaining({ code: 'EVENT_TYPE_MISLABELLED', event: 1 }),
    );
  });

  test('a boot order that looks like a separator is none where the PCR has its own', () => {
    const data = makeVariable(GLOBAL, 'BootOrder', Buffer.alloc(4));
    const made: MadeEvent = { pcr: 1, type: 0x8000_0002, data, measured: Buffer.alloc(4) };
    expect(check(made, separator(1))).toMatchObject({ event: { verified: true }, findings: [] });
    expect(check(made).findings).toContainEqual(expect.objectContaining({ code: 'EVENT_TYPE_MISLABELLED' }));
  });
});

test('a type in a PCR where it is not at home, and an unknown type, are found', () => {
  expect(check({ pcr: 0, type: 0x8000_00e0, data: bootOrder }).findings).toEqual([
    expect.objectContaining({ code: 'EVENT_PCR_UNEXPECTED', severity: 'warning', pcr: 0 }),
  ]);
  expect(check({ pcr: 0, type: 0x40e, data: Buffer.from('x'), measured: Buffer.from('y') }).findings).toEqual([
    expect.objectContaining({ code: 'EVENT_TYPE_UNKNOWN', severity: 'info' }),
  ]);
});

test('every type of the table has a name of its own', () => {
  const names = [...EVENT_TYPES.values()].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  expect(names.every((name) => name.startsWith('EV_'))).toBe(true);
});
