import type { GivenRevocationList, RevocationListRecord, RevocationListSummary } from '../records.ts';
import { KEPT_VERSIONS } from '../reference-store.ts';
import { isNewerList } from '../revocation-rules.ts';
import { type Actor, type EndorsementStore, type Page, type PageRequest, StoreError } from '../store.ts';
import { type Database, integer, optionalInteger, type Row, text } from './database.ts';
import { certificatesChanged, recordChange } from './endorsement-changes.ts';
import { toPage } from './hosts.ts';
import { presentVersion, readHead, setHead, unknown } from './reference-heads.ts';
import { type Transaction, write } from './transaction.ts';

/** All but the list itself, which may have megabytes. */
const SUMMARY =
  'r.id, r.version, r.fingerprint, r.issuer, r.issuer_key, r.number, r.this_update, r.next_update, r.entries, r.create_time';
const NEWEST = `FROM revocation_list_heads h JOIN revocation_lists r ON r.id = h.id AND r.version = h.version
  WHERE h.deleted = 0`;

export function allRevocationLists(database: Database): readonly RevocationListRecord[] {
  return database.all(`SELECT r.* ${NEWEST} ORDER BY r.id`).map(toRecord);
}

export function listRevocationLists(database: Database, page: PageRequest): Page<RevocationListSummary> {
  const rows = database.all(
    `SELECT ${SUMMARY} ${NEWEST} AND r.id > ? ORDER BY r.id LIMIT ?`,
    page.after,
    page.limit + 1,
  );
  return toPage(rows.map(toSummary), page.limit, ({ id }) => id);
}

export function getRevocationList(database: Database, id: string, version: number | null): RevocationListRecord | null {
  const row =
    version === null
      ? database.get(`SELECT r.* ${NEWEST} AND r.id = ?`, id)
      : database.get('SELECT * FROM revocation_lists WHERE id = ? AND version = ?', id, version);
  return row === undefined ? null : toRecord(row);
}

export function addRevocationLists(
  database: Database,
  now: number,
  lists: readonly GivenRevocationList[],
  options: Actor,
): readonly RevocationListSummary[] {
  return write(database, now, (tx) => {
    const added = lists.flatMap((list) => putList(tx, list) ?? []);
    if (added.length === 0) return [];
    const dropped = certificatesChanged(tx);
    for (const { id, version, issuer, entries } of added) {
      recordChange(tx, {
        ...options,
        action: 'revocationList.add',
        resource: `revocationLists/${id}`,
        version,
        detail: `${issuer}, ${entries} entries, ${dropped} verdicts dropped`,
      });
    }
    // One of several of an issuer may have taken the place of another by now.
    return added.filter(({ id, version }) => readHead(tx.database, 'revocationLists', id)?.version === version);
  });
}

/** Null for one that is there. */
function putList(tx: Transaction, list: GivenRevocationList): RevocationListSummary | null {
  const id = issuerId(tx.database, list) ?? list.fingerprint;
  const former = readSummary(tx.database, id);
  if (former?.fingerprint === list.fingerprint) return null;
  if (former !== null && !isNewerList(list, former)) {
    throw new StoreError(
      'outdated',
      `the list of ${list.issuer} ${describe(list)} is not newer than the one that is kept, ${describe(former)}`,
    );
  }
  // Versions go on where a removed one ended: a name and version never mean two things.
  const version = (readHead(tx.database, 'revocationLists', id)?.version ?? 0) + 1;
  tx.run(
    `INSERT INTO revocation_lists
      (id, version, fingerprint, issuer, issuer_key, number, this_update, next_update, entries, create_time, list)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    id,
    version,
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
  tx.run('DELETE FROM revocation_lists WHERE id = ? AND version <= ?', id, version - KEPT_VERSIONS);
  setHead(tx, 'revocationLists', id, { version, deleted: false });
  return readSummary(tx.database, id);
}

/** Also of an issuer whose list was removed. */
function issuerId(database: Database, { issuer, issuerKey }: GivenRevocationList): string | null {
  const row = database.get('SELECT id FROM revocation_lists WHERE issuer_key = ? AND issuer = ?', issuerKey, issuer);
  return row === undefined ? null : text(row, 'id');
}

function readSummary(database: Database, id: string): RevocationListSummary | null {
  const row = database.get(`SELECT ${SUMMARY} ${NEWEST} AND r.id = ?`, id);
  return row === undefined ? null : toSummary(row);
}

function describe({ number, thisUpdate }: Pick<RevocationListSummary, 'number' | 'thisUpdate'>): string {
  const time = new Date(thisUpdate).toISOString();
  return number === '' ? `of ${time}` : `number 0x${number} of ${time}`;
}

export function removeRevocationList(
  database: Database,
  now: number,
  id: string,
  options: Parameters<EndorsementStore['removeRevocationList']>[1],
): void {
  write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'revocationLists', id, options.expected);
    if (version === null) throw unknown('revocationLists', id);
    setHead(tx, 'revocationLists', id, { version, deleted: true });
    const dropped = certificatesChanged(tx);
    recordChange(tx, {
      actor: options.actor,
      action: 'revocationList.remove',
      resource: `revocationLists/${id}`,
      version,
      detail: `${dropped} verdicts dropped`,
    });
  });
}

function toRecord(row: Row): RevocationListRecord {
  return { ...toSummary(row), list: text(row, 'list') };
}

function toSummary(row: Row): RevocationListSummary {
  return {
    id: text(row, 'id'),
    version: integer(row, 'version'),
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
