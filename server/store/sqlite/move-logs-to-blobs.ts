import type { LogKind } from '../records.ts';
import { bytes, type Database, integer, text } from './database.ts';
import { appendChunks } from './log-chunks.ts';

/**
 * The step of the schema after which logs are kept as blobs by their SHA-256. It writes as the store of this program does: a later step
 * that changes `blobs` or `log_chunks` must leave these columns as they are here until this one has run.
 */
export function moveLogsToBlobs(database: Database): void {
  database.exec(`
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
CREATE TRIGGER log_chunks_dropped AFTER DELETE ON log_chunks
  WHEN NOT EXISTS (SELECT 1 FROM log_chunks WHERE blob = OLD.blob)
  BEGIN DELETE FROM blobs WHERE id = OLD.blob; END;
`);
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
  database.exec('DROP TABLE log_parts');
}
