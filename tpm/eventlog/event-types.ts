/**
 * One row per event type: its name, where the PC Client profile (PFP 1.06 §10.4) lets it stand, and what its digest covers.
 *
 * A TPM proves digests alone: neither the type nor the data of an event is covered. So data is used only where it, or a stated
 * part of it, has the digest that was extended.
 */
import { EFI_DEVICE_SECURITY_DATABASE, readVariable } from './uefi-variable.ts';
import { EV_NO_ACTION } from './parse.ts';
import type { LogEvent } from './parse.ts';

/**
 * What the digest of an event covers. The first five are bytes of the event itself; the others are things that the log does not
 * hold, of which the data is a hint.
 */
export type Coverage =
  | 'event-data'
  | 'variable-data'
  | 'text'
  | 'tag-content'
  | 'separator-value'
  | 'image'
  | 'firmware'
  | 'tables'
  | 'file'
  | 'section'
  | 'variable-content'
  | 'unknown'
  | 'nothing';

/** Bytes that the digest may be that of. */
export interface Candidate {
  readonly covers: Coverage;
  readonly bytes: Buffer;
}

export interface DigestRule {
  /** Most likely first. */
  readonly candidates: (event: LogEvent) => readonly Candidate[];
  /** What the digest covers where no candidate has it. */
  readonly otherwise: Coverage;
  /**
   * `data`: the digest must be that of a candidate. `hint`: it may be. `never`: a digest of the data gives away an event that was
   * measured under another type.
   */
  readonly binding: 'data' | 'hint' | 'never';
  /** Do bytes that have the digest look as this type demands? */
  readonly fits?: (measured: Buffer) => boolean;
}

export interface EventTypeRow {
  readonly type: number;
  readonly name: string;
  readonly rule: DigestRule | ((event: LogEvent) => DigestRule);
  /** PCRs where it is at home; undefined for any. */
  readonly pcrs?: readonly number[];
}

export const EV_SEPARATOR = 0x0000_0004;
export const EV_EVENT_TAG = 0x0000_0006;
export const EV_ACTION = 0x0000_0005;
export const EV_S_CRTM_VERSION = 0x0000_0008;
export const EV_IPL = 0x0000_000d;
export const EV_EFI_VARIABLE_DRIVER_CONFIG = 0x8000_0001;
export const EV_EFI_VARIABLE_BOOT = 0x8000_0002;
export const EV_EFI_BOOT_SERVICES_APPLICATION = 0x8000_0003;
export const EV_EFI_BOOT_SERVICES_DRIVER = 0x8000_0004;
export const EV_EFI_RUNTIME_SERVICES_DRIVER = 0x8000_0005;
export const EV_EFI_GPT_EVENT = 0x8000_0006;
export const EV_EFI_ACTION = 0x8000_0007;
export const EV_EFI_PLATFORM_FIRMWARE_BLOB = 0x8000_0008;
export const EV_EFI_PLATFORM_FIRMWARE_BLOB2 = 0x8000_000a;
export const EV_EFI_VARIABLE_BOOT2 = 0x8000_000c;
export const EV_EFI_GPT_EVENT2 = 0x8000_000d;
export const EV_EFI_HCRTM_EVENT = 0x8000_0010;
export const EV_EFI_VARIABLE_AUTHORITY = 0x8000_00e0;

export const EV_ACTION_TYPES: readonly number[] = [EV_ACTION, EV_EFI_ACTION];

/** The values that a separator may have (PFP §10.4.5.3); ONES is that of older firmware, ERROR says that firmware failed. */
export const SEPARATOR_ZERO = Buffer.from('00000000', 'hex');
export const SEPARATOR_ONES = Buffer.from('ffffffff', 'hex');
export const SEPARATOR_ERROR = Buffer.from('01000000', 'hex');

const data = ({ data: bytes }: LogEvent): readonly Candidate[] => [{ covers: 'event-data', bytes }];
const none = (): readonly Candidate[] => [];

const whole: DigestRule = { candidates: data, otherwise: 'unknown', binding: 'data' };
const variable: DigestRule = { ...whole, fits: (measured) => readVariable(measured) !== undefined };
/** SPDM (PFP 1.06 §10.4.1) has a database of its own: an image's must not hide under its types. */
const deviceVariable: DigestRule = {
  ...whole,
  fits: (measured) => readVariable(measured)?.guid === EFI_DEVICE_SECURITY_DATABASE,
};
const gpt: DigestRule = { ...whole, fits: (measured) => measured.subarray(0, 8).toString('latin1') === 'EFI PART' };
const nothing: DigestRule = { candidates: none, otherwise: 'nothing', binding: 'hint' };

