import { hash } from 'node:crypto';

import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import type { EventLogCode, EventLogFinding } from '../../tpm/eventlog/finding.ts';
import { readEventLog } from '../../tpm/eventlog/read-event-log.ts';
import type { EventLogReading } from '../../tpm/eventlog/read-event-log.ts';
import { startValue } from '../../tpm/eventlog/replay.ts';
import { algorithmName, IMPLEMENTATION_PCR, TPM_ALG_SHA1 } from '../../tpm/structures/constants.ts';
import type { BootLogRecord, BootRecord } from '../store/records.ts';
import { readClaims } from './boot-claims.ts';
import type { BootClaims } from './boot-claims.ts';
import { recordedPcrs } from './boot-record.ts';
import type { BootLogs } from './boot-record.ts';
import { failed, unevaluated } from './finding.ts';
import type { Finding } from './finding.ts';

/** Events of a log that a host may send: real ones have 20 to 5,000, and the replay keeps the service busy. */
const MAX_EVENTS = 16_384;
/** PCRs that an operating system extends while it runs (systemd: phases, credentials, extensions, volumes). */
const SYSTEM_PCRS: readonly number[] = [11, 12, 13, 15];

/** All but IMA's. What a bank does not hold was not proven in it, whatever the log says. */
const PROVABLE_PCRS = Array.from({ length: IMPLEMENTATION_PCR }, (_, pcr) => pcr).filter((pcr) => pcr !== 10);

declare const verified: unique symbol;

/** What booted, by logs that explain the proven PCRs of every active bank. Only {@link verifyBoot} makes it. */
export type VerifiedBoot = BootClaims & { readonly [verified]: true };

export type BootOutcome =
  | { readonly kind: 'verified'; readonly boot: VerifiedBoot }
  /**
   * The log does not explain the values. `torn`: only what the operating system goes on measuring differs, so that log and quote
   * may be of two moments.
   */
  | { readonly kind: 'unverified'; readonly finding: Finding; readonly torn: boolean }
  /** There is no log. */
  | { readonly kind: 'missing'; readonly finding: Finding };

/**
 * Replays the logs of a record against its proven values, all of them in every active bank. Nothing is verified in part and believed
 * in whole: one difference, and there is no boot. Null where the logs are not those of the record.
 */
export function verifyBoot(record: BootRecord, logs: BootLogs): BootOutcome | null {
  const { bootLog } = record;
  if (bootLog.sha256 === '') return { kind: 'missing', finding: missingLog(bootLog) };
  const reading = readBootLogs(record, logs);
  if (reading === null) return null;
  const pcrs = recordedPcrs(record);
  const falsehood = findFalsehood(reading);
  if (falsehood !== null) return falsehood;
  const judged = {
    sha1Only: [...pcrs.keys()].every((bank) => bank === TPM_ALG_SHA1),
    unexplained: unexplainedPcrs(reading, pcrs),
    contradictions: contradictionsOf(reading),
  };
  return { kind: 'verified', boot: readClaims(reading, judged) as VerifiedBoot };
}

/** Reads the logs of a record beside its proven values, as they are judged here; null where the bytes are others. */
export function readBootLogs(record: BootRecord, logs: BootLogs): EventLogReading | null {
  const boot = logOf(record.bootLog, logs.boot);
  const userspace = record.userspaceLog.sha256 === '' ? null : logOf(record.userspaceLog, logs.userspace);
  if (boot === undefined || userspace === undefined) return null;
  const pcrs = recordedPcrs(record);
  return readEventLog(boot, {
    banks: [...pcrs.keys()],
    pcrs,
    maxEvents: MAX_EVENTS,
    ...(userspace === null ? {} : { userspaceLog: userspace }),
  });
}

/** Undefined where the bytes are others. */
function logOf(record: BootLogRecord, bytes: Uint8Array | null): Uint8Array | undefined {
  const log = (bytes ?? new Uint8Array(0)).subarray(0, record.size);
  return hash('sha256', log, 'hex') === record.sha256 ? log : undefined;
}

function missingLog({ unreadable }: BootLogRecord): Finding {
  return unevaluated('boot-log', {
    reason: 'BOOT_LOG_UNREADABLE',
    observed: unreadable,
    expected: 'the boot log of the firmware',
    message: 'The host cannot read its boot log, so nothing is known of what it booted but the PCRs.',
  });
}

