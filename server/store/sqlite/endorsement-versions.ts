/**
 * The migration that gives anchors and revocation lists versions. What was imported before is version 1, and the list of an issuer
 * keeps its name; who imported it stands in the audit log.
 */
export const ENDORSEMENT_VERSIONS = `
ALTER TABLE trust_anchors RENAME TO former_trust_anchors;
CREATE TABLE trust_anchors (
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  subject TEXT NOT NULL,
  anchor INTEGER NOT NULL,
  not_after INTEGER NOT NULL,
  certificate TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  PRIMARY KEY (id, version)
) STRICT;
CREATE TABLE trust_anchor_heads (
  id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO trust_anchors (id, version, subject, anchor, not_after, certificate, create_time)
  SELECT fingerprint, 1, subject, anchor, not_after, certificate, create_time FROM former_trust_anchors;
INSERT INTO trust_anchor_heads (id, version, deleted) SELECT id, 1, 0 FROM trust_anchors;
DROP TABLE former_trust_anchors;

ALTER TABLE revocation_lists RENAME TO former_revocation_lists;
CREATE TABLE revocation_lists (
  id TEXT NOT NULL,
  version INTEGER NOT NULL,
  fingerprint TEXT NOT NULL,
  issuer TEXT NOT NULL,
  issuer_key TEXT NOT NULL,
  number TEXT NOT NULL,
  this_update INTEGER NOT NULL,
  next_update INTEGER,
  entries INTEGER NOT NULL,
  create_time INTEGER NOT NULL,
  list TEXT NOT NULL,
  PRIMARY KEY (id, version)
) STRICT;
CREATE INDEX revocation_lists_issuer ON revocation_lists (issuer_key, issuer);
CREATE TABLE revocation_list_heads (
  id TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  deleted INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO revocation_lists
    (id, version, fingerprint, issuer, issuer_key, number, this_update, next_update, entries, create_time, list)
  SELECT fingerprint, 1, fingerprint, issuer, issuer_key, number, this_update, next_update, entries, create_time, list
    FROM former_revocation_lists;
INSERT INTO revocation_list_heads (id, version, deleted) SELECT id, 1, 0 FROM revocation_lists;
DROP TABLE former_revocation_lists;

CREATE TABLE endorsement_changes (
  audit_sequence INTEGER PRIMARY KEY REFERENCES audit (sequence),
  epoch INTEGER NOT NULL,
  resource TEXT NOT NULL,
  version INTEGER NOT NULL
) STRICT;
CREATE INDEX endorsement_changes_resource ON endorsement_changes (resource, audit_sequence);
`;
