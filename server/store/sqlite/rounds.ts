import { isExpired } from '../own-verdicts.ts';
import { StoreError } from '../store.ts';
import { shortenBasis } from './bases.ts';
import { type Database, integer, optionalInteger } from './database.ts';
import { PRESENT_SQL, readPresent, toPresent, writeLapse, writeRevision } from './revisions.ts';
import { type Transaction, write } from './transaction.ts';

/** The clock mark is written at least this often while the store is asked to expire results, milliseconds. */
const MARK_INTERVAL = 5000;

/** Counts a torn round if it is the host's present one; returns the count. */
export function countTorn(database: Database, now: number, hostId: string, round: number): number {
  return write(database, now, (tx) => {
    const row = tx.database.get('SELECT round, torn FROM host_rounds WHERE host_id = ?', hostId);
    if (row === undefined) throw new StoreError('not_found', `host ${hostId} is not known`);
    if (integer(row, 'round') !== round) return integer(row, 'torn');
    tx.run('UPDATE host_rounds SET torn = torn + 1 WHERE host_id = ?', hostId);
    return integer(row, 'torn') + 1;
  });
}

export function streamLost(database: Database, now: number, hostId: string, streamEpoch: number, grace: number): void {
  write(database, now, (tx) => {
    const held = tx.run(
      'UPDATE host_rounds SET connected = 0 WHERE host_id = ? AND stream_epoch = ? AND connected = 1',
      hostId,
      streamEpoch,
    );
    const present = held === 0 ? null : readPresent(tx.database, hostId);
    if (present === null) return;
    if (isExpired(present.result, tx.now)) {
      writeLapse(tx, present);
      return;
    }
    shortenBasis(tx, hostId, tx.now + grace);
    const { connectivity, validUntil } = present.result;
    const shortened = validUntil === null ? null : Math.min(validUntil, tx.now + grace);
    if (connectivity === 'unreachable' && shortened === validUntil) return;
    writeRevision(
      tx,
      {
        result: { ...present.result, connectivity: 'unreachable', validUntil: shortened },
        cause: 'disconnected',
        digest: present.digest,
        lapseTime: shortened,
      },
      present,
    );
  });
}

export function expireResults(database: Database, now: number, limit: number): number {
  const mark = database.get('SELECT clock_mark FROM counter WHERE id = 1');
  const due = database.get('SELECT min(lapse_time) AS lapse_time FROM results WHERE lapse_time IS NOT NULL');
  const next = due === undefined ? null : optionalInteger(due, 'lapse_time');
  const markIsOld = mark === undefined || integer(mark, 'clock_mark') + MARK_INTERVAL <= now;
  if (!markIsOld && (next === null || next > now)) return 0;
  return write(database, now, (tx) => {
    if (markIsOld) tx.keepMark();
    const rows = tx.database.all(`${PRESENT_SQL} WHERE p.lapse_time <= ? ORDER BY p.host_id LIMIT ?`, tx.now, limit);
    for (const row of rows) writeLapse(tx, toPresent(row));
    return rows.length;
  });
}

/** Every result that can lapse does, in a transaction that has set the clock. */
export function expireAll(tx: Transaction): number {
  const rows = tx.database.all(`${PRESENT_SQL} WHERE p.lapse_time IS NOT NULL ORDER BY p.host_id`);
  for (const row of rows) writeLapse(tx, toPresent(row));
  // Nobody knows any more how old evidence is.
  tx.run('DELETE FROM reappraisals');
  return rows.length;
}
