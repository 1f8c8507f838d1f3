import {
  DRAFT_LIFETIME,
  KEPT_VERSIONS,
  MAX_REFERENCE_ENTRIES,
  MAX_REFERENCE_SETS,
  type ReferenceEntryRecord,
  type ReferenceSetRecord,
  type ReferenceStore,
} from '../reference-store.ts';
import { StoreError } from '../store.ts';
import { type Database, integer, optionalInteger, text } from './database.ts';
import { checkUnnamed, referenceChanged } from './policies.ts';
import { checkRoom, presentVersion, readHead, setHead, unknown } from './reference-heads.ts';
import { contentOf, getReferenceSet } from './reference-sets.ts';
import { type Transaction, write } from './transaction.ts';

/**
 * A version is written before it is one: its entries stand under a content of their own, batch by batch, so that rounds pass
 * between the batches, and the commit is a few rows. A content never changes after it.
 */
const BATCH = 5000;

export function openReferenceDraft(
  database: Database,
  now: number,
  id: string,
  { from, expected }: Parameters<ReferenceStore['openReferenceDraft']>[1],
): number {
  return write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'referenceSets', id, expected);
    if (version === null && from === 'newest') throw unknown('referenceSets', id);
    if (version === null) checkRoom(tx, 'referenceSets', MAX_REFERENCE_SETS);
    // What takes all from its caller may follow upon any version, unless the caller names one.
    const base = from === 'nothing' && expected === 'any' ? null : (version ?? 0);
    tx.run(
      "INSERT INTO reference_contents (set_id, state, base_version, entries, create_time) VALUES (?, 'draft', ?, 0, ?)",
      id,
      base,
      tx.now,
    );
    const row = tx.database.get('SELECT last_insert_rowid() AS id');
    if (row === undefined) throw new StoreError('failed', 'the draft has no number');
    return integer(row, 'id');
  });
}

/** Copies the next batch of what the draft begins with; nothing but copies may be in it. Returns how many. */
export function copyReferenceEntries(database: Database, now: number, draft: number): number {
  return write(database, now, (tx) => {
    const { setId, baseVersion } = readDraft(tx, draft);
    const row = tx.database.get(
      'SELECT content FROM reference_sets WHERE id = ? AND version = ?',
      setId,
      baseVersion ?? 0,
    );
    // No set, or a version that has gone meanwhile: the commit finds that it is not the newest.
    if (row === undefined) return 0;
    const last = tx.database.get(
      `SELECT digest, algorithm, path FROM reference_entries WHERE content = ?
        ORDER BY digest DESC, algorithm DESC, path DESC LIMIT 1`,
      draft,
    );
    const copied = tx.run(
      `INSERT INTO reference_entries (content, digest, algorithm, path)
        SELECT ?, digest, algorithm, path FROM reference_entries
        WHERE content = ? AND (digest, algorithm, path) > (?, ?, ?) ORDER BY digest, algorithm, path LIMIT ?`,
      draft,
      integer(row, 'content'),
      last?.['digest'] ?? new Uint8Array(0),
      last?.['algorithm'] ?? '',
      last?.['path'] ?? '',
      BATCH,
    );
    tx.run('UPDATE reference_contents SET entries = entries + ? WHERE id = ?', copied, draft);
    return copied;
  });
}

export function addReferenceEntries(
  database: Database,
  now: number,
  draft: number,
  entries: readonly ReferenceEntryRecord[],
): void {
  write(database, now, (tx) => {
    const before = readDraft(tx, draft).entries;
    let added = 0;
    for (const { algorithm, digest, path } of entries) {
      added += tx.run(
        'INSERT OR IGNORE INTO reference_entries (content, digest, algorithm, path) VALUES (?, ?, ?, ?)',
        draft,
        Buffer.from(digest, 'hex'),
        algorithm,
        path,
      );
    }
    if (before + added > MAX_REFERENCE_ENTRIES)
      throw new StoreError('too_large', `a reference set holds at most ${MAX_REFERENCE_ENTRIES} entries`);
    tx.run('UPDATE reference_contents SET entries = entries + ? WHERE id = ?', added, draft);
  });
}

export function removeReferenceDigests(
  database: Database,
  now: number,
  draft: number,
  digests: readonly string[],
): number {
  return write(database, now, (tx) => {
    const { setId } = readDraft(tx, draft);
    let removed = 0;
    for (const digest of new Set(digests)) {
      const gone = tx.run(
        'DELETE FROM reference_entries WHERE content = ? AND digest = ?',
        draft,
        Buffer.from(digest, 'hex'),
      );
      if (gone === 0) throw new StoreError('not_found', `reference set ${setId} holds no digest ${digest}`);
      removed += gone;
    }
    tx.run('UPDATE reference_contents SET entries = entries - ? WHERE id = ?', removed, draft);
    return removed;
  });
}

