import type { LogKind } from './records.ts';

const MIB = 1024 * 1024;

/** Largest kept size of each log of a host, bytes. A part that would pass it is not kept. */
export const LOG_LIMITS: Readonly<Record<LogKind, number>> = {
  boot: 4 * MIB,
  userspace: 4 * MIB,
  ima: 64 * MIB,
};

/**
 * What becomes of a part of a log. It continues what is kept when it starts where that ends; a part from 0 is the log anew and
 * replaces it; any other leaves a gap or overlaps, and is not kept. (What is kept of another boot is dropped before.)
 */
export function placeLogPart(
  kept: number,
  part: { readonly kind: LogKind; readonly offset: number; readonly length: number },
): 'append' | 'replace' | 'ignore' {
  if (part.offset + part.length > LOG_LIMITS[part.kind]) return 'ignore';
  if (part.offset === kept) return 'append';
  return part.offset === 0 ? 'replace' : 'ignore';
}