/** What each finding of the replay that forbids to believe the log comes to, most telling first. */
const FALSEHOODS: readonly {
  readonly codes: readonly EventLogCode[];
  readonly reason: string;
  readonly message: string;
}[] = [
  {
    codes: ['LOG_EMPTY', 'LOG_WITHOUT_MEASUREMENTS'],
    reason: 'BOOT_LOG_EMPTY',
    message: 'The boot log holds no measurement.',
  },
  {
    codes: [
      'LOG_TOO_LARGE',
      'LOG_TOO_MANY_EVENTS',
      'SPEC_ID_MALFORMED',
      'EVENT_TRUNCATED',
      'EVENT_MALFORMED',
      'EVENT_DIGEST_REPEATED',
      'EVENT_PCR_INVALID',
    ],
    reason: 'BOOT_LOG_MALFORMED',
    message: 'The boot log cannot be read to its end.',
  },
  {
    codes: ['BANK_AT_RESET'],
    reason: 'BOOT_BANK_AT_RESET',
    message: 'An active PCR bank was left alone by the firmware: anybody on the host can extend what he likes into it.',
  },
  {
    codes: ['BANK_NOT_IN_LOG', 'BANK_NOT_REPLAYABLE'],
    reason: 'BOOT_BANK_UNEXPLAINED',
    message: 'The boot log says nothing of an active PCR bank. Switch that bank off, or the firmware to log it.',
  },
  {
    codes: ['PCR_MISMATCH'],
    reason: 'BOOT_LOG_MISMATCH',
    message: 'The boot log does not lead to the PCR values that the TPM signed: it is not the log of this boot.',
  },
  {
    codes: ['EVENT_TYPE_MISLABELLED', 'EVENT_BANKS_DISAGREE'],
    reason: 'BOOT_LOG_MISLABELLED',
    message: 'An event of the boot log is called what it cannot be.',
  },
];

function findFalsehood(reading: EventLogReading): Extract<BootOutcome, { readonly kind: 'unverified' }> | null {
  const findings = reading.findings.filter((finding) => !isOfSystem(reading, finding));
  for (const { codes, reason, message } of FALSEHOODS) {
    const found = findings.find(({ code }) => codes.includes(code));
    if (found === undefined) continue;
    const place = found.pcr === undefined ? '' : ` (PCR ${found.pcr}${bankName(found)})`;
    const finding = failed('boot-log', {
      reason,
      observed: `${found.code}: ${found.message}`,
      expected: 'a boot log that explains the proven PCR values of every active bank',
      message: `${message.slice(0, -1)}${place}.`,
    });
    return { kind: 'unverified', finding, torn: reason === 'BOOT_LOG_MISMATCH' && isTorn(reading) };
  }
  return null;
}

function bankName({ bank }: EventLogFinding): string {
  return bank === undefined ? '' : ` of the ${algorithmName(bank)} bank`;
}

/** Without its log, what an operating system measured on top of the firmware's events differs, and is no lie. */
function isOfSystem({ userspace }: EventLogReading, { code, pcr }: EventLogFinding): boolean {
  return userspace === undefined && code === 'PCR_MISMATCH' && pcr !== undefined && SYSTEM_PCRS.includes(pcr);
}

/** Do only PCRs differ that an operating system extends, and its records with it? A record may name any PCR: the host writes it. */
function isTorn({ userspace, pcrs }: EventLogReading): boolean {
  const recorded = new Set(userspace?.records.map(({ pcr }) => pcr));
  const goesOn = (pcr: number): boolean => SYSTEM_PCRS.includes(pcr) && recorded.has(pcr);
  return pcrs.every(({ pcr, outcome }) => outcome !== 'different' || goesOn(pcr));
}

/** Records of the operating system explain a value, and say nothing that a rule about the boot could look at. */
function unexplainedPcrs({ pcrs, replay, userspace }: EventLogReading, values: PcrValues): readonly number[] {
  const unexplained = pcrs.filter(({ bank, pcr, outcome }) => {
    if (outcome === 'different') return true;
    const value = values.get(bank)?.get(pcr);
    return outcome === 'unexplained' && value?.equals(startValue(pcr, value.length, replay.startup.locality)) !== true;
  });
  const unproven = PROVABLE_PCRS.filter((pcr) => [...values.values()].some((bank) => !bank.has(pcr)));
  const later = userspace?.records.flatMap(({ pcr }) => pcr ?? []) ?? [];
  return [...new Set([...unexplained.map(({ pcr }) => pcr), ...unproven, ...later])].toSorted(
    (left, right) => left - right,
  );
}

/** Errors that the replay does not show. What is wrong with records after the last proven one is of no account. */
function contradictionsOf({ findings }: EventLogReading): readonly string[] {
  const codes = findings
    .filter(({ severity, code }) => severity === 'error' && code !== 'PCR_MISMATCH' && !code.startsWith('USERSPACE_'))
    .map(({ code }) => code);
  return [...new Set(codes)];
}
