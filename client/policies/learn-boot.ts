import { escapeText } from '../output.ts';
import type { BootReport } from '../sdk/boot-report.ts';
import { LearnError } from './learn-error.ts';
import { pcrKind, STABLE_PCRS } from './learned-pcrs.ts';

/** The parts of a policy that can be learned. */
export const LEARNED_PARTS = ['pcrs', 'secureBoot', 'signers', 'images', 'sbat', 'commandLine'] as const;
export type LearnedPart = (typeof LEARNED_PARTS)[number];

export interface LearnChoice {
  /** Undefined: all of them, and what is not proven is left out. Those that are named must be there. */
  readonly parts?: ReadonlySet<LearnedPart>;
  /** Default: {@link STABLE_PCRS}. */
  readonly pcrs?: readonly number[];
  /** Default: sha256 where it is active, else the strongest. */
  readonly bank?: string;
}

/** A digest or line, and what it is: a word of the host, escaped. */
export interface LearnedValue {
  readonly value: string;
  readonly note: string;
}

/** What is proven of a boot, as a policy names it. Undefined or empty: not asked for, or left out. */
export interface LearnedBoot {
  readonly host: string;
  readonly bootLogDigest: string;
  readonly pcrs: readonly { readonly bank: string; readonly index: number; readonly value: string }[];
  readonly secureBoot: boolean;
  readonly signers: readonly LearnedValue[];
  readonly images: readonly LearnedValue[];
  readonly sbat: ReadonlyMap<string, number>;
  readonly commandLines: readonly LearnedValue[];
  /** What is not in it, and why, for people. */
  readonly leftOut: readonly string[];
}

/** PCRs that the rules of a part rest on, as the service evaluates them. */
export const RESTS_ON: Readonly<Record<Exclude<LearnedPart, 'pcrs'>, readonly number[]>> = {
  secureBoot: [7, 14],
  signers: [7, 14],
  images: [4, 7, 14],
  sbat: [7, 14],
  commandLine: [8, 9, 12],
};

/** The service lists so many and no more: where a list is full, something may be missing. */
const FULL_SIGNERS = 64;
const FULL_IMAGES = 256;
const FULL_LINES = 64;
const MAX_LINE_BYTES = 4096;
const MAX_NOTE = 200;

/** Takes from a report what a policy can name, and nothing that is not proven. */
export function learnBoot(report: BootReport, choice: LearnChoice = {}): LearnedBoot {
  refuseUnverified(report);
  const parts = choice.parts ?? new Set(LEARNED_PARTS);
  const bank = choice.bank ?? defaultBank(report);
  const leftOut: string[] = [];
  const learn = <T>(part: LearnedPart, none: T, take: () => T | string): T => {
    if (!parts.has(part)) return none;
    const taken = (part === 'pcrs' ? undefined : hiddenBy(report, part)) ?? take();
    if (typeof taken !== 'string') return taken;
    if (choice.parts !== undefined) throw new LearnError('NOT_LEARNABLE', `${NAMES[part]}: ${taken}`);
    leftOut.push(`${NAMES[part]}: ${taken}`);
    return none;
  };
  return {
    host: report.host,
    bootLogDigest: report.bootLogDigest,
    pcrs: learn<LearnedBoot['pcrs']>('pcrs', [], () =>
      (choice.pcrs ?? STABLE_PCRS).map((index) => ({ bank, index, value: provenPcr(report, bank, index) })),
    ),
    secureBoot: learn('secureBoot', false, () => secureBootOf(report)),
    signers: learn<readonly LearnedValue[]>('signers', [], () => signersOf(report)),
    images: learn<readonly LearnedValue[]>('images', [], () => imagesOf(report, bank)),
    sbat: learn<ReadonlyMap<string, number>>('sbat', new Map(), () => sbatOf(report)),
    commandLines: learn<readonly LearnedValue[]>('commandLine', [], () => commandLinesOf(report)),
    leftOut,
  };
}

const NAMES: Readonly<Record<LearnedPart, string>> = {
  pcrs: 'PCR values',
  secureBoot: 'Secure Boot',
  signers: 'signers',
  images: 'images',
  sbat: 'SBAT level',
  commandLine: 'command line',
};

function refuseUnverified({ host, state, problem, contradictions }: BootReport): void {
  const why =
    state !== 'VERIFIED'
      ? problem === undefined
        ? 'its present boot is not proven yet'
        : `${problem.reason}: ${problem.message}`
      : contradictions.length > 0
        ? `its boot log contradicts itself (${contradictions.join(', ')})`
        : undefined;
  if (why !== undefined) throw new LearnError('BOOT_NOT_VERIFIED', `nothing is learned from ${host}: ${why}`);
}

/** The value that the TPM signed. Throws where there is none, or where it is good for nothing. */
export function provenPcr({ host, provenPcrs }: BootReport, bank: string, index: number): string {
  const kind = pcrKind(index);
  if (kind === undefined) throw new LearnError('NOT_LEARNABLE', `there is no PCR ${index}`);
  if (kind.refused !== undefined) throw new LearnError('NOT_LEARNABLE', `PCR ${index}: ${kind.refused}`);
  const proven = provenPcrs.find((pcr) => pcr.bank === bank && pcr.index === index);
  if (proven === undefined)
    throw new LearnError('NOT_LEARNABLE', `PCR ${index}: ${host} has no active ${bank} bank that proves it`);
  return proven.value;
}

