import type { RevocationListRecord, RevocationListSummary } from '../records.ts';
import { isNewerList } from '../revocation-rules.ts';
import { type Actor, type Page, type PageRequest, StoreError } from '../store.ts';
import { type Database, integer, optionalInteger, type Row, text } from './database.ts';
import { certificatesChanged } from './endorsements.ts';
import { toPage } from './hosts.ts';
import { type Transaction, write } from './transaction.ts';

/** All but the list itself, which may have megabytes. */
const SUMMARY = 'fingerprint, issuer, issuer_key, number, this_update, next_update, entries, create_time';

export function allRevocationLists(database: Database): readonly RevocationListRecord[] {
  return database
    .all('SELECT * FROM revocation_lists ORDER BY fingerprint')
    .map((row) => ({ ...toSummary(row), list: text(row, 'list') }));
}

export function listRevocationLists(database: Database, page: PageRequest): Page<RevocationListSummary> {
  const rows = database.all(
    `SELECT ${SUMMARY} FROM revocation_lists WHERE fingerprint > ? ORDER BY fingerprint LIMIT ?`,
    page.after,
    page.limit + 1,
  );
  return toPage(rows.map(toSummary), page.limit, ({ fingerprint }) => fingerprint);
}

export function addRevocationLists(
  database: Database,
  now: number,
  lists: readonly Omit<RevocationListRecord, 'createTime'>[],
  options: Actor,
): readonly RevocationListSummary[] {
  return write(database, now, (tx) => {
    const added = lists.filter((list) => putList(tx, list));
    if (added.length > 0) {
      const dropped = certificatesChanged(tx);
      for (const { fingerprint, issuer, entries } of added) {
        const detail = `${issuer}, ${entries} entries, ${dropped} verdicts dropped`;
        tx.audit(options.actor, 'revocationList.add', `revocationLists/${fingerprint}`, detail);
      }
    }
    // One of several of an issuer may have taken the place of another by now.
    return added.flatMap(({ fingerprint }) => {
      const row = tx.database.get(`SELECT ${SUMMARY} FROM revocation_lists WHERE fingerprint = ?`, fingerprint);
      return row === undefined ? [] : [toSummary(row)];
    });
  });
}

/** False for one that is there. */
function putList(tx: Transaction, list: Omit<RevocationListRecord, 'createTime'>): boolean {
  const row = tx.database.get(
    `SELECT ${SUMMARY} FROM revocation_lists WHERE issuer_key = ? AND issuer = ?`,
    list.issuerKey,
    list.issuer,
  );
  const former = row === undefined ? null : toSummary(row);
  if (former?.fingerprint === list.fingerprint) return false;
  if (former !== null && !isNewerList(list, former)) {
    throw new StoreError(
      'outdated',
      `the list of ${list.issuer} ${describe(list)} is not newer than the one that is kept, ${describe(former)}`,
    );
  }
  if (former !== null) tx.run('DELETE FROM revocation_lists WHERE fingerprint = ?', former.fingerprint);
  tx.run(
    `INSERT INTO revocation_lists (${SUMMARY}, list) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    list.fingerprint,
    list.issuer,
    list.issuerKey,
    list.number,
    list.thisUpdate,
    list.nextUpdate,
    list.entries,
    tx.now,
    list.list,
  );
  return true;
}

function describe({ number, thisUpdate }: Pick<RevocationListSummary, 'number' | 'thisUpdate'>): string {
  const time = new Date(thisUpdate).toISOString();
  return number === '' ? `of ${time}` : `number 0x${number} of ${time}`;
}

export function removeRevocationList(database: Database, now: number, fingerprint: string, options: Actor): void {
  write(database, now, (tx) => {
    if (tx.run('DELETE FROM revocation_lists WHERE fingerprint = ?', fingerprint) === 0) {
      throw new StoreError('not_found', `revocation list ${fingerprint} is not known`);
    }
    const dropped = certificatesChanged(tx);
    tx.audit(options.actor, 'revocationList.remove', `revocationLists/${fingerprint}`, `${dropped} verdicts dropped`);
  });
}

function toSummary(row: Row): RevocationListSummary {
  return {
    fingerprint: text(row, 'fingerprint'),
    issuer: text(row, 'issuer'),
    issuerKey: text(row, 'issuer_key'),
    number: text(row, 'number'),
    thisUpdate: integer(row, 'this_update'),
    nextUpdate: optionalInteger(row, 'next_update'),
    entries: integer(row, 'entries'),
    createTime: integer(row, 'create_time'),
  };
}
