import {
  DRAFT_LIFETIME,
  MAX_REFERENCE_ENTRIES,
  MAX_REFERENCE_SETS,
  type ReferenceEntryRecord,
  type ReferenceSetRecord,
  type ReferenceStore,
} from '../reference-store.ts';
import { StoreError } from '../store.ts';
import { type Database, integer, optionalInteger, text } from './database.ts';
import { checkRoom, presentVersion } from './reference-heads.ts';
import { contentOf, getReferenceSet, NOT_WITHDRAWN } from './reference-sets.ts';
import { versionMade, writeVersion } from './reference-versions.ts';
import { type Transaction, write } from './transaction.ts';

/**
 * A version is written before it is one: its entries stand under a content of their own, batch by batch, so that rounds pass
 * between the batches, and the commit is a few rows. A content never changes after it.
 */
const BATCH = 2000;

export function openReferenceDraft(
  database: Database,
  now: number,
  id: string,
  { from, expected }: Parameters<ReferenceStore['openReferenceDraft']>[1],
): number {
  return write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'referenceSets', id, expected);
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
    const base = { id: setId, version: baseVersion ?? 0 };
    // No set, or a version that has gone meanwhile: the commit finds that it is not the newest.
    if (getReferenceSet(tx.database, base.id, base.version) === null) return 0;
    const last = tx.database.get(
      `SELECT digest, algorithm, path FROM reference_entries WHERE content = ?
        ORDER BY digest DESC, algorithm DESC, path DESC LIMIT 1`,
      draft,
    );
    const copied = tx.run(
      `INSERT INTO reference_entries (content, digest, algorithm, path)
        SELECT ?, digest, algorithm, path FROM reference_entries
        WHERE content = ? AND (digest, algorithm, path) > (?, ?, ?) AND ${NOT_WITHDRAWN}
        ORDER BY digest, algorithm, path LIMIT ?`,
      draft,
      contentOf(tx.database, base),
      last?.['digest'] ?? new Uint8Array(0),
      last?.['algorithm'] ?? '',
      last?.['path'] ?? '',
      base.id,
      base.version,
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
    if (present !== null && present.entries === entries && holdsAll(tx, present, draft)) {
      loosen(tx, draft);
      return { set: present, changed: false };
    }
    tx.run("UPDATE reference_contents SET state = 'kept' WHERE id = ?", draft);
    const set = writeVersion(tx, { id, content: draft, entries });
    versionMade(tx, set, { actor: options.actor, action: 'referenceSet.import', detail: options.detail });
    return { set, changed: true };
  });
}

export function dropReferenceDraft(database: Database, now: number, draft: number): void {
  write(database, now, (tx) => loosen(tx, draft));
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

/** Whether a version holds every entry of a draft; with as many entries they are equal. */
function holdsAll(tx: Transaction, set: ReferenceSetRecord, draft: number): boolean {
  const missing = tx.database.get(
    `SELECT 1 FROM reference_entries d WHERE d.content = ? AND NOT EXISTS (
        SELECT 1 FROM reference_entries
          WHERE content = ? AND digest = d.digest AND algorithm = d.algorithm AND path = d.path AND ${NOT_WITHDRAWN}
      ) LIMIT 1`,
    draft,
    contentOf(tx.database, set),
    set.id,
    set.version,
  );
  return missing === undefined;
}
