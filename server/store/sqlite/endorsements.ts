import type { InventoryRecord, TrustAnchorRecord } from '../records.ts';
import { type Actor, type EndorsementStore, type Page, type PageRequest, StoreError } from '../store.ts';
import { boolean, type Database, integer, type Row, text } from './database.ts';
import { toPage } from './hosts.ts';
import { dropVerdict, readPresent } from './revisions.ts';
import { type Transaction, write } from './transaction.ts';

export function allTrustAnchors(database: Database): readonly TrustAnchorRecord[] {
  return database.all('SELECT * FROM trust_anchors ORDER BY fingerprint').map(toAnchor);
}

export function listTrustAnchors(database: Database, page: PageRequest): Page<TrustAnchorRecord> {
  const rows = database.all(
    'SELECT * FROM trust_anchors WHERE fingerprint > ? ORDER BY fingerprint LIMIT ?',
    page.after,
    page.limit + 1,
  );
  return toPage(rows.map(toAnchor), page.limit, (anchor) => anchor.fingerprint);
}

/**
 * Returns those that were added, as they are kept. An intermediate that is given as an anchor becomes one, and an anchor stays
 * one; else what is there already changes nothing.
 */
export function addTrustAnchors(
  database: Database,
  now: number,
  anchors: readonly Omit<TrustAnchorRecord, 'createTime'>[],
  options: Actor,
): readonly TrustAnchorRecord[] {
  return write(database, now, (tx) => {
    const changed = anchors.filter((anchor) => putAnchor(tx, anchor));
    if (changed.length > 0) {
      const dropped = certificatesChanged(tx);
      for (const { fingerprint, subject } of changed) {
        tx.audit(
          options.actor,
          'trustAnchor.add',
          `trustAnchors/${fingerprint}`,
          `${subject}, ${dropped} verdicts dropped`,
        );
      }
    }
    return changed.flatMap(({ fingerprint }) => {
      const row = tx.database.get('SELECT * FROM trust_anchors WHERE fingerprint = ?', fingerprint);
      return row === undefined ? [] : [toAnchor(row)];
    });
  });
}

function putAnchor(tx: Transaction, anchor: Omit<TrustAnchorRecord, 'createTime'>): boolean {
  const changed = tx.run(
    `INSERT INTO trust_anchors (fingerprint, subject, anchor, not_after, certificate, create_time)
      VALUES (?, ?, ?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET anchor = excluded.anchor WHERE anchor < excluded.anchor`,
    anchor.fingerprint,
    anchor.subject,
    anchor.anchor ? 1 : 0,
    anchor.notAfter,
    anchor.certificate,
    tx.now,
  );
  return changed > 0;
}

export function removeTrustAnchor(database: Database, now: number, fingerprint: string, options: Actor): void {
  write(database, now, (tx) => {
    if (tx.run('DELETE FROM trust_anchors WHERE fingerprint = ?', fingerprint) === 0) {
      throw new StoreError('not_found', `trust anchor ${fingerprint} is not known`);
    }
    const dropped = certificatesChanged(tx);
    tx.audit(options.actor, 'trustAnchor.remove', `trustAnchors/${fingerprint}`, `${dropped} verdicts dropped`);
  });
}

export function findInventory(database: Database, fingerprints: readonly string[]): readonly InventoryRecord[] {
  return database
    .all(
      'SELECT * FROM inventory WHERE fingerprint IN (SELECT value FROM json_each(?)) ORDER BY fingerprint',
      JSON.stringify(fingerprints),
    )
    .map(toInventory);
}

export function listInventory(database: Database, page: PageRequest): Page<InventoryRecord> {
  const rows = database.all(
    'SELECT * FROM inventory WHERE fingerprint > ? ORDER BY fingerprint LIMIT ?',
    page.after,
    page.limit + 1,
  );
  return toPage(rows.map(toInventory), page.limit, (entry) => entry.fingerprint);
}

