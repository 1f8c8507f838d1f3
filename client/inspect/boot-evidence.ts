import type { ProvenPcrValues } from '../../tpm/crypto/pcr.ts';
import type { BootAggregateTable } from '../../tpm/ima/boot-aggregate.ts';
import { hasErrors } from '../../tpm/eventlog/finding.ts';
import { readEventLog } from '../../tpm/eventlog/read-event-log.ts';
import type { EventLogReading } from '../../tpm/eventlog/read-event-log.ts';
import { readSigners } from '../../tpm/eventlog/signers.ts';
import { TPM_ALG_SHA1, algorithmName } from '../../tpm/structures/constants.ts';
import type { JsonObject } from '../sdk/resources.ts';
import { findingToJson } from './eventlog.ts';
import type { PartStatus } from './part-status.ts';

/** What a boot log is worth beside proven PCR values, and what of it they prove. */
export interface BootEvidence {
  readonly status: PartStatus;
  readonly format: string;
  readonly events: number;
  readonly userspaceRecords: number | null;
  readonly comparison: readonly { readonly bank: string; readonly pcr: number; readonly outcome: string }[];
  /** Null where PCR 7 is not proven. */
  readonly secureBoot: SecureBootClaim | null;
  /** Those whose text was measured into a PCR that is proven. */
  readonly kernelCommandLines: readonly { readonly event: number; readonly pcr: number; readonly text: string }[];
  readonly findings: readonly JsonObject[];
}

interface SecureBootClaim {
  readonly mode: string;
  readonly authorities: readonly {
    readonly variable: string;
    readonly sha256: string;
    readonly signer: string | null;
  }[];
  readonly sbatLevel: string | null;
}

/** What IMA's list is checked against further on. */
export interface JudgedBoot {
  readonly evidence: BootEvidence;
  /** Of the banks in which PCR 0 to 9 are proven and explained. */
  readonly bootAggregates: BootAggregateTable;
  /** Texts of every kernel command line that the log tells, whether its PCR is proven or not. */
  readonly commandLines: readonly string[];
}

const IMA_PCR = 10;
const SECURE_BOOT_PCR = 7;
const AGGREGATED_PCRS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/** Replays a boot log, and the userspace log behind it, against the values that a quote proved. */
export function judgeBootLog(
  log: Buffer,
  { pcrs, userspaceLog }: { readonly pcrs: ProvenPcrValues; readonly userspaceLog: Buffer | undefined },
): JudgedBoot {
  const toExplain = new Map(
    [...pcrs].map(([bank, values]) => [bank, new Map([...values].filter(([pcr]) => pcr !== IMA_PCR))]),
  );
  const reading = readEventLog(log, { banks: [...pcrs.keys()], pcrs: toExplain, userspaceLog });
  const signers = readSigners(reading.secureBoot);
  const findings = [
    ...[...reading.findings, ...signers.findings].map(findingToJson),
    ...uncovered(reading, pcrs),
    ...weakBanks(pcrs),
  ];
  const isProven = (pcr: number): boolean => isExplained(reading, pcr);
  const status = statusOf(reading, pcrs);
  const believed = status === 'verified' || status === 'partial';
  const { secureBoot, boot } = reading;
  const { commandLines } = boot.kernel;
  return {
    evidence: {
      status,
      format: reading.log.format,
      events: reading.log.events.length,
      userspaceRecords: reading.userspace?.records.length ?? null,
      comparison: reading.pcrs.map(({ bank, pcr, outcome }) => ({ bank: algorithmName(bank), pcr, outcome })),
      secureBoot:
        believed && isProven(SECURE_BOOT_PCR)
          ? {
              mode: secureBoot.mode,
              authorities: secureBoot.authorities.map(({ variable, sha256 }) => {
                return { variable, sha256, signer: signers.bySha256.get(sha256)?.subject ?? null };
              }),
              sbatLevel: secureBoot.sbatLevel ?? null,
            }
          : null,
      kernelCommandLines: commandLines.flatMap(({ event, pcr, text, verified }) =>
        believed && verified && text !== undefined && isProven(pcr) ? [{ event, pcr, text }] : [],
      ),
      findings,
    },
    bootAggregates: new Map(
      [...reading.bootAggregates].filter(
        ([bank]) => believed && AGGREGATED_PCRS.every((pcr) => pcrs.get(bank)?.has(pcr) === true),
      ),
    ),
    commandLines: commandLines.flatMap(({ text }) => (text === undefined ? [] : [text])),
  };
}

function statusOf(reading: EventLogReading, pcrs: ProvenPcrValues): PartStatus {
  if (hasErrors(reading.findings) || !reading.log.complete) return 'refused';
  if (isWeak(pcrs) || reading.pcrs.every(({ outcome }) => outcome === 'unexplained')) return 'unproven';
  return uncoveredPcrs(reading, pcrs).length === 0 ? 'verified' : 'partial';
}

/**
 * In every bank that was quoted with it, and in one at least. Records of the operating system explain a value, and may do so in the
 * place of an event that then is told nowhere.
 */
function isExplained(reading: EventLogReading, wanted: number): boolean {
  if (reading.userspace?.records.some(({ pcr }) => pcr === wanted) === true) return false;
  const outcomes = reading.pcrs.filter(({ pcr }) => pcr === wanted).map(({ outcome }) => outcome);
  return outcomes.length > 0 && outcomes.every((outcome) => outcome === 'explained' || outcome === 'deviation');
}

/** PCRs that the logs extend and the quote does not cover, by bank. */
function uncoveredPcrs({ replay }: EventLogReading, pcrs: ProvenPcrValues): readonly (readonly [number, number])[] {
  return [...pcrs].flatMap(([bank, values]) =>
    [...(replay.pcrs.get(bank)?.keys() ?? [])].flatMap((pcr) => (values.has(pcr) ? [] : [[bank, pcr] as const])),
  );
}

function uncovered(reading: EventLogReading, pcrs: ProvenPcrValues): readonly JsonObject[] {
  return uncoveredPcrs(reading, pcrs).map(([bank, pcr]) => ({
    code: 'PCR_NOT_QUOTED',
    severity: 'warning',
    message: `the log extends ${algorithmName(bank)} pcr ${pcr}, which the quote does not cover: what it says of it is not proven`,
    pcr,
    bank: algorithmName(bank),
  }));
}

/** No rule of the service rests on that. */
function isWeak(pcrs: ProvenPcrValues): boolean {
  return [...pcrs.keys()].every((bank) => bank === TPM_ALG_SHA1);
}

function weakBanks(pcrs: ProvenPcrValues): readonly JsonObject[] {
  if (!isWeak(pcrs)) return [];
  const message = 'the quote covers no bank but sha1: other contents with the same digests can be made';
  return [{ code: 'BANK_SHA1_ONLY', severity: 'warning', message }];
}
