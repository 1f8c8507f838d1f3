import type { FormerBootRecord } from '../log-store.ts';
import type { HostRecord, LogKind } from '../records.ts';
import { StoreError } from '../store.ts';
import { type Database, integer, optionalJson, type Row, text } from './database.ts';
import { readChunks } from './log-chunks.ts';
import type { ResultHead } from './revisions.ts';
import { type Transaction, write } from './transaction.ts';

/** Boots of a host that are kept after they have ended. */
const KEPT_BOOTS = 2;
/** Boots that one transaction drops, so that rounds need not wait long: each has up to some thousand chunks. */
const DROP_BATCH = 50;

/**
 * Keeps what a boot of a host left, before its logs are dropped: it has ended, or the host has another AK. Of more than are kept those
 * go first that nothing was found against, the oldest at the head, so that nobody reboots away what speaks against him.
 */
export function keepFormerBoot(
  tx: Transaction,
  host: Pick<HostRecord, 'id' | 'clock'>,
  present: Pick<ResultHead, 'status' | 'revision'>,
): void {
  const { resetCount, restartCount } = host.clock;
  const made = tx.database.get(
    `INSERT INTO former_boots (host_id, ak_name, reset_count, restart_count, end_time, status, revision, boot)
      SELECT ?1, (SELECT ak_name FROM hosts WHERE id = ?1), ?2, ?3, ?4, ?5, ?6, (SELECT boot FROM boots WHERE host_id = ?1)
      WHERE EXISTS (SELECT 1 FROM log_chunks WHERE host_id = ?1) RETURNING id`,
    host.id,
    resetCount,
    restartCount,
    tx.now,
    present.status,
    present.revision,
  );
  if (made === undefined) return;
  tx.run(
    `INSERT INTO former_chunks (boot, kind, start, size, blob)
      SELECT ?, kind, start, size, blob FROM log_chunks WHERE host_id = ?`,
    integer(made, 'id'),
    host.id,
  );
  tx.run(
    `DELETE FROM former_boots WHERE host_id = ?1 AND id NOT IN (
      SELECT id FROM former_boots WHERE host_id = ?1
        ORDER BY status IN ('contraindicated', 'warning') DESC, id DESC LIMIT ?2)`,
    host.id,
    KEPT_BOOTS,
  );
}

export function formerBoots(database: Database, hostId: string): readonly FormerBootRecord[] {
  const rows = database.all('SELECT * FROM former_boots WHERE host_id = ? ORDER BY id DESC', hostId);
  return rows.map((row) => toFormerBoot(database, row));
}

/** Throws not_found for one that is gone. */
export function readFormerLog(
  database: Database,
  boot: number,
  kind: LogKind,
  offset: number,
  limit: number,
): Uint8Array {
  if (database.get('SELECT 1 FROM former_boots WHERE id = ?', boot) === undefined)
    throw new StoreError('not_found', `boot ${boot} is not kept`);
  const size = logsOf(database, boot).find((log) => log.kind === kind)?.size ?? 0;
  return readChunks(database, ['boot', boot], kind, { offset, end: Math.min(offset + limit, size) });
}

/** Drops one batch of boots that ended before a time; 0 when there are none. */
export function dropFormerBoots(database: Database, now: number, before: number): number {
  return write(database, now, (tx) =>
    tx.run(
      'DELETE FROM former_boots WHERE id IN (SELECT id FROM former_boots WHERE end_time < ? ORDER BY end_time LIMIT ?)',
      before,
      DROP_BATCH,
    ),
  );
}

function toFormerBoot(database: Database, row: Row): FormerBootRecord {
  const id = integer(row, 'id');
  return {
    id,
    akName: text(row, 'ak_name'),
    resetCount: integer(row, 'reset_count'),
    restartCount: integer(row, 'restart_count'),
    endTime: integer(row, 'end_time'),
    status: text(row, 'status') as FormerBootRecord['status'],
    revision: integer(row, 'revision'),
    boot: optionalJson(row, 'boot'),
    logs: logsOf(database, id),
  };
}

function logsOf(database: Database, boot: number): FormerBootRecord['logs'] {
  const rows = database.all(
    'SELECT kind, max(start + size) AS size FROM former_chunks WHERE boot = ? GROUP BY kind ORDER BY kind',
    boot,
  );
  return rows.map((row) => ({ kind: text(row, 'kind') as LogKind, size: integer(row, 'size') }));
}
