import { createHash, timingSafeEqual } from 'node:crypto';

import { LOG_LIMITS } from '../store/log-rules.ts';
import type { LogKind, LogPart } from '../store/records.ts';

export type LogErrorCode =
  | 'LOG_UNREQUESTED'
  | 'LOG_MISSING'
  | 'LOG_TOO_LARGE'
  | 'LOG_BUDGET'
  | 'LOG_TOO_SLOW'
  | 'LOG_OUT_OF_ORDER'
  | 'LOG_INCOMPLETE'
  | 'LOG_DIGEST_MISMATCH';

/** The logs that came are not those that were announced. */
export class LogError extends Error {
  override readonly name = 'LogError';
  readonly code: LogErrorCode;

  constructor(code: LogErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export const MAX_CHUNK_BYTES = 256 * 1024;
const PAGE_BYTES = MAX_CHUNK_BYTES;

/** How long all logs of one answer may take, milliseconds. */
export const LOGS_TIME = 120_000;

/** A log, or the part of it, that follows in chunks. */
export interface AnnouncedLog {
  readonly kind: LogKind;
  readonly offset: number;
  readonly size: number;
  readonly sha256: Buffer;
  readonly unreadable: string;
}

export interface LogChunk {
  readonly kind: LogKind;
  readonly offset: number;
  readonly data: Buffer;
}

/**
 * Refuses announcements that are too large, were not asked for or leave out what was, before a byte is taken. `requested` null: any
 * log, once.
 */
export function checkAnnouncements(
  logs: readonly AnnouncedLog[],
  requested: readonly { readonly kind: LogKind; readonly offset: number }[] | null,
): void {
  const seen = new Set<LogKind>();
  for (const { kind, offset, size } of logs) {
    const asked = requested === null ? { offset: 0 } : requested.find((request) => request.kind === kind);
    if (asked === undefined || seen.has(kind))
      throw new LogError('LOG_UNREQUESTED', `the ${kind} log was not asked for, or came twice`);
    seen.add(kind);
    if (offset !== asked.offset)
      throw new LogError('LOG_OUT_OF_ORDER', `the ${kind} log starts at ${offset}, asked for was ${asked.offset}`);
    if (offset + size > LOG_LIMITS[kind]) {
      throw new LogError(
        'LOG_TOO_LARGE',
        `the ${kind} log has ${offset + size} bytes, at most ${LOG_LIMITS[kind]} are taken`,
      );
    }
  }
  const missing = requested?.find(({ kind }) => !seen.has(kind));
  if (missing !== undefined)
    throw new LogError('LOG_MISSING', `the ${missing.kind} log was asked for: send it, or say why it cannot be read`);
}

/** What becomes of the bytes of logs as they come. */
export interface Collecting {
  /** Counts bytes before they are kept; may throw {@link LogError}. */
  readonly take: (bytes: number) => void;
  /** Kinds whose bytes are held to their digest and then not kept; default: none. */
  readonly dropped?: readonly LogKind[];
}

/** Takes the announced logs, chunk by chunk in order. `next` gives null when the caller has ended. Throws {@link LogError}. */
export async function collectLogs(
  logs: readonly AnnouncedLog[],
  next: () => Promise<LogChunk | null>,
  { take, dropped = [] }: Collecting,
): Promise<readonly LogPart[]> {
  const parts: LogPart[] = [];
  for (const log of logs) {
    if (log.size === 0) continue;
    const { kind, offset } = log;
    if (dropped.includes(kind)) await collectLog(log, next, () => undefined);
    else parts.push({ kind, offset, data: await keepLog(log, next, take) });
  }
  return parts;
}

/** Bytes are copied into pages, which are what is counted: a view of a chunk would hold its whole message, however little it brings. */
async function keepLog(
  log: AnnouncedLog,
  next: () => Promise<LogChunk | null>,
  take: (bytes: number) => void,
): Promise<Buffer> {
  const pages: Buffer[] = [];
  let left = log.size;
  let filled = 0;
  await collectLog(log, next, (data) => {
    for (let read = 0; read < data.length;) {
      let page = pages.at(-1);
      if (page === undefined || filled === page.length) {
        const size = Math.min(PAGE_BYTES, left);
        take(size);
        page = Buffer.allocUnsafeSlow(size);
        pages.push(page);
        filled = 0;
      }
      const copied = data.copy(page, filled, read);
      read += copied;
      filled += copied;
      left -= copied;
    }
  });
  return Buffer.concat(pages);
}

async function collectLog(
  log: AnnouncedLog,
  next: () => Promise<LogChunk | null>,
  keep: (data: Buffer) => void,
): Promise<void> {
  const hash = createHash('sha256');
  let taken = 0;
  while (taken < log.size) {
    const chunk = await next();
    if (chunk === null)
      throw new LogError('LOG_INCOMPLETE', `the ${log.kind} log ended after ${taken} of ${log.size} bytes`);
    const { kind, offset, data } = chunk;
    if (kind !== log.kind || offset !== log.offset + taken || data.length === 0) {
      throw new LogError('LOG_OUT_OF_ORDER', `a chunk of the ${log.kind} log at ${log.offset + taken} was due`);
    }
    if (data.length > MAX_CHUNK_BYTES || taken + data.length > log.size) {
      throw new LogError('LOG_TOO_LARGE', `a chunk of the ${log.kind} log is larger than what is due`);
    }
    keep(data);
    hash.update(data);
    taken += data.length;
  }
  const digest = hash.digest();
  if (digest.length !== log.sha256.length || !timingSafeEqual(digest, log.sha256)) {
    throw new LogError('LOG_DIGEST_MISMATCH', `the ${log.kind} log is not the announced one`);
  }
}

/** The same source of chunks, for {@link LOGS_TIME} from now: then it throws LOG_TOO_SLOW. */
export function withinTime(next: () => Promise<LogChunk | null>): { readonly next: typeof next } & Disposable {
  const { promise: over, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new LogError('LOG_TOO_SLOW', 'the logs took too long')), LOGS_TIME);
  over.catch(() => undefined);
  return { next: () => Promise.race([next(), over]), [Symbol.dispose]: () => clearTimeout(timer) };
}
