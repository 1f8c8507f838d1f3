import { hash } from 'node:crypto';

import type { PcrValues } from '../../tpm/crypto/pcr.ts';
import type { BootLogRecord, BootRecord, LogKind, LogPart } from '../store/records.ts';
import type { AnnouncedLog } from './collect-logs.ts';
import type { VerifiedEvidence } from './verify-evidence.ts';

/** IMA's: it moves at any time, and its own list explains it. */
const IMA_PCR = 10;

/** The logs of a boot, as far as they are there. */
export interface BootLogs {
  readonly boot: Uint8Array | null;
  readonly userspace: Uint8Array | null;
}

/**
 * What verified evidence proves of the boot: the values of every active bank, and the logs that came after the quote. Null where the
 * evidence does not cover every bank, or says nothing of the boot log.
 */
export function recordBoot(
  { pcrs, banks }: VerifiedEvidence,
  announced: readonly AnnouncedLog[],
  parts: readonly LogPart[],
): BootRecord | null {
  const bootLog = logRecord('boot', announced, parts);
  if (pcrs === null || banks.length === 0 || bootLog === null) return null;
  return {
    bootLog,
    userspaceLog: logRecord('userspace', announced, parts) ?? { sha256: '', size: 0, unreadable: '' },
    pcrs: [...pcrs].map(([algorithm, values]) => ({
      algorithm,
      values: [...values].flatMap(([pcr, value]) => (pcr === IMA_PCR ? [] : [[pcr, value.toString('hex')] as const])),
    })),
  };
}

/** A part from an offset other than the start is no log to replay. */
function logRecord(kind: LogKind, announced: readonly AnnouncedLog[], parts: readonly LogPart[]): BootLogRecord | null {
  const log = announced.find((candidate) => candidate.kind === kind);
  if (log === undefined || log.offset !== 0) return null;
  if (log.unreadable !== '') return { sha256: '', size: 0, unreadable: log.unreadable };
  const data = parts.find((part) => part.kind === kind)?.data ?? new Uint8Array(0);
  return { sha256: hash('sha256', data, 'hex'), size: data.byteLength, unreadable: '' };
}

/** The logs of a round, for the record that it makes. */
export function logsOf(parts: readonly LogPart[]): BootLogs {
  const data = (kind: LogKind): Uint8Array | null => parts.find((part) => part.kind === kind)?.data ?? null;
  return { boot: data('boot'), userspace: data('userspace') };
}

/** The proven values of a record. */
export function recordedPcrs({ pcrs }: BootRecord): PcrValues {
  return new Map(
    pcrs.map(({ algorithm, values }) => [
      algorithm,
      new Map(values.map(([pcr, value]) => [pcr, Buffer.from(value, 'hex')])),
    ]),
  );
}

/** Equal for boots that read alike: the same logs against the same values. */
export function bootKey(record: BootRecord): string {
  return hash('sha256', JSON.stringify([record.bootLog, record.userspaceLog, record.pcrs]), 'hex');
}
