import { KEPT_VERSIONS, type ReferenceSetRecord, type ReferenceStore } from '../reference-store.ts';
import { StoreError } from '../store.ts';
import { type Database, integer } from './database.ts';
import { checkUnnamed, referenceChanged } from './policies.ts';
import { presentVersion, readHead, setHead, unknown } from './reference-heads.ts';
import { contentOf, getReferenceSet, NOT_WITHDRAWN } from './reference-sets.ts';
import { type Transaction, write } from './transaction.ts';

type ChangeOptions = Parameters<ReferenceStore['deleteReferenceSet']>[1];

/** Writes the next version of a set, which has its entries in a content that is whole. */
export function writeVersion(
  tx: Transaction,
  { id, content, entries }: { readonly id: string; readonly content: number; readonly entries: number },
): ReferenceSetRecord {
  // Versions go on where a deleted set of this id ended: an id and version never name two contents.
  const version = (readHead(tx.database, 'referenceSets', id)?.version ?? 0) + 1;
  const set = { id, version, kind: 'files', entries, createTime: tx.now } as const;
  tx.run(
    'INSERT INTO reference_sets (id, version, kind, content, entries, create_time) VALUES (?, ?, ?, ?, ?, ?)',
    id,
    version,
    set.kind,
    content,
    entries,
    tx.now,
  );
  dropVersions(tx, id, version - KEPT_VERSIONS);
  setHead(tx, 'referenceSets', id, { version, deleted: false });
  return set;
}

/** Drops the verdicts that rested on the former version, and records the change. */
export function versionMade(
  tx: Transaction,
  { id, version, entries }: ReferenceSetRecord,
  change: { readonly actor: string; readonly action: string; readonly detail: string },
): void {
  const dropped = referenceChanged(tx, `referenceSets/${id}`);
  const facts = `${change.detail}version ${version}, ${entries} entries, ${dropped} verdicts dropped`;
  tx.audit(change.actor, change.action, `referenceSets/${id}`, facts);
}

/** The new version has the content of the one before, without what either of them withdrew. */
export function withdrawReferenceDigests(
  database: Database,
  now: number,
  id: string,
  digests: readonly string[],
  options: ChangeOptions,
): { readonly set: ReferenceSetRecord; readonly removed: number } {
  return write(database, now, (tx) => {
    const former = presentVersion(tx.database, 'referenceSets', id, options.expected);
    const present = former === null ? null : getReferenceSet(tx.database, id, former);
    if (present === null) throw unknown('referenceSets', id);
    const content = contentOf(tx.database, present);
    const wanted = [...new Set(digests)];
    const removed = wanted.reduce((sum, digest) => sum + countEntries(tx, present, content, digest), 0);
    const set = writeVersion(tx, { id, content, entries: present.entries - removed });
    tx.run(
      `INSERT INTO reference_withdrawn (id, version, digest)
        SELECT id, ?, digest FROM reference_withdrawn WHERE id = ? AND version = ?`,
      set.version,
      id,
      present.version,
    );
    for (const digest of wanted) {
      tx.run(
        'INSERT INTO reference_withdrawn (id, version, digest) VALUES (?, ?, ?)',
        id,
        set.version,
        Buffer.from(digest, 'hex'),
      );
    }
    const shown = wanted.length === 1 ? `${wanted[0]}, ` : `${wanted.length} digests, `;
    versionMade(tx, set, { actor: options.actor, action: 'referenceSet.withdraw', detail: shown });
    return { set, removed };
  });
}

function countEntries(tx: Transaction, set: ReferenceSetRecord, content: number, digest: string): number {
  const row = tx.database.get(
    `SELECT count(*) AS present FROM reference_entries WHERE content = ? AND digest = ? AND ${NOT_WITHDRAWN}`,
    content,
    Buffer.from(digest, 'hex'),
    set.id,
    set.version,
  );
  const present = row === undefined ? 0 : integer(row, 'present');
  if (present === 0) throw new StoreError('not_found', `reference set ${set.id} holds no digest ${digest}`);
  return present;
}

export function deleteReferenceSet(database: Database, now: number, id: string, options: ChangeOptions): void {
  write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'referenceSets', id, options.expected);
    if (version === null) throw unknown('referenceSets', id);
    checkUnnamed(tx, `referenceSets/${id}`);
    dropVersions(tx, id, version);
    setHead(tx, 'referenceSets', id, { version, deleted: true });
    tx.audit(options.actor, 'referenceSet.delete', `referenceSets/${id}`, `version ${version}`);
  });
}

/** Drops the versions of a set up to one; the entries of a content that no version has any more go in batches later. */
function dropVersions(tx: Transaction, id: string, upTo: number): void {
  const rows = tx.database.all('SELECT DISTINCT content FROM reference_sets WHERE id = ? AND version <= ?', id, upTo);
  tx.run('DELETE FROM reference_sets WHERE id = ? AND version <= ?', id, upTo);
  for (const row of rows) {
    tx.run(
      `UPDATE reference_contents SET state = 'loose'
        WHERE id = ? AND NOT EXISTS (SELECT 1 FROM reference_sets s WHERE s.content = reference_contents.id)`,
      integer(row, 'content'),
    );
  }
}