export function putInventory(
  database: Database,
  now: number,
  entries: Parameters<EndorsementStore['putInventory']>[0],
  options: Actor,
): { readonly added: number; readonly updated: number } {
  return write(database, now, (tx) => {
    const touched = new Set<string>();
    const counts = { added: 0, updated: 0 };
    for (const entry of entries) {
      const [before] = findInventory(tx.database, [entry.fingerprint]);
      if (before?.group === entry.group && before.comment === entry.comment) continue;
      counts[before === undefined ? 'added' : 'updated']++;
      // A comment decides nothing; a group also concerns the EKs that stand in it with this one.
      if (before?.group !== entry.group) {
        for (const fingerprint of groupMembers(tx, before?.group ?? '')) touched.add(fingerprint);
        for (const fingerprint of groupMembers(tx, entry.group)) touched.add(fingerprint);
        touched.add(entry.fingerprint);
      }
      putEntry(tx, entry);
    }
    if (counts.added + counts.updated > 0) {
      const dropped = inventoryChanged(tx, touched);
      const detail = `${counts.added} added, ${counts.updated} updated, ${dropped} verdicts dropped`;
      tx.audit(options.actor, 'inventory.put', 'inventory', detail);
    }
    return counts;
  });
}

function putEntry(tx: Transaction, entry: Omit<InventoryRecord, 'createTime'>): void {
  tx.run(
    `INSERT INTO inventory (fingerprint, inventory_group, comment, create_time) VALUES (?, ?, ?, ?)
      ON CONFLICT DO UPDATE SET inventory_group = excluded.inventory_group, comment = excluded.comment`,
    entry.fingerprint,
    entry.group,
    entry.comment,
    tx.now,
  );
}

export function removeInventory(database: Database, now: number, fingerprint: string, options: Actor): void {
  write(database, now, (tx) => {
    const [entry] = findInventory(tx.database, [fingerprint]);
    if (entry === undefined) throw new StoreError('not_found', `inventory entry ${fingerprint} is not known`);
    const touched = new Set([fingerprint, ...groupMembers(tx, entry.group)]);
    tx.run('DELETE FROM inventory WHERE fingerprint = ?', fingerprint);
    const dropped = inventoryChanged(tx, touched);
    tx.audit(options.actor, 'inventory.remove', `inventory/${fingerprint}`, `${dropped} verdicts dropped`);
  });
}

function groupMembers(tx: Transaction, group: string): readonly string[] {
  if (group === '') return [];
  return tx.database
    .all('SELECT fingerprint FROM inventory WHERE inventory_group = ?', group)
    .map((row) => text(row, 'fingerprint'));
}

/**
 * An anchor or a revocation list may change what any EK certificate is worth; it cannot touch a host without one.
 * `eks` is an array of records, of which the certificate is empty where there is none. Returns how many verdicts were dropped.
 */
export function certificatesChanged(tx: Transaction): number {
  tx.endorsementsChanged();
  const rows = tx.database.all(
    `SELECT h.id FROM results r JOIN hosts h ON h.id = r.host_id WHERE h.state = 'active' AND r.status <> 'none'
      AND EXISTS (SELECT 1 FROM json_each(h.eks) AS ek WHERE ek.value ->> 'certificate' <> '') ORDER BY h.id`,
  );
  return dropVerdicts(tx, rows);
}

function inventoryChanged(tx: Transaction, fingerprints: ReadonlySet<string>): number {
  tx.endorsementsChanged();
  const rows = tx.database.all(
    `SELECT DISTINCT h.id FROM eks e JOIN hosts h ON h.id = e.host_id
      WHERE h.state = 'active' AND e.fingerprint IN (SELECT value FROM json_each(?)) ORDER BY h.id`,
    JSON.stringify([...fingerprints]),
  );
  return dropVerdicts(tx, rows);
}

function dropVerdicts(tx: Transaction, hosts: readonly Row[]): number {
  let dropped = 0;
  for (const row of hosts) {
    const present = readPresent(tx.database, text(row, 'id'));
    if (present !== null && dropVerdict(tx, present)) dropped++;
  }
  return dropped;
}

function toAnchor(row: Row): TrustAnchorRecord {
  return {
    fingerprint: text(row, 'fingerprint'),
    subject: text(row, 'subject'),
    anchor: boolean(row, 'anchor'),
    notAfter: integer(row, 'not_after'),
    certificate: text(row, 'certificate'),
    createTime: integer(row, 'create_time'),
  };
}

function toInventory(row: Row): InventoryRecord {
  return {
    fingerprint: text(row, 'fingerprint'),
    group: text(row, 'inventory_group'),
    comment: text(row, 'comment'),
    createTime: integer(row, 'create_time'),
  };
}
