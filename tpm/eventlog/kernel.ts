/** Kernel command lines and initrds, by whoever measured them: GRUB, systemd-boot or stub, Linux's own EFI stub. */
import type { CheckedEvent } from './check-events.ts';
import { decodeEventData, readLoggedText } from './event-data.ts';
import { EV_EVENT_TAG, EV_IPL, EV_SEPARATOR, grubPrefix } from './event-types.ts';
import type { FindingList } from './finding.ts';
import { EV_NO_ACTION } from './parse.ts';

/** A command line that a loader measured. */
export interface CommandLine {
  readonly event: number;
  readonly pcr: number;
  readonly source: 'grub' | 'systemd' | 'efi-stub';
  /** Undefined where the log has but the digest, as Linux's EFI stub leaves it. */
  readonly text: string | undefined;
  /**
   * Is the text what was measured? That a text was *the command line* is the loader's word: the log's prefix is not covered.
   */
  readonly verified: boolean;
}

/** An initrd: the digest is that of the file, its name a hint. */
export interface Initrd {
  readonly event: number;
  readonly pcr: number;
  readonly source: 'grub' | 'efi-stub';
  readonly name: string;
  /** In the order of the log's banks. */
  readonly digests: readonly (Buffer | undefined)[];
}

export interface KernelClaims {
  readonly commandLines: readonly CommandLine[];
  readonly initrds: readonly Initrd[];
}

const GRUB_COMMAND_PCR = 8;
const GRUB_FILE_PCR = 9;
/** systemd-boot of 2019 used 8; the stub measures into 12. */
const SYSTEMD_PCRS: readonly number[] = [8, 12];
/** Where commands and command lines stand. */
const COMMAND_PCRS: readonly number[] = [8, 12];

/** Tags of Linux's EFI stub (drivers/firmware/efi/libstub/efistub.h). */
const INITRD_TAG = 0x8f3b_22ec;
const LOAD_OPTIONS_TAG = 0x8f3b_22ed;

const GRUB_LINUX = /^linux(?:efi|16)? (?<arguments>.*)$/s;
const GRUB_INITRD = /^initrd(?:efi|16)? (?<files>.*)$/s;

export function readKernel(events: readonly CheckedEvent[], findings: FindingList): KernelClaims {
  const commandLines = collect(events, readCommandLine);
  const commands = collect(events, readGrubCommand);
  const initrdNames = new Set(
    commands.flatMap((command) => GRUB_INITRD.exec(command)?.groups?.['files']?.split(' ') ?? []),
  );
  const lines = new Set(commandLines.map(({ event }) => event));
  const unknown = events.find((event) => COMMAND_PCRS.includes(event.pcr) && !isUnderstood(event, lines));
  findAmbiguity({ commandLines, commands, unknown, twin: findTwin(events, commandLines) }, findings);
  const mayBeNamed = fitsAny(initrdNames);
  return {
    commandLines,
    initrds: collect(events, (event) => readInitrd(event, { names: initrdNames, mayBeNamed })),
  };
}

/** What is read of events: of most of them nothing. */
function collect<T>(events: readonly CheckedEvent[], read: (event: CheckedEvent) => T | undefined): readonly T[] {
  const found: T[] = [];
  for (const event of events) {
    const item = read(event);
    if (item !== undefined) found.push(item);
  }
  return found;
}

function readCommandLine(event: CheckedEvent): CommandLine | undefined {
  const { index, pcr, type, data, verified, measured } = event;
  if (type === EV_EVENT_TAG) {
    const tag = decodeEventData(event);
    if (tag.kind !== 'tag' || tag.id !== LOAD_OPTIONS_TAG) return undefined;
    return { event: index, pcr, source: 'efi-stub', text: undefined, verified: false };
  }
  if (type !== EV_IPL || !COMMAND_PCRS.includes(pcr)) return undefined;
  const prefix = grubPrefix(data);
  if (pcr === GRUB_COMMAND_PCR && prefix.includes('kernel_cmdline')) {
    return {
      event: index,
      pcr,
      verified,
      source: 'grub',
      text: readLoggedText(measured ?? data.subarray(prefix.length)),
    };
  }
  if (!SYSTEMD_PCRS.includes(pcr) || prefix !== '' || !isWide(data)) return undefined;
  return { event: index, pcr, verified, source: 'systemd', text: readLoggedText(measured ?? data) };
}

/**
 * Whether an event among commands and command lines is one that is read here. What is called otherwise may be a command line that
 * somebody hides to put another one beside it: neither type nor prefix is covered by the digest. A command of GRUB tells by its own
 * text whether it loads a kernel.
 */
function isUnderstood({ index, pcr, type, data, verified }: CheckedEvent, lines: ReadonlySet<number>): boolean {
  if (type === EV_NO_ACTION || lines.has(index)) return type === EV_NO_ACTION || verified;
  if (type === EV_SEPARATOR) return verified;
  return pcr === GRUB_COMMAND_PCR && type === EV_IPL && verified && grubPrefix(data).startsWith('grub_cmd');
}

