import type { EndorsementChange } from '../records.ts';
import { type Actor, type Page, type PageRequest, StoreError } from '../store.ts';
import { type Database, integer, type Row, text } from './database.ts';
import { readEpochs } from './epochs.ts';
import { toPage } from './hosts.ts';
import { dropVerdict, readPresent } from './revisions.ts';
import type { Transaction } from './transaction.ts';

/** What is done to one resource. */
interface Deed extends Actor {
  /** As the audit log names it. */
  readonly action: string;
  readonly resource: string;
  /** 0 where the resource has no versions. */
  readonly version: number;
  readonly detail: string;
}

/** Writes a deed into the audit log, and which versions it led to beside it. The endorsement epoch must have moved before. */
export function recordChange(tx: Transaction, { actor, action, resource, version, detail }: Deed): void {
  const sequence = tx.audit(actor, action, resource, detail);
  tx.run(
    'INSERT INTO endorsement_changes (audit_sequence, epoch, resource, version) VALUES (?, ?, ?, ?)',
    sequence,
    tx.epochs.endorsement,
    resource,
    version,
  );
}

export function listEndorsementChanges(
  database: Database,
  page: PageRequest,
  resource: string,
): { readonly epoch: number; readonly changes: Page<EndorsementChange> } {
  const before = page.after === '' ? Number.MAX_SAFE_INTEGER : Number(page.after);
  if (!Number.isSafeInteger(before)) throw new StoreError('page_token', 'the page token names no change');
  const rows = database.all(
    `SELECT a.sequence, a.time, a.actor, a.action, a.target, a.detail, c.epoch, c.version
      FROM endorsement_changes c JOIN audit a ON a.sequence = c.audit_sequence
      WHERE c.audit_sequence < ? ${resource === '' ? '' : 'AND c.resource = ?'} ORDER BY c.audit_sequence DESC LIMIT ?`,
    before,
    ...(resource === '' ? [] : [resource]),
    page.limit + 1,
  );
  const changes = toPage(rows.map(toChange), page.limit, ({ auditSequence }) => String(auditSequence));
  return { epoch: readEpochs(database).endorsement, changes };
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

/** The same for what the inventory says of some EKs. */
export function inventoryChanged(tx: Transaction, fingerprints: ReadonlySet<string>): number {
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

function toChange(row: Row): EndorsementChange {
  return {
    auditSequence: integer(row, 'sequence'),
    time: integer(row, 'time'),
    actor: text(row, 'actor'),
    action: text(row, 'action'),
    resource: text(row, 'target'),
    detail: text(row, 'detail'),
    epoch: integer(row, 'epoch'),
    version: integer(row, 'version'),
  };
}
