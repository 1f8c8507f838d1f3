import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import { looseArguments } from '../../tpm/eventlog/kernel-arguments.ts';
import { bootAggregatesOf, checkBootAggregate, isBootAggregate } from '../../tpm/ima/boot-aggregate.ts';
import type { BootAggregateTable, BootAggregateVariant } from '../../tpm/ima/boot-aggregate.ts';
import { isProvenByMoreThanSha1 } from '../../tpm/ima/checkpoint.ts';
import type { ImaCheckpoint } from '../../tpm/ima/checkpoint.ts';
import { examineEntry } from '../../tpm/ima/examine.ts';
import type { ExaminedEntry } from '../../tpm/ima/examine.ts';
import type { ImaFinding } from '../../tpm/ima/findings.ts';
import { ambiguousFormat } from '../../tpm/ima/kernel-format.ts';
import type { ImaKeyring } from '../../tpm/ima/keyring.ts';
import { replayImaList } from '../../tpm/ima/replay.ts';
import type { ImaSignatureResult } from '../../tpm/ima/signature-result.ts';
import { count, firstOfEach, NO_SIGNATURES, onlyPcr } from './ima.ts';
import { readImaInput } from './ima-input.ts';
import { hasErrors, offlineFinding } from './offline-finding.ts';
import type { OfflineFinding } from './offline-finding.ts';
import type { PartStatus } from './part-status.ts';

/** What an IMA list is worth beside a proven PCR 10, and what of it that proves. */
export interface ImaEvidence {
  readonly status: PartStatus;
  /** That the value of PCR 10 proves. */
  readonly entries: number;
  /** That follow them: they wait for another quote, and nothing is said of them. */
  readonly waitingBytes: number;
  readonly violations: number;
  readonly signatures: Readonly<Record<ImaSignatureResult['kind'], number>>;
  /** The PCRs that the first entry is over; null where it was not found to match this boot. */
  readonly bootAggregate: BootAggregateVariant | null;
  readonly findings: readonly (ImaFinding | OfflineFinding)[];
}

export interface ImaJudging {
  readonly pcrs: ProvenPcrValues;
  readonly keyring: ImaKeyring;
  /** Of the boot log; empty where it proves none. */
  readonly bootAggregates: BootAggregateTable;
  /** Of the kernel, by the boot log. */
  readonly commandLines: readonly string[];
}

const IMA_PCR = 10;

/** What keeps a list from being tied to a boot, and the service from believing anything of its host whatever the policy asks. */
const NO_BOOT: readonly string[] = ['IMA_BOOT_AGGREGATE_MISSING', 'IMA_BOOT_AGGREGATE_EMPTY'];
/** Of a list of which more is not known than is. */
const DOUBTS: readonly string[] = ['IMA_PCR_UNCOVERED', 'IMA_TEMPLATE_AMBIGUOUS', 'IMA_BOOT_AGGREGATE_UNCHECKED'];

const MAX_FORMAT = 120;

/** Follows a list to the value of PCR 10 that a quote proved, and looks at the entries up to there. */
export function judgeImaList(file: Buffer, { pcrs, keyring, bootAggregates, commandLines }: ImaJudging): ImaEvidence {
  const target = onlyPcr(pcrs, IMA_PCR);
  if (target.size === 0) {
    return nothing('unproven', [offlineFinding('PCR_NOT_QUOTED', 'warning', 'the quote does not cover PCR 10')]);
  }
  const input = readImaInput(file);
  const outcome = replayImaList(input.binary, { target });
  if (outcome.kind !== 'matched') {
    return nothing(outcome.kind === 'empty' ? 'unproven' : 'refused', [...input.findings, ...outcome.findings]);
  }
  const examined = outcome.entries.map((entry) => examineEntry(entry, keyring));
  const boot = checkBoot(examined[0], { bootAggregates, pcrs });
  const findings = [...outcome.findings, ...examined.flatMap((entry) => entry.findings), ...boot.findings];
  const refused = hasErrors(findings) || findings.some(({ code }) => NO_BOOT.includes(code));
  const forgeable = findForgeable(outcome.checkpoint, commandLines);
  // What the list shows against its host counts, and nothing else.
  if (forgeable.length > 0 && !refused) return nothing('unproven', forgeable);
  return {
    status: refused ? 'refused' : findings.some(({ code }) => DOUBTS.includes(code)) ? 'partial' : 'verified',
    entries: examined.length,
    waitingBytes: outcome.waitingBytes,
    violations: examined.filter(({ isViolation }) => isViolation).length,
    signatures: { ...NO_SIGNATURES, ...count(examined.map(({ signature }) => signature.kind)) },
    bootAggregate: boot.variant,
    findings: [...firstOfEach(findings), ...forgeable],
  };
}

/** Why other entries could be shown for what the quote proves, as the service has it. */
function findForgeable(checkpoint: ImaCheckpoint, commandLines: readonly string[]): readonly OfflineFinding[] {
  const weak =
    'no quoted bank but such as hold SHA-1 hashes of the entries: other entries with the same hashes can be made';
  const format = ambiguousFormat(commandLines.flatMap(looseArguments));
  return [
    ...(isProvenByMoreThanSha1(checkpoint) ? [] : [offlineFinding('RUNTIME_BANK_WEAK', 'warning', weak)]),
    ...(format === null ? [] : [offlineFinding('RUNTIME_FORMAT_AMBIGUOUS', 'warning', explainFormat(format))]),
  ];
}

function explainFormat(format: string): string {
  const told = `ima_template_fmt=${format.slice(0, MAX_FORMAT)}`;
  return `the kernel was told to write the list in a format of which one field can be shown as another: ${told}`;
}

/**
 * The kernel found the PCRs as the firmware's log leaves them, or, where nothing extended them since, as they are quoted. Values that
 * are quoted later do not speak against it.
 */
function checkBoot(
  first: ExaminedEntry | undefined,
  { bootAggregates, pcrs }: Pick<ImaJudging, 'bootAggregates' | 'pcrs'>,
): { readonly variant: BootAggregateVariant | null; readonly findings: readonly ImaFinding[] } {
  const { measurement } = first ?? {};
  if (first === undefined || measurement === undefined || !isBootAggregate(measurement)) {
    return { variant: null, findings: [] };
  }
  const check = checkBootAggregate(first.entry, measurement.digest, bootAggregates);
  if (check.kind === 'matched') return { variant: check.variant, findings: [] };
  const quoted = checkBootAggregate(first.entry, measurement.digest, bootAggregatesOf(pcrs));
  return quoted.kind === 'matched'
    ? { variant: quoted.variant, findings: [] }
    : { variant: null, findings: [check.finding] };
}

function nothing(status: PartStatus, findings: ImaEvidence['findings']): ImaEvidence {
  return {
    status,
    entries: 0,
    waitingBytes: 0,
    violations: 0,
    signatures: NO_SIGNATURES,
    bootAggregate: null,
    findings,
  };
}
