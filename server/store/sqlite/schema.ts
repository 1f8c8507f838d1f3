import { StoreError } from '../store.ts';
import { type Database, integer } from './database.ts';
import { ENDORSEMENT_VERSIONS } from './endorsement-versions.ts';
import { keepEvidence } from './keep-evidence.ts';
import { ROUND_COLUMNS } from './round-columns.ts';
import { STATUS_TIMES } from './status-times.ts';

/**
 * Forward migrations; the position is the schema's version, from 1. A released one is never edited.
 *
 * `results` holds of a present result only what confirmations move; the rest stands in its row of `changes`, which is at once the
 * history and what watches read.
 */
const MIGRATIONS: readonly (string | ((database: Database) => void))[] = [
  `
CREATE TABLE store (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  incarnation TEXT NOT NULL,
  deployment TEXT NOT NULL,
  create_time INTEGER NOT NULL
) STRICT;
CREATE TABLE counter (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  revision INTEGER NOT NULL,
  confirmation INTEGER NOT NULL,
  policy_epoch INTEGER NOT NULL,
  endorsement_epoch INTEGER NOT NULL,
  horizon INTEGER NOT NULL,
  clock_mark INTEGER NOT NULL,
  audit_sequence INTEGER NOT NULL,
  audit_hash TEXT NOT NULL
) STRICT;

CREATE TABLE hosts (
  id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  state TEXT NOT NULL,
  node_name TEXT NOT NULL,
  trust_policy TEXT NOT NULL,
  ak_name TEXT NOT NULL UNIQUE,
  ak_generation INTEGER NOT NULL,
  pending_ak_name TEXT,
  labels TEXT NOT NULL,
  tls_key TEXT NOT NULL,
  next_tls_key TEXT NOT NULL,
  admission TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  enroll_time INTEGER NOT NULL,
  findings TEXT NOT NULL,
  eks TEXT NOT NULL,
  ak TEXT NOT NULL,
  pending_ak TEXT
) STRICT;
CREATE UNIQUE INDEX hosts_node_name ON hosts (node_name) WHERE node_name <> '';
CREATE INDEX hosts_pending_ak_name ON hosts (pending_ak_name) WHERE pending_ak_name IS NOT NULL;
CREATE TABLE host_rounds (
  host_id TEXT PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
  round INTEGER NOT NULL,
  stream_epoch INTEGER NOT NULL,
  connected INTEGER NOT NULL,
  torn INTEGER NOT NULL,
  banks_proven INTEGER NOT NULL,
  banks TEXT NOT NULL,
  clock TEXT NOT NULL,
  claimed TEXT NOT NULL
) STRICT;
CREATE TABLE eks (
  fingerprint TEXT PRIMARY KEY,
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX eks_host ON eks (host_id);
CREATE TABLE former_hosts (
  id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  ak_generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE bans (
  fingerprint TEXT PRIMARY KEY,
  host_id TEXT NOT NULL,
  time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX bans_host ON bans (host_id);
CREATE TABLE enrollments (
  id TEXT PRIMARY KEY,
  forget_after INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX enrollments_forget ON enrollments (forget_after);

CREATE TABLE changes (
  revision INTEGER PRIMARY KEY,
  host_id TEXT NOT NULL,
  cause TEXT NOT NULL,
  time INTEGER NOT NULL,
  status TEXT NOT NULL,
  connectivity TEXT NOT NULL,
  valid_until INTEGER,
  confirmations INTEGER NOT NULL,
  challenge_time INTEGER NOT NULL,
  evidence_digest TEXT NOT NULL,
  node_name TEXT NOT NULL,
  labels TEXT NOT NULL,
  prior_status TEXT,
  prior_labels TEXT,
  verdict TEXT NOT NULL
) STRICT;
CREATE INDEX changes_host ON changes (host_id, revision);
CREATE TABLE results (
  host_id TEXT PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
  revision INTEGER NOT NULL UNIQUE REFERENCES changes (revision),
  status TEXT NOT NULL,
  verdict_digest TEXT NOT NULL,
  valid_until INTEGER,
  lapse_time INTEGER,
  confirmations INTEGER NOT NULL,
  confirmation INTEGER,
  challenge_time INTEGER NOT NULL,
  evidence_digest TEXT NOT NULL
) STRICT;
CREATE INDEX results_lapse ON results (lapse_time) WHERE lapse_time IS NOT NULL;
CREATE INDEX results_confirmation ON results (confirmation) WHERE confirmation IS NOT NULL;

CREATE TABLE logs (
  host_id TEXT NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  size INTEGER NOT NULL,
  unreadable TEXT NOT NULL,
  PRIMARY KEY (host_id, kind)
) STRICT, WITHOUT ROWID;
CREATE TABLE log_parts (
  host_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  start INTEGER NOT NULL,
  data BLOB NOT NULL,
  PRIMARY KEY (host_id, kind, start),
  FOREIGN KEY (host_id, kind) REFERENCES logs (host_id, kind) ON DELETE CASCADE
) STRICT;

CREATE TABLE policies (
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  attachment TEXT NOT NULL,
  body TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  PRIMARY KEY (id, version)
) STRICT;
CREATE TABLE policy_heads (
  id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE trust_anchors (
  fingerprint TEXT PRIMARY KEY,
  subject TEXT NOT NULL,
  anchor INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  certificate TEXT NOT NULL,
  create_time INTEGER NOT NULL
) STRICT;
CREATE TABLE inventory (
  fingerprint TEXT PRIMARY KEY,
  inventory_group TEXT NOT NULL,
  comment TEXT NOT NULL,
  create_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX inventory_by_group ON inventory (inventory_group) WHERE inventory_group <> '';

CREATE TABLE identities (
  name TEXT PRIMARY KEY,
  roles TEXT NOT NULL,
  key_sha256 TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  expire_time INTEGER NOT NULL,
  revoked INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE service_keys (
  purpose TEXT NOT NULL,
  version INTEGER NOT NULL,
  certificate TEXT NOT NULL,
  sealed TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  PRIMARY KEY (purpose, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY,
  time INTEGER NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  target TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash TEXT NOT NULL
) STRICT;
`,
  `
CREATE TABLE revocation_lists (
  fingerprint TEXT PRIMARY KEY,
  issuer TEXT NOT NULL,
  issuer_key TEXT NOT NULL,
  number TEXT NOT NULL,
  this_update INTEGER NOT NULL,
  next_update INTEGER,
  entries INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  list TEXT NOT NULL,
  UNIQUE (issuer_key, issuer)
) STRICT;
`,
  `
ALTER TABLE service_keys ADD COLUMN withdraw_time INTEGER;
ALTER TABLE changes ADD COLUMN policy_id TEXT AS (json_extract(verdict, '$.policyId')) VIRTUAL;
ALTER TABLE changes ADD COLUMN policy_version INTEGER AS (json_extract(verdict, '$.policyVersion')) VIRTUAL;
CREATE INDEX changes_policy ON changes (revision, policy_id, policy_version, labels);
  `,
  `
ALTER TABLE policies ADD COLUMN refs TEXT NOT NULL DEFAULT '[]';
CREATE TABLE reference_contents (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  set_id TEXT NOT NULL,
  state TEXT NOT NULL,
  base_version INTEGER,
  entries INTEGER NOT NULL,
  create_time INTEGER NOT NULL
) STRICT;
CREATE INDEX reference_contents_loose ON reference_contents (state) WHERE state <> 'kept';
CREATE TABLE reference_entries (
  id INTEGER PRIMARY KEY,
  content INTEGER NOT NULL REFERENCES reference_contents (id),
  digest BLOB NOT NULL,
  algorithm TEXT NOT NULL,
  path TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX reference_entries_digest ON reference_entries (content, digest, algorithm, path);
CREATE INDEX reference_entries_path ON reference_entries (content, path);
CREATE TABLE reference_sets (
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  kind TEXT NOT NULL,
  content INTEGER NOT NULL REFERENCES reference_contents (id),
  entries INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  PRIMARY KEY (id, version)
) STRICT;
CREATE INDEX reference_sets_content ON reference_sets (content);
CREATE TABLE reference_withdrawn (
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  digest BLOB NOT NULL,
  PRIMARY KEY (id, version, digest),
  FOREIGN KEY (id, version) REFERENCES reference_sets (id, version) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE TABLE reference_set_heads (
  id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE keyrings (
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  key_count INTEGER NOT NULL,
  keys TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  PRIMARY KEY (id, version)
) STRICT;
CREATE TABLE keyring_heads (
  id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
  `
CREATE TABLE boots (
  host_id TEXT PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
  boot TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`,
  // Identities saw every host so far, and go on to.
  `
ALTER TABLE identities ADD COLUMN scope TEXT NOT NULL DEFAULT '{}';
ALTER TABLE changes ADD COLUMN prior_policy_id TEXT;
UPDATE changes SET prior_policy_id = coalesce((
  SELECT json_extract(p.verdict, '$.policyId') FROM changes p
    WHERE p.host_id = changes.host_id AND p.revision < changes.revision ORDER BY p.revision DESC LIMIT 1
), '') WHERE prior_status IS NOT NULL;
`,
  `
CREATE TABLE runtimes (
  host_id TEXT PRIMARY KEY REFERENCES hosts (id) ON DELETE CASCADE,
  sequence INTEGER NOT NULL,
  body TEXT NOT NULL,
  update_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
`,
  `
CREATE INDEX hosts_pending ON hosts (create_time) WHERE state = 'pending';
`,
  ENDORSEMENT_VERSIONS,
  keepEvidence,
  STATUS_TIMES,
  // The appraisal that made the verdicts; of before it is not known.
  `
ALTER TABLE counter ADD COLUMN engine INTEGER NOT NULL DEFAULT 0;
`,
  ROUND_COLUMNS,
];

/** Version of the schema that this program writes. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** Brings the schema up to date, each step in a transaction of its own. Throws newer_schema when a later release wrote it. */
export function migrate(database: Database): void {
  const version = schemaVersion(database);
  if (version > SCHEMA_VERSION) {
    throw new StoreError(
      'newer_schema',
      `the store has schema ${version}, this program knows ${SCHEMA_VERSION}: a newer release wrote it`,
    );
  }
  for (const [index, migration] of MIGRATIONS.entries()) {
    if (index < version) continue;
    database.exec('BEGIN IMMEDIATE');
    try {
      if (typeof migration === 'string') database.exec(migration);
      else migration(database);
      database.exec(`UPDATE schema_version SET version = ${index + 1} WHERE id = 1`);
      database.exec('COMMIT');
    } catch (error) {
      if (database.inTransaction) database.exec('ROLLBACK');
      throw error;
    }
  }
}

function schemaVersion(database: Database): number {
  const tables = database.all("SELECT name FROM sqlite_schema WHERE type = 'table'").map((row) => row['name']);
  if (tables.length > 0 && !tables.includes('schema_version')) {
    throw new StoreError('corrupt', 'the database in this directory is not a store of assayd');
  }
  if (tables.length === 0) {
    database.exec(`BEGIN IMMEDIATE;
      CREATE TABLE schema_version (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL) STRICT;
      INSERT INTO schema_version (id, version) VALUES (1, 0);
      COMMIT`);
  }
  const row = database.get('SELECT version FROM schema_version WHERE id = 1');
  if (row === undefined) throw new StoreError('corrupt', 'the store has no schema version');
  return integer(row, 'version');
}
