import { createHash } from 'node:crypto';
import { hostname, release } from 'node:os';
import type { ClaimedFacts, LogAnnouncement } from '../../proto/transcript.ts';
import { LOG_KIND, MAX_CHUNK_BYTES } from '../sdk/evidence.ts';
import type { LogChunk, LogName } from '../sdk/evidence.ts';

/** Reads at most `limit` bytes of a file from `offset` on; a file that has more is refused with code `EFBIG`. */
export type ReadPart = (path: string, part: { readonly offset: number; readonly limit: number }) => Promise<Buffer>;

const MEBIBYTE = 1024 * 1024;

/** Bytes of a log that are sent at most. */
const LOG_LIMITS: Readonly<Record<LogName, number>> = {
  boot: 4 * MEBIBYTE,
  userspace: 4 * MEBIBYTE,
  ima: 64 * MEBIBYTE,
};

export type LogPaths = Readonly<Record<LogName, string>>;

/** Where Linux has them. */
export const DEFAULT_LOG_PATHS: LogPaths = {
  boot: '/sys/kernel/security/tpm0/binary_bios_measurements',
  userspace: '/run/log/systemd/tpm2-measure.log',
  ima: '/sys/kernel/security/ima/binary_runtime_measurements',
};

/** What the host says of itself, each within the bounds of the contract. */
export async function collectFacts(read: ReadPart, agentVersion: string): Promise<ClaimedFacts> {
  const osRelease = await readText(read, '/etc/os-release');
  const bootId = await readText(read, '/proc/sys/kernel/random/boot_id');
  return {
    hostname: bounded(hostname(), 253),
    os: bounded(osName(osRelease), 256),
    kernel: bounded(release(), 256),
    agentVersion: bounded(agentVersion, 64),
    bootId: bounded(bootId.trim(), 64),
  };
}

export interface CollectedLog {
  readonly announcement: LogAnnouncement;
  readonly chunks: readonly LogChunk[];
}

/** Reads the logs that were asked for. One that cannot be read is announced with the reason. */
export async function collectLogs(
  read: ReadPart,
  paths: LogPaths,
  requests: readonly { readonly kind: number; readonly offset: number }[],
): Promise<readonly CollectedLog[]> {
  const logs: CollectedLog[] = [];
  // One after the other: an IMA list may have tens of megabytes.
  for (const { kind, offset } of requests) logs.push(await collectLog(read, paths, kind, offset));
  return logs;
}

/** Every log from its beginning. */
export const ALL_LOGS = Object.values(LOG_KIND).map((kind) => ({ kind, offset: 0 }));

async function collectLog(read: ReadPart, paths: LogPaths, kind: number, offset: number): Promise<CollectedLog> {
  const name = (Object.keys(LOG_KIND) as LogName[]).find((candidate) => LOG_KIND[candidate] === kind);
  if (name === undefined) return announce(kind, offset, Buffer.alloc(0), 'no such log');
  try {
    return announce(kind, offset, await read(paths[name], { offset, limit: LOG_LIMITS[name] }), '');
  } catch (error) {
    return announce(kind, offset, Buffer.alloc(0), unreadableReason(error, LOG_LIMITS[name]));
  }
}

function announce(kind: number, offset: number, data: Buffer, unreadable: string): CollectedLog {
  const sha256 = createHash('sha256').update(data).digest();
  const announcement = { kind, offset, size: data.length, sha256, unreadable: bounded(unreadable, 256) };
  const chunks = Array.from({ length: Math.ceil(data.length / MAX_CHUNK_BYTES) }, (_, index): LogChunk => {
    const start = index * MAX_CHUNK_BYTES;
    return { kind, offset: offset + start, data: data.subarray(start, start + MAX_CHUNK_BYTES) };
  });
  return { announcement, chunks };
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'not found',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'is a directory',
};

function unreadableReason(error: unknown, limit: number): string {
  const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'unknown';
  if (code === 'EFBIG') return `larger than ${limit} bytes`;
  return REASONS[code] ?? `error ${code}`;
}

async function readText(read: ReadPart, path: string): Promise<string> {
  try {
    return (await read(path, { offset: 0, limit: 64 * 1024 })).toString('utf8');
  } catch {
    // A claim that the host cannot make is left empty.
    return '';
  }
}

/** os-release(5): PRETTY_NAME, else NAME. */
function osName(text: string): string {
  const value = (key: string): string | undefined =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${key}=`))
      ?.slice(key.length + 1)
      .trim()
      .replace(/^(["'])(.*)\1$/, '$2')
      .replace(/\\(["'\\$`])/g, '$1');
  return value('PRETTY_NAME') ?? value('NAME') ?? '';
}

/** At most so many bytes of UTF-8, cut between characters. */
function bounded(text: string, limit: number): string {
  const bytes = Buffer.from(text.toWellFormed(), 'utf8');
  if (bytes.length <= limit) return bytes.toString('utf8');
  let end = limit;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return bytes.toString('utf8', 0, end);
}