/** A digest of something outside of the log. Where `data` happens to have it (firmware differs), the data counts. */
function hint(otherwise: Coverage): DigestRule {
  return { candidates: data, otherwise, binding: 'hint' };
}

/** A PE image by its Authenticode digest, or a range of memory: never the event's own bytes. */
function never(otherwise: Coverage): DigestRule {
  return { candidates: none, otherwise, binding: 'never' };
}

/** A string, measured without its terminator (PFP §10.4.5.4); some firmware logs a terminator, some measures it too. */
const action: DigestRule = {
  candidates: ({ data: bytes }) => [...withoutTerminator(bytes), { covers: 'text', bytes }],
  otherwise: 'unknown',
  binding: 'data',
  fits: (measured) => measured.every((byte) => byte === 0 || (byte >= 0x20 && byte < 0x7f)),
};

/** The four bytes; in the error form the data is the vendor's description and the digest that of 0x00000001. */
const separator: DigestRule = {
  candidates: ({ data: bytes }) => [
    { covers: 'event-data', bytes },
    { covers: 'separator-value', bytes: SEPARATOR_ERROR },
  ],
  otherwise: 'unknown',
  binding: 'data',
  fits: (measured) => measured.length === 4,
};

/** PFP 1.05 measures the variable's data without its name; some firmware, and later profiles, the whole structure. */
const bootVariable: DigestRule = {
  candidates: ({ data: bytes }) => {
    const content = readVariable(bytes)?.data;
    return [
      ...(content === undefined ? [] : [{ covers: 'variable-data', bytes: content } as const]),
      { covers: 'event-data', bytes },
    ];
  },
  otherwise: 'unknown',
  binding: 'data',
};

/** shim before 15.3 logged one byte more than it measured. */
const authority: DigestRule = {
  ...variable,
  candidates: ({ data: bytes }) => [
    { covers: 'event-data', bytes },
    ...(bytes.length > 0 ? [{ covers: 'event-data', bytes: bytes.subarray(0, -1) } as const] : []),
  ],
};

/**
 * UEFI_PLATFORM_TAGGED_EVENT {id, size, content}. Linux's EFI stub measures what the content describes (command line, initrd);
 * Windows measures the whole; others the content.
 */
const tagged: DigestRule = {
  candidates: ({ data: bytes }) => [
    { covers: 'event-data', bytes },
    ...(bytes.length > 8 ? [{ covers: 'tag-content', bytes: bytes.subarray(8) } as const] : []),
  ],
  otherwise: 'unknown',
  binding: 'hint',
};

/** What GRUB puts before the text that it measures. The prefix itself is not covered by the digest. */
export const GRUB_PREFIXES = [
  'grub_cmd: ',
  'kernel_cmdline: ',
  'module_cmdline: ',
  'grub_cmd ',
  'grub_kernel_cmdline ',
  'grub_module_cmdline ',
] as const;

const GRUB_PREFIX_BYTES = GRUB_PREFIXES.map((prefix) => ({ prefix, bytes: Buffer.from(prefix, 'latin1') }));

/** The prefix of GRUB that a text begins with, or ''. Asked of every event of a loader, several times: no text is made for it. */
export function grubPrefix(text: Buffer): string {
  for (const { prefix, bytes } of GRUB_PREFIX_BYTES) if (beginsWith(text, bytes)) return prefix;
  return '';
}

function beginsWith(text: Buffer, start: Buffer): boolean {
  for (let at = 0; at < start.length; at += 1) if (text[at] !== start[at]) return false;
  return true;
}

/** GRUB's commands without prefix and terminator; systemd-boot's command line, UTF-16 with its terminator. */
const commands: DigestRule = {
  candidates: ({ data: bytes }) => {
    const prefix = grubPrefix(bytes).length;
    const text = bytes.subarray(prefix);
    return [
      ...withoutTerminator(text),
      { covers: prefix === 0 ? 'event-data' : 'text', bytes: text },
      ...(prefix === 0 ? withWholeTerminator(bytes) : []),
    ];
  },
  otherwise: 'unknown',
  binding: 'data',
};

