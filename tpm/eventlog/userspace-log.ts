/**
 * What the operating system measures after the firmware log is closed: systemd's `/run/log/systemd/tpm2-measure.log`, records of
 * CEL-JSON (TCG Canonical Event Log 1.0 §4.5) in a JSON text sequence (RFC 7464).
 */
import { hash } from 'node:crypto';
import { HASH_ALGORITHMS, hashAlgorithmByName } from '../structures/constants.ts';
import { FindingList } from './finding.ts';
import type { EventLogFinding } from './finding.ts';
import { ReplayedBank } from './replay.ts';
import type { Replay } from './replay.ts';

/** The largest userspace log that is read: one boot leaves 2 to 20 kB. */
export const MAX_USERSPACE_LOG_BYTES = 4 * 1024 * 1024;
export const MAX_USERSPACE_RECORDS = 16_384;
const MAX_RECORD_BYTES = 64 * 1024;
const MAX_DIGESTS = 16;
const HIGHEST_PCR = 23;
const RECORD_SEPARATOR = 0x1e;
const LINE_FEED = 0x0a;

export interface UserspaceRecord {
  readonly index: number;
  /** Bytes from the start of the log. */
  readonly offset: number;
  /** Undefined for a record that extends no PCR, such as one of an NV index. */
  readonly pcr: number | undefined;
  /** By bank; of hashes that are known here. */
  readonly digests: ReadonlyMap<number, Buffer>;
  /** `phase`, `filesystem`, `volume-key`, `machine-id`, …; '' where the record does not say. */
  readonly eventType: string;
  /** What was measured, or what is said of it. */
  readonly text: string;
  /** Is the text what was measured, in every bank? Of a secret it never is: there the digest is an HMAC. */
  readonly verified: boolean;
}

export interface UserspaceLog {
  readonly records: readonly UserspaceRecord[];
  /** Was the log read to its end? */
  readonly complete: boolean;
  readonly findings: readonly EventLogFinding[];
}

/** Event types whose text is the very string that systemd measures (src/shared/tpm2-util.c, tpm2_userspace_event_type). */
const TEXT_TYPES: readonly string[] = ['phase', 'filesystem', 'machine-id'];

/** Reads the log. Never throws for its content: what does not parse ends the reading, as a finding with its offset. */
export function parseUserspaceLog(bytes: Uint8Array): UserspaceLog {
  const log = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const findings = new FindingList();
  const records: UserspaceRecord[] = [];
  const stop = (complete: boolean): UserspaceLog => ({ records, complete, findings: findings.list() });
  if (log.length > MAX_USERSPACE_LOG_BYTES) {
    const message = `the log has ${log.length} bytes, at most ${MAX_USERSPACE_LOG_BYTES} are read`;
    findings.add('USERSPACE_LOG_TOO_LARGE', {}, message);
    return stop(false);
  }
  let sequence = -1;
  for (let offset = 0; offset < log.length;) {
    const end = endOfLine(log, offset);
    const line = withoutSeparator(log.subarray(offset, end));
    if (line.length > 0) {
      const index = records.length;
      const place = { event: index, offset };
      if (index >= MAX_USERSPACE_RECORDS) {
        findings.add('USERSPACE_LOG_TOO_LARGE', place, `more than ${MAX_USERSPACE_RECORDS} records`);
        return stop(false);
      }
      const read = readRecord(line, { index, offset });
      if (read === undefined) {
        findings.add('USERSPACE_RECORD_MALFORMED', place, `record ${index} of the userspace log is malformed`);
        return stop(false);
      }
      const { record, number } = read;
      if (number !== undefined && number <= sequence) {
        const message = `record ${index} has the number ${number} after ${sequence}`;
        findings.add('USERSPACE_RECORD_OUT_OF_ORDER', { ...place, pcr: record.pcr }, message);
      }
      sequence = number ?? sequence;
      if (!record.verified && TEXT_TYPES.includes(record.eventType)) {
        const message = `the text of record ${index} is not what was measured`;
        findings.add('USERSPACE_DATA_MISMATCH', { ...place, pcr: record.pcr }, message);
      }
      records.push(record);
    }
    offset = end + 1;
  }
  return stop(true);
}

/** Goes on where the firmware log ended. A record without a digest for a bank was not extended there. */
export function extendReplay(replay: Replay, { records }: UserspaceLog): Replay {
  const pcrs = new Map<number, ReadonlyMap<number, Buffer>>();
  for (const [alg, values] of replay.pcrs) {
    const bank = new ReplayedBank(alg, replay.startup.locality);
    bank.load(values);
    for (const { pcr, digests } of records) {
      const digest = digests.get(alg);
      if (pcr !== undefined && digest !== undefined) bank.extend(pcr, digest);
    }
    pcrs.set(alg, bank.values());
  }
  return { ...replay, pcrs };
}

function endOfLine(log: Buffer, offset: number): number {
  const end = log.indexOf(LINE_FEED, offset);
  return end < 0 ? log.length : end;
}

function withoutSeparator(line: Buffer): Buffer {
  return line[0] === RECORD_SEPARATOR ? line.subarray(1) : line;
}

interface ReadRecord {
  readonly record: UserspaceRecord;
  /** CEL's recnum, where there is one. */
  readonly number: number | undefined;
}

function readRecord(
  line: Buffer,
  { index, offset }: { readonly index: number; readonly offset: number },
): ReadRecord | undefined {
  if (line.length > MAX_RECORD_BYTES) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(line.toString('utf8'));
  } catch {
    return undefined;
  }
  const fields = fieldsOf(parsed);
  const content = fieldsOf(fields?.['content']);
  const digests = readDigests(fields?.['digests']);
  const pcr = fields?.['pcr'];
  if (fields === undefined || digests === undefined) return undefined;
  if (pcr !== undefined && !isIndex(pcr, HIGHEST_PCR)) return undefined;
  const text = textOf(content?.['string']);
  const number = fields['recnum'];
  return {
    record: {
      index,
      offset,
      pcr,
      digests,
      eventType: textOf(content?.['eventType']),
      text,
      verified: hasDigests(text, digests),
    },
    number: isIndex(number, Number.MAX_SAFE_INTEGER) ? number : undefined,
  };
}

/** Undefined where they are malformed; a digest of an unknown hash is left out. */
function readDigests(value: unknown): ReadonlyMap<number, Buffer> | undefined {
  if (!Array.isArray(value) || value.length > MAX_DIGESTS) return undefined;
  const digests = new Map<number, Buffer>();
  for (const entry of value as readonly unknown[]) {
    const fields = fieldsOf(entry);
    const name = fields?.['hashAlg'];
    const digest = fields?.['digest'];
    if (typeof name !== 'string' || typeof digest !== 'string') return undefined;
    const row = hashAlgorithmByName(name);
    if (row === undefined) continue;
    if (!/^[0-9a-f]+$/i.test(digest) || digest.length !== 2 * row.size || digests.has(row.alg)) return undefined;
    digests.set(row.alg, Buffer.from(digest, 'hex'));
  }
  return digests;
}

function hasDigests(text: string, digests: ReadonlyMap<number, Buffer>): boolean {
  if (digests.size === 0) return false;
  const bytes = Buffer.from(text);
  return [...digests].every(([alg, digest]) => {
    const node = HASH_ALGORITHMS.get(alg)?.node;
    return node !== undefined && hash(node, bytes, 'buffer').equals(digest);
  });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function isIndex(value: unknown, highest: number): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= highest;
}
