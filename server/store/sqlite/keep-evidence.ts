import type { LogKind } from '../records.ts';
import { bytes, type Database, integer, text } from './database.ts';
import { appendChunks } from './log-chunks.ts';

/**
 * The step of the schema after which evidence is kept by content: logs as blobs, those of former boots too, and what fallen verdicts
 * rested on. It writes as the store of this program does: a later step that changes `blobs` or `log_chunks` comes with a writer of its
 * own for this one.
 */
export function keepEvidence(database: Database): void {
  database.exec(TABLES);
  moveLogs(database);
  database.exec('DROP TABLE log_parts');
}

/** A blob that nothing refers to goes with the last chunk of it, and none that something refers to can. */
const TABLES = `
CREATE TABLE blobs (
  id INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  encoding TEXT NOT NULL CHECK (encoding IN ('plain', 'zstd')),
  data BLOB NOT NULL
) STRICT;
CREATE TABLE log_chunks (
  host_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  start INTEGER NOT NULL,
  size INTEGER NOT NULL,
  blob INTEGER NOT NULL REFERENCES blobs (id),
  PRIMARY KEY (host_id, kind, start),
  FOREIGN KEY (host_id, kind) REFERENCES logs (host_id, kind) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX log_chunks_blob ON log_chunks (blob);
CREATE TABLE former_boots (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  ak_name TEXT NOT NULL,
  reset_count INTEGER NOT NULL,
  restart_count INTEGER NOT NULL,
  end_time INTEGER NOT NULL,
  status TEXT NOT NULL,
  revision INTEGER NOT NULL,
  boot TEXT
) STRICT;
CREATE INDEX former_boots_host ON former_boots (host_id);
CREATE INDEX former_boots_end ON former_boots (end_time);
CREATE TABLE former_chunks (
  boot INTEGER NOT NULL REFERENCES former_boots (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  start INTEGER NOT NULL,
  size INTEGER NOT NULL,
  blob INTEGER NOT NULL REFERENCES blobs (id),
  PRIMARY KEY (boot, kind, start)
) STRICT, WITHOUT ROWID;
CREATE INDEX former_chunks_blob ON former_chunks (blob);
CREATE TRIGGER log_chunks_dropped AFTER DELETE ON log_chunks
  WHEN NOT EXISTS (SELECT 1 FROM log_chunks WHERE blob = OLD.blob)
    AND NOT EXISTS (SELECT 1 FROM former_chunks WHERE blob = OLD.blob)
  BEGIN DELETE FROM blobs WHERE id = OLD.blob; END;
CREATE TRIGGER former_chunks_dropped AFTER DELETE ON former_chunks
  WHEN NOT EXISTS (SELECT 1 FROM log_chunks WHERE blob = OLD.blob)
    AND NOT EXISTS (SELECT 1 FROM former_chunks WHERE blob = OLD.blob)
  BEGIN DELETE FROM blobs WHERE id = OLD.blob; END;
CREATE TABLE reappraisals (
  host_id TEXT PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
  basis INTEGER NOT NULL REFERENCES changes (revision),
  valid_until INTEGER NOT NULL,
  since INTEGER NOT NULL,
  due INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX reappraisals_basis ON reappraisals (basis);
CREATE INDEX reappraisals_due ON reappraisals (since, host_id) WHERE due = 1;
`;

function moveLogs(database: Database): void {
  const tx = { database, run: database.run.bind(database) };
  const parts = database.all('SELECT host_id, kind, start FROM log_parts ORDER BY host_id, kind, start');
  for (const part of parts) {
    const [hostId, kind, start] = [text(part, 'host_id'), text(part, 'kind') as LogKind, integer(part, 'start')];
    // One at a time: a list may have tens of megabytes.
    const row = database.get(
      'SELECT data FROM log_parts WHERE host_id = ? AND kind = ? AND start = ?',
      hostId,
      kind,
      start,
    );
    if (row !== undefined) appendChunks(tx, { hostId, kind }, start, bytes(row, 'data'));
  }
}
