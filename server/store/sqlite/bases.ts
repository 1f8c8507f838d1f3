import type { ChangeCause } from '../records.ts';
import { type Database, integer } from './database.ts';
import type { Transaction } from './transaction.ts';

/**
 * What a host was last judged from by a round, where its verdict has fallen since: the revision that had it, and when its evidence ends.
 * It stands through all that is judged from it, until other evidence is judged or this one says nothing any more.
 */
export interface Basis {
  readonly revision: number;
  readonly validUntil: number;
  readonly due: boolean;
}

/** After these the evidence of before is still the last one of this host, with this key, in this boot. */
const LEAVE: ReadonlySet<ChangeCause> = new Set([
  'input_changed',
  'reappraised',
  'updated',
  'approved',
  'disconnected',
]);

export function readBasis(database: Database, hostId: string): Basis | null {
  const row = database.get('SELECT basis, valid_until, due FROM reappraisals WHERE host_id = ?', hostId);
  if (row === undefined) return null;
  return { revision: integer(row, 'basis'), validUntil: integer(row, 'valid_until'), due: integer(row, 'due') === 1 };
}

/** The verdict of a round falls: the host is due to be judged anew from what the round had. */
export function setBasis(tx: Transaction, hostId: string, revision: number, validUntil: number): void {
  tx.run(
    'INSERT INTO reappraisals (host_id, basis, valid_until, since, due) VALUES (?, ?, ?, ?, 1)',
    hostId,
    revision,
    validUntil,
    tx.now,
  );
}

/** What a host is judged by has changed again. Returns whether there is a basis. */
export function dueAgain(tx: Transaction, hostId: string): boolean {
  return tx.run('UPDATE reappraisals SET due = 1, since = ? WHERE host_id = ?', tx.now, hostId) > 0;
}

/** The host was judged by its basis, which waits for the next change; one that is over is of no more use. */
export function settleBasis(tx: Transaction, hostId: string): void {
  tx.run('UPDATE reappraisals SET due = 0 WHERE host_id = ?', hostId);
  tx.run('DELETE FROM reappraisals WHERE host_id = ? AND valid_until <= ?', hostId, tx.now);
}

/** The evidence of a host counts no longer than until a time. */
export function shortenBasis(tx: Transaction, hostId: string, until: number): void {
  tx.run('UPDATE reappraisals SET valid_until = min(valid_until, ?) WHERE host_id = ?', until, hostId);
}

export function dropBasis(tx: Transaction, hostId: string): void {
  tx.run('DELETE FROM reappraisals WHERE host_id = ?', hostId);
}

/** A revision was written: what it makes of the basis. */
export function basisAfter(tx: Transaction, hostId: string, cause: ChangeCause): void {
  if (!LEAVE.has(cause)) dropBasis(tx, hostId);
}