/**
 * A text that differs from a command line in its quotes alone, and is not called one: GRUB's commands do not tell them apart, and the
 * kernel does.
 */
function findTwin(events: readonly CheckedEvent[], lines: readonly CommandLine[]): CheckedEvent | undefined {
  const called = new Set(lines.map(({ event }) => event));
  const texts = new Set(lines.flatMap(({ text }) => text ?? []));
  const plainTexts = new Set([...texts].map(plain));
  const starts = new Set([...TWIN_STARTS, ...[...plainTexts].map((text) => text.charCodeAt(0))]);
  return events.find(({ index, pcr, type, measured }) => {
    if (pcr !== GRUB_COMMAND_PCR || type !== EV_IPL || measured === undefined || called.has(index)) return false;
    if (!starts.has(measured[0] ?? 0)) return false;
    const text = measured.toString('utf8').replace(/\0$/, '');
    return !texts.has(text) && plainTexts.has(plain(text));
  });
}

/** What {@link plain} takes away: a text may begin with it. */
const TWIN_STARTS: readonly number[] = ['"', "'", '\\', ' ', '\t'].map((character) => character.charCodeAt(0));

/** `l` and `i`: of a hundred commands two or three are worth a closer look. */
const COMMAND_STARTS: readonly (number | undefined)[] = ['linux', 'initrd'].map((command) => command.charCodeAt(0));

/** A verified text of GRUB that may load a kernel or an initrd, and is not labelled as a command line. */
function readGrubCommand({ type, pcr, data, measured }: CheckedEvent): string | undefined {
  if (type !== EV_IPL || pcr !== GRUB_COMMAND_PCR || measured === undefined) return undefined;
  if (!COMMAND_STARTS.includes(measured[0])) return undefined;
  if (grubPrefix(data).includes('cmdline') || isWide(data)) return undefined;
  return measured.toString('utf8').replace(/\0$/, '');
}

/** Whether bytes are as long as one of the texts would be: to read each name of a file costs more than all else of its event. */
function fitsAny(texts: ReadonlySet<string>): (bytes: Buffer) => boolean {
  // Bytes that are no UTF-8 are shorter than what stands for them.
  const unsure = [...texts].some((text) => text.includes('\u{fffd}'));
  const lengths = new Set([...texts].map((text) => Buffer.byteLength(text)));
  return (bytes) =>
    unsure || lengths.has(bytes.length) || lengths.has(bytes.length - 1) || (lengths.size > 0 && isWide(bytes));
}

function readInitrd(
  event: CheckedEvent,
  { names, mayBeNamed }: { readonly names: ReadonlySet<string>; readonly mayBeNamed: (bytes: Buffer) => boolean },
): Initrd | undefined {
  const { index, pcr, type, data, digests } = event;
  if (type === EV_EVENT_TAG) {
    const tag = decodeEventData(event);
    if (tag.kind !== 'tag' || tag.id !== INITRD_TAG) return undefined;
    return { event: index, pcr, source: 'efi-stub', name: tag.text, digests };
  }
  if (type !== EV_IPL || pcr !== GRUB_FILE_PCR || !mayBeNamed(data)) return undefined;
  const name = readLoggedText(data) ?? '';
  return names.has(name) ? { event: index, pcr, source: 'grub', name, digests } : undefined;
}

/**
 * One text must be the command line. Two different ones, or a `linux` command of GRUB whose arguments no command line repeats, mean
 * that the log was relabelled, or that a first choice was given up for a second. So does an event among GRUB's commands that
 * nobody can read: it may be one.
 */
function findAmbiguity(
  measured: {
    readonly commandLines: readonly CommandLine[];
    readonly commands: readonly string[];
    readonly unknown: CheckedEvent | undefined;
    readonly twin: CheckedEvent | undefined;
  },
  findings: FindingList,
): void {
  const { commandLines, commands, unknown, twin } = measured;
  if (twin !== undefined) {
    const place = { event: twin.index, pcr: twin.pcr };
    findings.add('KERNEL_COMMAND_LINE_AMBIGUOUS', place, 'the command line was measured with other quotes, too');
  }
  if (unknown !== undefined && commandLines.length > 0) {
    const place = { event: unknown.index, pcr: unknown.pcr };
    findings.add('KERNEL_COMMAND_LINE_AMBIGUOUS', place, 'beside the command line something unknown was measured');
  }
  const texts = commandLines.flatMap(({ text }) => (text === undefined ? [] : [plain(text)]));
  const loaded = commands.flatMap((command) => GRUB_LINUX.exec(command)?.groups?.['arguments'] ?? []).map(plain);
  const all = new Set([...texts, ...loaded]);
  if (all.size <= 1) return;
  const event = commandLines.at(-1)?.event;
  findings.add('KERNEL_COMMAND_LINE_AMBIGUOUS', { event }, `${all.size} different kernel command lines were measured`);
}

/** GRUB quotes arguments in the one event and not in the other. */
function plain(text: string): string {
  return text
    .replaceAll(/["'\\]/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

function isWide(data: Buffer): boolean {
  return data.length >= 4 && data[1] === 0 && data[3] === 0 && data[0] !== 0;
}