export function commitReferenceDraft(
  database: Database,
  now: number,
  draft: number,
  options: Parameters<ReferenceStore['commitReferenceDraft']>[1],
): { readonly set: ReferenceSetRecord; readonly changed: boolean } {
  return write(database, now, (tx) => {
    const { setId: id, baseVersion, entries } = readDraft(tx, draft);
    const version = presentVersion(tx.database, 'referenceSets', id, 'any');
    if (baseVersion !== null && (version ?? 0) !== baseVersion)
      throw new StoreError('etag_mismatch', `reference set ${id} has changed meanwhile; it is at version ${version}`);
    const present = version === null ? null : getReferenceSet(tx.database, id, version);
    if (present === null) checkRoom(tx, 'referenceSets', MAX_REFERENCE_SETS);
    if (present !== null && present.entries === entries && holdsAll(tx, contentOf(tx.database, present), draft)) {
      loosen(tx, draft);
      return { set: present, changed: false };
    }
    // Versions go on where a deleted set of this id ended: an id and version never name two contents.
    const next = (readHead(tx.database, 'referenceSets', id)?.version ?? 0) + 1;
    const set = { id, version: next, kind: 'files', entries, createTime: tx.now } as const;
    tx.run("UPDATE reference_contents SET state = 'kept' WHERE id = ?", draft);
    tx.run(
      'INSERT INTO reference_sets (id, version, kind, content, entries, create_time) VALUES (?, ?, ?, ?, ?, ?)',
      id,
      next,
      set.kind,
      draft,
      entries,
      tx.now,
    );
    dropVersions(tx, id, next - KEPT_VERSIONS);
    setHead(tx, 'referenceSets', id, { version: next, deleted: false });
    const dropped = referenceChanged(tx, `referenceSets/${id}`);
    const facts = `${options.detail}version ${next}, ${entries} entries, ${dropped} verdicts dropped`;
    tx.audit(options.actor, `referenceSet.${options.action}`, `referenceSets/${id}`, facts);
    return { set, changed: true };
  });
}

export function dropReferenceDraft(database: Database, now: number, draft: number): void {
  write(database, now, (tx) => loosen(tx, draft));
}

/** Drops the versions of a set up to one; their entries go in batches later. */
function dropVersions(tx: Transaction, id: string, upTo: number): void {
  tx.run(
    `UPDATE reference_contents SET state = 'loose'
      WHERE id IN (SELECT content FROM reference_sets WHERE id = ? AND version <= ?)`,
    id,
    upTo,
  );
  tx.run('DELETE FROM reference_sets WHERE id = ? AND version <= ?', id, upTo);
}

/** Drops a batch of the entries that no version has any more, also of drafts that nobody went on with; 0 when there are none. */
export function sweepReferenceEntries(database: Database, now: number): number {
  return write(database, now, (tx) => {
    tx.run(
      "UPDATE reference_contents SET state = 'loose' WHERE state = 'draft' AND create_time < ?",
      tx.now - DRAFT_LIFETIME,
    );
    const row = tx.database.get("SELECT id FROM reference_contents WHERE state = 'loose' LIMIT 1");
    if (row === undefined) return 0;
    const content = integer(row, 'id');
    const dropped = tx.run(
      'DELETE FROM reference_entries WHERE id IN (SELECT id FROM reference_entries WHERE content = ? LIMIT ?)',
      content,
      BATCH,
    );
    if (dropped === BATCH) return dropped;
    return dropped + tx.run('DELETE FROM reference_contents WHERE id = ?', content);
  });
}

interface Draft {
  readonly setId: string;
  /** Version that must be the newest at the commit, 0 for none; null for any. */
  readonly baseVersion: number | null;
  readonly entries: number;
}

function readDraft(tx: Transaction, draft: number): Draft {
  const row = tx.database.get("SELECT * FROM reference_contents WHERE id = ? AND state = 'draft'", draft);
  if (row === undefined) throw new StoreError('not_found', 'the import is over');
  return {
    setId: text(row, 'set_id'),
    baseVersion: optionalInteger(row, 'base_version'),
    entries: integer(row, 'entries'),
  };
}

function loosen(tx: Transaction, draft: number): void {
  tx.run("UPDATE reference_contents SET state = 'loose' WHERE id = ? AND state = 'draft'", draft);
}

/** Whether a content holds every entry of another; with as many entries they are equal. */
function holdsAll(tx: Transaction, content: number, other: number): boolean {
  const missing = tx.database.get(
    `SELECT 1 FROM reference_entries o WHERE o.content = ? AND NOT EXISTS (
        SELECT 1 FROM reference_entries e
          WHERE e.content = ? AND e.digest = o.digest AND e.algorithm = o.algorithm AND e.path = o.path
      ) LIMIT 1`,
    other,
    content,
  );
  return missing === undefined;
}

export function deleteReferenceSet(
  database: Database,
  now: number,
  id: string,
  options: Parameters<ReferenceStore['deleteReferenceSet']>[1],
): void {
  write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'referenceSets', id, options.expected);
    if (version === null) throw unknown('referenceSets', id);
    checkUnnamed(tx, `referenceSets/${id}`);
    dropVersions(tx, id, version);
    setHead(tx, 'referenceSets', id, { version, deleted: true });
    tx.audit(options.actor, 'referenceSet.delete', `referenceSets/${id}`, `version ${version}`);
  });
}
