import type { InventoryRecord } from '../records.ts';
import { type Actor, type EndorsementStore, type Page, type PageRequest, StoreError } from '../store.ts';
import { type Database, integer, type Row, text } from './database.ts';
import { inventoryChanged, recordChange } from './endorsement-changes.ts';
import { toPage } from './hosts.ts';
import { type Transaction, write } from './transaction.ts';

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
      recordChange(tx, { ...options, action: 'inventory.put', resource: 'inventory', version: 0, detail });
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
    recordChange(tx, {
      ...options,
      action: 'inventory.remove',
      resource: `inventory/${fingerprint}`,
      version: 0,
      detail: `${dropped} verdicts dropped`,
    });
  });
}

function groupMembers(tx: Transaction, group: string): readonly string[] {
  if (group === '') return [];
  return tx.database
    .all('SELECT fingerprint FROM inventory WHERE inventory_group = ?', group)
    .map((row) => text(row, 'fingerprint'));
}

function toInventory(row: Row): InventoryRecord {
  return {
    fingerprint: text(row, 'fingerprint'),
    group: text(row, 'inventory_group'),
    comment: text(row, 'comment'),
    createTime: integer(row, 'create_time'),
  };
}