/** systemd-boot and stub: UTF-16 with terminator; add-ons are measured by their content. */
const utf16Text: DigestRule = {
  candidates: ({ data: bytes }) => [{ covers: 'event-data', bytes }, ...withWholeTerminator(bytes)],
  otherwise: 'section',
  binding: 'hint',
};

/** systemd-stub measures of each section of a unified kernel image its name (ASCII with terminator), then its content. */
const ukiSection: DigestRule = {
  candidates: ({ data: bytes }) => {
    const name = bytes.toString('utf16le').replace(/\0+$/, '');
    return [
      { covers: 'text', bytes: Buffer.from(`${name}\0`, 'latin1') },
      { covers: 'event-data', bytes },
    ];
  },
  otherwise: 'section',
  binding: 'hint',
};

const IPL_RULES: Readonly<Record<number, DigestRule>> = {
  8: commands,
  9: hint('file'),
  11: ukiSection,
  12: utf16Text,
  13: utf16Text,
  14: never('variable-content'),
};

const ipl = ({ pcr }: LogEvent): DigestRule => IPL_RULES[pcr] ?? hint('unknown');

function withoutTerminator(bytes: Buffer): readonly Candidate[] {
  return bytes.at(-1) === 0 ? [{ covers: 'text', bytes: bytes.subarray(0, -1) }] : [];
}

/** systemd-boot of 2019 logged half of the terminator that it measured. */
function withWholeTerminator(bytes: Buffer): readonly Candidate[] {
  return bytes.length % 2 === 1 && bytes.at(-1) === 0
    ? [{ covers: 'text', bytes: Buffer.concat([bytes, Buffer.alloc(1)]) }]
    : [];
}

/** PCRs whose events say what booted, and how it was verified: here a type that cannot be right may hide another. */
export const DECISIVE_PCRS: readonly number[] = [2, 4, 7, 8, 9, 12, 14];

const preOs = [0, 1, 2, 3, 4, 5, 6, 7];
/** Not 7 and 8, whose every event has a meaning of its own, nor 10, which is IMA's. */
const anyButDecisive = [0, 1, 2, 3, 4, 5, 6, 9, 11, 12, 13, 14, 15];

