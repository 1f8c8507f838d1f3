/**
 * Entries that measure a buffer instead of a file: keys added to keyrings, kernel command lines, device-mapper tables, the state of
 * the security module. Their names are event names, not paths.
 */
import { hash as oneShotHash, timingSafeEqual } from 'node:crypto';

import type { ImaEntry } from './entry.ts';
import { placeOf } from './fields.ts';
import type { ImaMeasurement } from './fields.ts';
import { imaFinding, quoteName } from './findings.ts';
import type { ImaFinding } from './findings.ts';

export type BufferKind = 'keyring' | 'kexec' | 'deviceMapper' | 'securityModule' | 'kernel' | 'other';

/** What measured buffers are called; a name that begins with a full stop is that of a keyring. */
const kinds: readonly (readonly [BufferKind, RegExp])[] = [
  ['keyring', /^\./],
  ['kexec', /^(kexec-cmdline|kexec_load|kexec_execute)$/],
  ['deviceMapper', /^(dm_)?(table_load|device_resume|device_remove|device_rename|table_clear|target_update)$/],
  ['securityModule', /^selinux-(state|policy-hash)$/],
  ['kernel', /^kernel_version$/],
];

/** What a buffer's name says that it is. */
export function bufferKind(name: string): BufferKind {
  return kinds.find(([, pattern]) => pattern.test(name))?.[0] ?? 'other';
}

/** A measured buffer whose bytes are what the digest says. */
export interface MeasuredBuffer {
  readonly kind: BufferKind;
  readonly name: string;
  readonly bytes: Buffer;
}

/**
 * The buffer of an entry, if its template has one. Only bytes that yield the entry's digest are given out: the buffer is data of the
 * host's until then.
 */
export function checkBuffer(
  entry: ImaEntry,
  { name, digest, buffer }: ImaMeasurement,
): MeasuredBuffer | ImaFinding | undefined {
  // With `ima_template=ima-buf` files are listed so too, with an empty buffer. A violation has no buffer behind it.
  if (buffer === undefined || buffer.length === 0 || entry.isViolation) return undefined;
  const node = digest.hash?.node;
  if (node === undefined) {
    const message = `entry ${entry.index} (${quoteName(name)}) has a ${digest.algorithm} digest, which cannot be computed here`;
    return imaFinding('IMA_DIGEST_ALGORITHM_UNKNOWN', placeOf(entry), message);
  }
  if (!timingSafeEqual(oneShotHash(node, buffer, 'buffer'), digest.value)) {
    const message = `entry ${entry.index} (${quoteName(name)}) holds a buffer that its digest is not of`;
    return imaFinding('IMA_BUFFER_DIGEST_MISMATCH', placeOf(entry), message);
  }
  return { kind: bufferKind(name), name, bytes: buffer };
}
