import type { GivenTrustAnchor, TrustAnchorRecord } from '../records.ts';
import { KEPT_VERSIONS } from '../reference-store.ts';
import type { Actor, EndorsementStore, Page, PageRequest } from '../store.ts';
import { boolean, type Database, integer, type Row, text } from './database.ts';
import { certificatesChanged, recordChange } from './endorsement-changes.ts';
import { toPage } from './hosts.ts';
import { presentVersion, readHead, setHead, unknown } from './reference-heads.ts';
import { type Transaction, write } from './transaction.ts';

const NEWEST = `SELECT a.* FROM trust_anchor_heads h JOIN trust_anchors a ON a.id = h.id AND a.version = h.version
  WHERE h.deleted = 0`;

export function allTrustAnchors(database: Database): readonly TrustAnchorRecord[] {
  return database.all(`${NEWEST} ORDER BY a.id`).map(toAnchor);
}

export function listTrustAnchors(database: Database, page: PageRequest): Page<TrustAnchorRecord> {
  const rows = database.all(`${NEWEST} AND a.id > ? ORDER BY a.id LIMIT ?`, page.after, page.limit + 1);
  return toPage(rows.map(toAnchor), page.limit, ({ fingerprint }) => fingerprint);
}

export function getTrustAnchor(
  database: Database,
  fingerprint: string,
  version: number | null,
): TrustAnchorRecord | null {
  const row =
    version === null
      ? database.get(`${NEWEST} AND a.id = ?`, fingerprint)
      : database.get('SELECT * FROM trust_anchors WHERE id = ? AND version = ?', fingerprint, version);
  return row === undefined ? null : toAnchor(row);
}

/**
 * Returns those that were added, as they are kept. An intermediate that is given as an anchor becomes one, and an anchor stays
 * one; else what is there already changes nothing.
 */
export function addTrustAnchors(
  database: Database,
  now: number,
  anchors: readonly GivenTrustAnchor[],
  options: Actor,
): readonly TrustAnchorRecord[] {
  return write(database, now, (tx) => {
    const changed = new Set(anchors.filter((anchor) => putAnchor(tx, anchor)).map(({ fingerprint }) => fingerprint));
    if (changed.size === 0) return [];
    const dropped = certificatesChanged(tx);
    return [...changed].flatMap((fingerprint) => {
      const anchor = getTrustAnchor(tx.database, fingerprint, null);
      if (anchor === null) return [];
      recordChange(tx, {
        ...options,
        action: 'trustAnchor.add',
        resource: `trustAnchors/${fingerprint}`,
        version: anchor.version,
        detail: `${anchor.subject}, ${dropped} verdicts dropped`,
      });
      return [anchor];
    });
  });
}

function putAnchor(tx: Transaction, anchor: GivenTrustAnchor): boolean {
  const { fingerprint } = anchor;
  const present = getTrustAnchor(tx.database, fingerprint, null);
  if (present !== null && (present.anchor || !anchor.anchor)) return false;
  // Versions go on where a removed one ended: a name and version never mean two things.
  const version = (readHead(tx.database, 'trustAnchors', fingerprint)?.version ?? 0) + 1;
  tx.run(
    `INSERT INTO trust_anchors (id, version, subject, anchor, not_after, certificate, create_time)
      VALUES (?, ?, ?, ?, ?, ?, ?)`,
    fingerprint,
    version,
    anchor.subject,
    anchor.anchor ? 1 : 0,
    anchor.notAfter,
    anchor.certificate,
    tx.now,
  );
  tx.run('DELETE FROM trust_anchors WHERE id = ? AND version <= ?', fingerprint, version - KEPT_VERSIONS);
  setHead(tx, 'trustAnchors', fingerprint, { version, deleted: false });
  return true;
}

export function removeTrustAnchor(
  database: Database,
  now: number,
  fingerprint: string,
  options: Parameters<EndorsementStore['removeTrustAnchor']>[1],
): void {
  write(database, now, (tx) => {
    const version = presentVersion(tx.database, 'trustAnchors', fingerprint, options.expected);
    if (version === null) throw unknown('trustAnchors', fingerprint);
    setHead(tx, 'trustAnchors', fingerprint, { version, deleted: true });
    const dropped = certificatesChanged(tx);
    recordChange(tx, {
      actor: options.actor,
      action: 'trustAnchor.remove',
      resource: `trustAnchors/${fingerprint}`,
      version,
      detail: `${dropped} verdicts dropped`,
    });
  });
}

function toAnchor(row: Row): TrustAnchorRecord {
  return {
    fingerprint: text(row, 'id'),
    version: integer(row, 'version'),
    subject: text(row, 'subject'),
    anchor: boolean(row, 'anchor'),
    notAfter: integer(row, 'not_after'),
    certificate: text(row, 'certificate'),
    createTime: integer(row, 'create_time'),
  };
}