/** Types of the PC Client profile, of SPDM (PFP 1.06 §10.4.1) and of boot loaders. */
export const EVENT_TYPES: ReadonlyMap<number, EventTypeRow> = new Map(
  (
    [
      { type: 0x0000_0000, name: 'EV_PREBOOT_CERT', rule: hint('unknown'), pcrs: preOs },
      { type: 0x0000_0001, name: 'EV_POST_CODE', rule: hint('firmware'), pcrs: [0] },
      { type: EV_NO_ACTION, name: 'EV_NO_ACTION', rule: nothing },
      { type: EV_SEPARATOR, name: 'EV_SEPARATOR', rule: separator },
      { type: EV_ACTION, name: 'EV_ACTION', rule: action },
      { type: EV_EVENT_TAG, name: 'EV_EVENT_TAG', rule: tagged, pcrs: anyButDecisive },
      { type: 0x0000_0007, name: 'EV_S_CRTM_CONTENTS', rule: hint('firmware'), pcrs: [0] },
      { type: EV_S_CRTM_VERSION, name: 'EV_S_CRTM_VERSION', rule: whole, pcrs: [0] },
      { type: 0x0000_0009, name: 'EV_CPU_MICROCODE', rule: hint('firmware'), pcrs: [0, 1] },
      { type: 0x0000_000a, name: 'EV_PLATFORM_CONFIG_FLAGS', rule: hint('tables'), pcrs: [1, 3, 5] },
      { type: 0x0000_000b, name: 'EV_TABLE_OF_DEVICES', rule: hint('tables'), pcrs: [1] },
      { type: 0x0000_000c, name: 'EV_COMPACT_HASH', rule: hint('unknown'), pcrs: anyButDecisive },
      { type: EV_IPL, name: 'EV_IPL', rule: ipl, pcrs: [4, 5, 8, 9, 11, 12, 13, 14] },
      { type: 0x0000_000e, name: 'EV_IPL_PARTITION_DATA', rule: hint('unknown'), pcrs: [5] },
      { type: 0x0000_000f, name: 'EV_NONHOST_CODE', rule: hint('firmware'), pcrs: [0, 2] },
      { type: 0x0000_0010, name: 'EV_NONHOST_CONFIG', rule: hint('tables'), pcrs: [1, 3] },
      { type: 0x0000_0011, name: 'EV_NONHOST_INFO', rule: hint('firmware'), pcrs: [0, 1, 2] },
      { type: 0x0000_0012, name: 'EV_OMIT_BOOT_DEVICE_EVENTS', rule: action, pcrs: [4] },
      { type: 0x0000_0013, name: 'EV_POST_CODE2', rule: hint('firmware'), pcrs: [0, 2] },
      {
        type: EV_EFI_VARIABLE_DRIVER_CONFIG,
        name: 'EV_EFI_VARIABLE_DRIVER_CONFIG',
        rule: variable,
        pcrs: [1, 3, 5, 7],
      },
      { type: EV_EFI_VARIABLE_BOOT, name: 'EV_EFI_VARIABLE_BOOT', rule: bootVariable, pcrs: [1, 5] },
      {
        type: EV_EFI_BOOT_SERVICES_APPLICATION,
        name: 'EV_EFI_BOOT_SERVICES_APPLICATION',
        rule: never('image'),
        pcrs: [2, 4],
      },
      { type: EV_EFI_BOOT_SERVICES_DRIVER, name: 'EV_EFI_BOOT_SERVICES_DRIVER', rule: never('image'), pcrs: [0, 2] },
      {
        type: EV_EFI_RUNTIME_SERVICES_DRIVER,
        name: 'EV_EFI_RUNTIME_SERVICES_DRIVER',
        rule: never('image'),
        pcrs: [0, 2],
      },
      { type: EV_EFI_GPT_EVENT, name: 'EV_EFI_GPT_EVENT', rule: gpt, pcrs: [5] },
      { type: EV_EFI_ACTION, name: 'EV_EFI_ACTION', rule: action, pcrs: preOs },
      {
        type: EV_EFI_PLATFORM_FIRMWARE_BLOB,
        name: 'EV_EFI_PLATFORM_FIRMWARE_BLOB',
        rule: never('firmware'),
        pcrs: [0, 2],
      },
      { type: 0x8000_0009, name: 'EV_EFI_HANDOFF_TABLES', rule: hint('tables'), pcrs: [1] },
      {
        type: EV_EFI_PLATFORM_FIRMWARE_BLOB2,
        name: 'EV_EFI_PLATFORM_FIRMWARE_BLOB2',
        rule: never('firmware'),
        pcrs: [0, 2],
      },
      { type: 0x8000_000b, name: 'EV_EFI_HANDOFF_TABLES2', rule: hint('tables'), pcrs: [1, 3] },
      { type: EV_EFI_VARIABLE_BOOT2, name: 'EV_EFI_VARIABLE_BOOT2', rule: bootVariable, pcrs: [1] },
      { type: EV_EFI_GPT_EVENT2, name: 'EV_EFI_GPT_EVENT2', rule: gpt, pcrs: [5] },
      { type: EV_EFI_HCRTM_EVENT, name: 'EV_EFI_HCRTM_EVENT', rule: hint('firmware'), pcrs: [0] },
      { type: EV_EFI_VARIABLE_AUTHORITY, name: 'EV_EFI_VARIABLE_AUTHORITY', rule: authority, pcrs: [7] },
      { type: 0x8000_00e1, name: 'EV_EFI_SPDM_FIRMWARE_BLOB', rule: hint('firmware'), pcrs: [2] },
      { type: 0x8000_00e2, name: 'EV_EFI_SPDM_FIRMWARE_CONFIG', rule: hint('firmware'), pcrs: [3] },
      { type: 0x8000_00e3, name: 'EV_EFI_SPDM_DEVICE_POLICY', rule: deviceVariable, pcrs: [7] },
      { type: 0x8000_00e4, name: 'EV_EFI_SPDM_DEVICE_AUTHORITY', rule: deviceVariable, pcrs: [7] },
    ] satisfies readonly EventTypeRow[]
  ).map((row): [number, EventTypeRow] => [row.type, row]),
);

const unknownRule = hint('unknown');

/** The rule for an event's digest; of a type without a row nothing is known but that data may have the digest. */
export function digestRule(event: LogEvent): DigestRule {
  const rule = EVENT_TYPES.get(event.type)?.rule ?? unknownRule;
  return typeof rule === 'function' ? rule(event) : rule;
}

/** `EV_SEPARATOR`; a type without a name as `0x0000040e`. */
export function eventTypeName(type: number): string {
  return EVENT_TYPES.get(type)?.name ?? `0x${type.toString(16).padStart(8, '0')}`;
}
