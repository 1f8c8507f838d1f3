import type { RuntimeRecord } from '../log-store.ts';
import type { RuntimeChange } from '../store.ts';
import { type Database, integer, text } from './database.ts';
import { keepLogBytes } from './logs.ts';
import type { Transaction } from './transaction.ts';

export function getRuntime(database: Database, hostId: string): RuntimeRecord | null {
  const row = database.get('SELECT * FROM runtimes WHERE host_id = ?', hostId);
  return row === undefined
    ? null
    : { sequence: integer(row, 'sequence'), body: text(row, 'body'), updateTime: integer(row, 'update_time') };
}

/** Whether the record is still the one that a round was judged from. */
export function holdsRuntime(database: Database, hostId: string, { expected }: RuntimeChange): boolean {
  const row = database.get('SELECT sequence FROM runtimes WHERE host_id = ?', hostId);
  return (row === undefined ? 0 : integer(row, 'sequence')) === expected;
}

/** Writes what a round changes, after its logs. */
export function keepRuntime(tx: Transaction, hostId: string, { expected, body, keepBytes }: RuntimeChange): void {
  if (keepBytes !== undefined) keepLogBytes(tx, hostId, 'ima', keepBytes);
  if (body === null) dropRuntime(tx, hostId);
  if (body === null || body === undefined) return;
  tx.run(
    `INSERT INTO runtimes (host_id, sequence, body, update_time) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET sequence = excluded.sequence, body = excluded.body, update_time = excluded.update_time`,
    hostId,
    expected + 1,
    body,
    tx.now,
  );
}

export function dropRuntime(tx: Transaction, hostId: string): void {
  tx.run('DELETE FROM runtimes WHERE host_id = ?', hostId);
}