const BANKS: readonly string[] = ['sha256', 'sha384', 'sha512'];

function defaultBank({ host, provenPcrs }: BootReport): string {
  const bank = BANKS.find((name) => provenPcrs.some((pcr) => pcr.bank === name));
  if (bank === undefined)
    throw new LearnError('NOT_LEARNABLE', `${host} has no active bank but sha1, which is broken; --bank sha1 takes it`);
  return bank;
}

/** What is in the log of a boot in full only where Secure Boot held. */
const NEEDS_SECURE_BOOT: readonly LearnedPart[] = ['signers', 'images', 'sbat'];

/** Why the service would not evaluate a rule of this part. */
function hiddenBy(report: BootReport, part: Exclude<LearnedPart, 'pcrs'>): string | undefined {
  const { provenPcrs, unexplainedPcrs } = report;
  if (!provenPcrs.some(({ bank }) => BANKS.includes(bank))) return 'no bank but sha1 proves it';
  const hidden = RESTS_ON[part].filter((pcr) => unexplainedPcrs.includes(pcr));
  if (hidden.length > 0) return `PCR ${hidden.join(', ')} was extended by more than the log says`;
  const held = NEEDS_SECURE_BOOT.includes(part) ? secureBootOf(report) : true;
  return held === true ? undefined : `Secure Boot does not vouch for them: ${held}`;
}

function secureBootOf({ secureBoot }: BootReport): true | string {
  if (secureBoot?.mode !== 'enabled') return `it was ${secureBoot?.mode ?? 'unknown'}`;
  return secureBoot.weaknesses.length === 0 || `it was on and did not hold (${secureBoot.weaknesses.join(', ')})`;
}

function signersOf({ secureBoot }: BootReport): readonly LearnedValue[] | string {
  const authorities = secureBoot?.authorities ?? [];
  if (authorities.length === 0) return 'none was measured';
  if (authorities.length >= FULL_SIGNERS) return `${FULL_SIGNERS} or more were measured`;
  return unique(
    authorities.map(({ sha256, subject, variable }) => ({
      value: sha256,
      note: note(`${subject === '' ? 'no certificate' : subject} (${variable})`),
    })),
  );
}

function imagesOf(report: BootReport, bank: string): readonly LearnedValue[] | string {
  if (report.images.length >= FULL_IMAGES) return `${FULL_IMAGES} or more ran`;
  const applications = report.images.filter(({ pcr }) => pcr === 4);
  if (applications.length === 0) return 'no boot application was measured';
  const position = report.banks.indexOf(bank);
  const values = applications.map(({ digests, name }) => ({ value: digests[position] ?? '', note: note(name) }));
  if (!BANKS.includes(bank) || values.some(({ value }) => value === '')) return `the log has no ${bank} digest of one`;
  return unique(values);
}

/** Lines of `component,generation[,…]`; of a component that stands twice the lower generation counts. */
function sbatOf({ secureBoot }: BootReport): ReadonlyMap<string, number> | string {
  const level = new Map<string, number>();
  for (const line of (secureBoot?.sbatLevel ?? '').split('\n')) {
    const [component = '', generation = ''] = line.trim().split(',');
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(component) || !/^[1-9]\d{0,8}$/.test(generation)) continue;
    level.set(component, Math.min(level.get(component) ?? Infinity, Number(generation)));
  }
  return level.size === 0 ? 'none was measured' : level;
}

function commandLinesOf({ kernelCommandLines, findings }: BootReport): readonly LearnedValue[] | string {
  if (kernelCommandLines.length === 0) return 'none was measured';
  if (kernelCommandLines.length >= FULL_LINES) return `${FULL_LINES} or more were measured`;
  if (findings.some(({ code }) => code === 'KERNEL_COMMAND_LINE_AMBIGUOUS')) return 'several were measured';
  if (kernelCommandLines.some(({ text, verified }) => !verified || text === ''))
    return 'the log does not hold the text that was measured';
  if (kernelCommandLines.some(({ text }) => Buffer.byteLength(text) > MAX_LINE_BYTES)) return 'it is too long to name';
  if (kernelCommandLines.some(({ text }) => /[\p{C}\p{Zl}\p{Zp}\p{DI}\ufffd]/u.test(text.trim())))
    return 'it has characters that cannot be shown';
  return unique(kernelCommandLines.map(({ text, source }) => ({ value: text.trim(), note: note(`by ${source}`) })));
}

/** One line, whatever the host called it. */
function note(text: string): string {
  const whole = text.toWellFormed();
  return escapeText(whole.length > MAX_NOTE ? `${whole.slice(0, MAX_NOTE).toWellFormed()}…` : whole);
}

function unique(values: readonly LearnedValue[]): readonly LearnedValue[] {
  return [...new Map(values.toReversed().map((value) => [value.value, value])).values()].toReversed();
}
