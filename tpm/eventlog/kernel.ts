/** Kernel command lines and initrds, by whoever measured them: GRUB, systemd-boot or stub, Linux's own EFI stub. */
import type { CheckedEvent, CheckedLog } from './check-events.ts';
import { decodeEventData, readLoggedText } from './event-data.ts';
import { EV_EVENT_TAG, EV_IPL, EV_SEPARATOR, grubPrefix } from './event-types.ts';
import type { EventLogPlace, FindingList } from './finding.ts';
import { looksLikeGrubCommand, readGrubCommand } from './grub-commands.ts';
import type { GrubCommand } from './grub-commands.ts';
import { findLoadOptions } from './load-options.ts';
import type { CommandLine } from './load-options.ts';
import { EV_NO_ACTION } from './parse.ts';

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

/** Command lines, and commands that load a kernel or an initrd, that are looked at: a boot has one or two. */
const MAX_LINES = 64;

interface MeasuredCommand {
  readonly event: CheckedEvent;
  readonly command: GrubCommand;
}

export function readKernel({ events, banks }: CheckedLog, findings: FindingList): KernelClaims {
  const found = readCommandLines(events);
  const commands = events.flatMap((event) => readCommand(event));
  const loads = commands.filter(({ command: { kind } }) => kind === 'linux' || kind === 'initrd');
  const commandLines = findLoadOptions(found.slice(0, MAX_LINES), { events, banks });
  const understood = new Set([
    ...found.filter(({ verified }) => verified).map(({ event }) => event),
    ...commands.filter(({ command }) => command.kind !== 'unknown').map(({ event }) => event.index),
  ]);
  const unknown = events.find((event) => COMMAND_PCRS.includes(event.pcr) && !isUnderstood(event, understood));
  const excess = found.length > MAX_LINES || loads.length > MAX_LINES;
  const read = loads.slice(0, MAX_LINES).map(({ command }) => command);
  findAmbiguity({ commandLines, commands: read, unknown, excess }, findings);
  const files = read.flatMap((command) => (command.kind === 'initrd' ? command.files : []));
  const initrdNames = new Set(files);
  return { commandLines, initrds: events.flatMap((event) => readInitrd(event, initrdNames)) };
}

/** One more than are looked at tells that there are too many. */
function readCommandLines(events: readonly CheckedEvent[]): readonly CommandLine[] {
  const lines: CommandLine[] = [];
  for (const event of events) {
    if (lines.length > MAX_LINES) break;
    lines.push(...readCommandLine(event));
  }
  return lines;
}

function readCommandLine(event: CheckedEvent): readonly CommandLine[] {
  const { index, pcr, type, data, verified, measured } = event;
  const common = { event: index, pcr, verified };
  if (type === EV_EVENT_TAG) {
    const tag = decodeEventData(event);
    if (tag.kind !== 'tag' || tag.id !== LOAD_OPTIONS_TAG) return [];
    return [{ event: index, pcr, source: 'efi-stub', text: undefined, verified: false }];
  }
  if (type !== EV_IPL) return [];
  const prefix = grubPrefix(data);
  if (pcr === GRUB_COMMAND_PCR && prefix.includes('kernel_cmdline')) {
    return [{ ...common, source: 'grub', text: readLoggedText(measured ?? data.subarray(prefix.length)) }];
  }
  if (!SYSTEMD_PCRS.includes(pcr) || prefix !== '' || !isWide(data)) return [];
  return [{ ...common, source: 'systemd', text: readLoggedText(measured ?? data) }];
}

/**
 * Whether an event among commands and command lines is one that is read here. What is called otherwise may be a command line that
 * somebody hides to put another one beside it: neither type nor prefix is covered by the digest. A command of GRUB tells by its own
 * text whether it may start something.
 */
function isUnderstood({ index, type, verified }: CheckedEvent, understood: ReadonlySet<number>): boolean {
  if (type === EV_NO_ACTION || understood.has(index)) return true;
  return type === EV_SEPARATOR && verified;
}

/** A verified text that GRUB ran as a command. */
function readCommand(event: CheckedEvent): readonly MeasuredCommand[] {
  const { type, pcr, data, measured } = event;
  if (type !== EV_IPL || pcr !== GRUB_COMMAND_PCR || measured === undefined) return [];
  if (!grubPrefix(data).startsWith('grub_cmd')) return [];
  return [{ event, command: readGrubCommand(measured.toString('utf8').replace(/\0$/, '')) }];
}

function readInitrd(event: CheckedEvent, names: ReadonlySet<string>): readonly Initrd[] {
  const { index, pcr, type, data, digests } = event;
  if (type === EV_EVENT_TAG) {
    const tag = decodeEventData(event);
    if (tag.kind !== 'tag' || tag.id !== INITRD_TAG) return [];
    return [{ event: index, pcr, source: 'efi-stub', name: tag.text, digests }];
  }
  if (type !== EV_IPL || pcr !== GRUB_FILE_PCR) return [];
  const name = readLoggedText(data) ?? '';
  return names.has(name) ? [{ event: index, pcr, source: 'grub', name, digests }] : [];
}

/**
 * One text must be the command line. Two different ones, or a `linux` command of GRUB whose arguments no command line repeats, mean
 * that the log was relabelled, or that a first choice was given up for a second. So does an event among GRUB's commands that
 * nobody can read, and a command that may start something else: what boots then is not what the line says.
 */
function findAmbiguity(
  measured: {
    readonly commandLines: readonly CommandLine[];
    readonly commands: readonly GrubCommand[];
    readonly unknown: CheckedEvent | undefined;
    readonly excess: boolean;
  },
  findings: FindingList,
): void {
  const { commandLines, commands, unknown, excess } = measured;
  const event = commandLines.at(-1)?.event;
  const add = (message: string, place: EventLogPlace = { event }): void =>
    findings.add('KERNEL_COMMAND_LINE_AMBIGUOUS', place, message);
  if (excess) add(`more than ${MAX_LINES} kernel command lines, or commands that load one, were measured`);
  else if (unknown !== undefined && commandLines.length > 0) {
    const place = { event: unknown.index, pcr: unknown.pcr };
    add(`beside the command line something unknown was measured${wordsOf(unknown)}`, place);
  }
  const texts = commandLines.flatMap(({ text }) => (text === undefined ? [] : [plain(text)]));
  const alike = commandLines.find(({ source, text }) => source === 'grub' && looksLikeGrubCommand(plain(text ?? '/')));
  if (alike !== undefined) add('the command line could as well be a command of GRUB', { event: alike.event });
  const loaded = commands.flatMap((command) => (command.kind === 'linux' ? [plain(command.arguments)] : []));
  const all = new Set([...texts, ...loaded]);
  if (all.size > 1) add(`${all.size} different kernel command lines were measured`);
}

const MAX_WORDS = 80;

/** The command that nobody knows here, for people. */
function wordsOf({ measured }: CheckedEvent): string {
  const text = measured === undefined ? undefined : readLoggedText(measured.subarray(0, MAX_WORDS));
  return text === undefined ? '' : `: ${text}`;
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
