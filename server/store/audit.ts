import { createHash } from 'node:crypto';
import type { AuditRecord } from './records.ts';

/** Stands before the first record of the chain. */
export const AUDIT_CHAIN_START = '0'.repeat(64);

/**
 * Hash of an audit record: SHA-256 over the hash before it (hex), a line feed, and the record as JSON without white space, its
 * members in the order of their names. Dropping, changing or reordering a record breaks every later hash.
 */
export function auditHash(previous: string, record: Omit<AuditRecord, 'hash'>): string {
  const { action, actor, detail, sequence, target, time } = record;
  const canonical = JSON.stringify({ action, actor, detail, sequence, target, time });
  return createHash('sha256').update(`${previous}\n${canonical}`).digest('hex');
}

/** Sequence number of the first record that does not continue the chain from `previous`; null when all do. */
export function findBrokenAudit(previous: string, records: readonly AuditRecord[]): number | null {
  let hash = previous;
  let sequence: number | null = null;
  for (const record of records) {
    if (sequence !== null && record.sequence !== sequence + 1) return record.sequence;
    if (auditHash(hash, record) !== record.hash) return record.sequence;
    ({ hash, sequence } = record);
  }
  return null;
}
