/** Stores as former schemas had them. */

/** The list of host `h-b` before logs were kept as blobs, in two parts. */
export const PARTS = Buffer.concat([Buffer.from('one '), Buffer.alloc(200_000)]);

/** Takes back that logs are blobs. */
export const LOGS_IN_PARTS: readonly string[] = [
  'DROP TABLE reappraisals',
  'DROP TABLE former_chunks',
  'DROP TABLE former_boots',
  'DROP TRIGGER log_chunks_dropped',
  'DROP TABLE log_chunks',
  'DROP TABLE blobs',
  `CREATE TABLE log_parts (
    host_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    start INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (host_id, kind, start),
    FOREIGN KEY (host_id, kind) REFERENCES logs (host_id, kind) ON DELETE CASCADE
  ) STRICT`,
  "INSERT INTO log_parts VALUES ('h-b', 'ima', 0, CAST('one ' AS BLOB)), ('h-b', 'ima', 4, zeroblob(200000))",
  `UPDATE logs SET size = ${PARTS.length} WHERE host_id = 'h-b'`,
];
