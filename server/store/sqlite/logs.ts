import { placeLogPart } from '../log-rules.ts';
import type { BootRecord, LogKind, LogPart, LogState } from '../records.ts';
import { type Database, integer, json, text } from './database.ts';
import { keepFormerBoot } from './former-boots.ts';
import { appendChunks, cutChunks, dropChunks, readChunks } from './log-chunks.ts';
import type { Transaction } from './transaction.ts';

type Unreadable = readonly { readonly kind: LogKind; readonly reason: string }[];

/** Keeps parts of the logs of the present boot. */
export function keepLogs(tx: Transaction, hostId: string, parts: readonly LogPart[], unreadable: Unreadable): void {
  for (const part of parts) keepLogPart(tx, hostId, part);
  for (const { kind, reason } of unreadable) setLog(tx, hostId, kind, keptSize(tx.database, hostId, kind), reason);
}

/** A boot of a host has ended, or the host has another AK: its logs and what was proven of it are of a former boot from now on. */
export function endBoot(
  tx: Transaction,
  host: Parameters<typeof keepFormerBoot>[1],
  present: Parameters<typeof keepFormerBoot>[2],
): void {
  keepFormerBoot(tx, host, present);
  tx.run('DELETE FROM logs WHERE host_id = ?', host.id);
  keepBoot(tx, host.id, null);
}

/** Drops one log of a host. */
export function dropLog(tx: Transaction, hostId: string, kind: LogKind): void {
  tx.run('DELETE FROM logs WHERE host_id = ? AND kind = ?', hostId, kind);
}

/** Of what is kept of a log so many bytes stay. */
export function keepLogBytes(tx: Transaction, hostId: string, kind: LogKind, size: number): void {
  if (size >= keptSize(tx.database, hostId, kind)) return;
  tx.run('UPDATE logs SET size = ? WHERE host_id = ? AND kind = ?', size, hostId, kind);
  cutChunks(tx, { hostId, kind }, size);
}

/** Keeps what was proven of the present boot; undefined leaves what is there, null drops it. */
export function keepBoot(tx: Transaction, hostId: string, boot: BootRecord | null | undefined): void {
  if (boot === null) tx.run('DELETE FROM boots WHERE host_id = ?', hostId);
  if (boot === null || boot === undefined) return;
  tx.run(
    'INSERT INTO boots (host_id, boot) VALUES (?, ?) ON CONFLICT DO UPDATE SET boot = excluded.boot',
    hostId,
    JSON.stringify(boot),
  );
}

export function getBoot(database: Database, hostId: string): BootRecord | null {
  const row = database.get('SELECT boot FROM boots WHERE host_id = ?', hostId);
  return row === undefined ? null : json<BootRecord>(row, 'boot');
}

export function logStates(database: Database, hostId: string): readonly LogState[] {
  return database.all('SELECT kind, size, unreadable FROM logs WHERE host_id = ? ORDER BY kind', hostId).map((row) => ({
    kind: text(row, 'kind') as LogKind,
    size: integer(row, 'size'),
    unreadable: text(row, 'unreadable'),
  }));
}

export function readLog(database: Database, hostId: string, kind: LogKind, offset: number, limit: number): Uint8Array {
  const end = Math.min(offset + limit, keptSize(database, hostId, kind));
  return readChunks(database, ['host', hostId], kind, { offset, end });
}

function keepLogPart(tx: Transaction, hostId: string, part: LogPart): void {
  const kept = keptSize(tx.database, hostId, part.kind);
  const { kind, offset, data } = part;
  const place = placeLogPart(kept, { kind, offset, length: data.byteLength });
  if (place === 'ignore') return;
  if (place === 'replace') dropChunks(tx, { hostId, kind }, 0);
  setLog(tx, hostId, kind, offset + data.byteLength, '');
  appendChunks(tx, { hostId, kind }, offset, data);
}

function setLog(tx: Transaction, hostId: string, kind: LogKind, size: number, unreadable: string): void {
  tx.run(
    `INSERT INTO logs (host_id, kind, size, unreadable) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET size = excluded.size, unreadable = excluded.unreadable`,
    hostId,
    kind,
    size,
    unreadable,
  );
}

function keptSize(database: Database, hostId: string, kind: LogKind): number {
  const row = database.get('SELECT size FROM logs WHERE host_id = ? AND kind = ?', hostId, kind);
  return row === undefined ? 0 : integer(row, 'size');
}
