import { type AttachedPolicy, resolvePolicy, sameResolution } from '../attachment.ts';
import type { PolicyRecord } from '../records.ts';
import { type Actor, type Page, type PageRequest, type PolicyStore, StoreError } from '../store.ts';
import { boolean, type Database, integer, json, type Row, text } from './database.ts';
import { readEpochs } from './epochs.ts';
import { readReferences } from './reference-heads.ts';
import { toPage } from './hosts.ts';
import { dropVerdict, readPresent } from './revisions.ts';
import { type Transaction, write } from './transaction.ts';

const NEWEST = 'FROM policy_heads h JOIN policies p ON p.id = h.id AND p.version = h.version WHERE h.deleted = 0';

export function allPolicies(database: Database): Awaited<ReturnType<PolicyStore['allPolicies']>> {
  const policies = database.all(`SELECT p.* ${NEWEST} ORDER BY p.id`).map(toPolicy);
  const names = [...new Set(policies.flatMap(({ references }) => references))].sort();
  return { epochs: readEpochs(database), policies, references: readReferences(database, names) };
}

/** Newest version of every policy without its body. */
export function attachedPolicies(database: Database): readonly AttachedPolicy[] {
  return database.all(`SELECT p.id, p.version, p.attachment ${NEWEST} ORDER BY p.id`).map(toAttached);
}

/** A version that was named stays readable after the policy is deleted: results refer to it. */
export function getPolicy(database: Database, id: string, version: number | null): PolicyRecord | null {
  const row =
    version === null
      ? database.get(`SELECT p.* ${NEWEST} AND p.id = ?`, id)
      : database.get('SELECT * FROM policies WHERE id = ? AND version = ?', id, version);
  return row === undefined ? null : toPolicy(row);
}

export function listPolicies(database: Database, page: PageRequest): Page<PolicyRecord> {
  const rows = database.all(`SELECT p.* ${NEWEST} AND p.id > ? ORDER BY p.id LIMIT ?`, page.after, page.limit + 1);
  return toPage(rows.map(toPolicy), page.limit, (policy) => policy.id);
}

export function putPolicy(
  database: Database,
  now: number,
  policy: Parameters<PolicyStore['putPolicy']>[0],
  options: Actor & { readonly expected: number | null | 'any' },
): PolicyRecord {
  return write(database, now, (tx) => {
    const head = readHead(tx, policy.id);
    checkExpected(policy.id, head, options.expected);
    const before = attachedPolicies(tx.database);
    const { id, attachment, body } = policy;
    const references = [...new Set(policy.references)].sort();
    checkReferences(tx, references);
    // Versions go on where a deleted policy of this id ended: an id and version never name two contents.
    const record = { id, version: (head?.version ?? 0) + 1, attachment, references, body, createTime: tx.now };
    tx.run(
      'INSERT INTO policies (id, version, attachment, refs, body, create_time) VALUES (?, ?, ?, ?, ?, ?)',
      id,
      record.version,
      JSON.stringify(attachment),
      JSON.stringify(references),
      body,
      tx.now,
    );
    setHead(tx, id, record.version, false);
    const dropped = judgeAnew(tx, before);
    const action = head === null || head.deleted ? 'policy.create' : 'policy.update';
    tx.audit(options.actor, action, `trustPolicies/${id}`, `version ${record.version}, ${dropped} verdicts dropped`);
    return record;
  });
}

export function deletePolicy(
  database: Database,
  now: number,
  id: string,
  options: Actor & { readonly expected: number | 'any' },
): void {
  write(database, now, (tx) => {
    const head = readHead(tx, id);
    if (head === null || head.deleted) throw new StoreError('not_found', `policy ${id} is not known`);
    checkExpected(id, head, options.expected);
    const before = attachedPolicies(tx.database);
    setHead(tx, id, head.version, true);
    const dropped = judgeAnew(tx, before);
    tx.audit(
      options.actor,
      'policy.delete',
      `trustPolicies/${id}`,
      `version ${head.version}, ${dropped} verdicts dropped`,
    );
  });
}

/** What makes verdicts is an input of theirs, too: it changes with a release, while nothing runs. */
export function judgeBy(database: Database, now: number, engine: number): number {
  return write(database, now, (tx) => {
    const counter = tx.database.get('SELECT engine FROM counter WHERE id = 1');
    if (counter === undefined || integer(counter, 'engine') === engine) return 0;
    tx.run('UPDATE counter SET engine = ? WHERE id = 1', engine);
    const dropped = dropJudged(tx, () => true);
    const detail = `version ${engine}, ${dropped} verdicts dropped`;
    if (dropped > 0) tx.audit('service', 'appraisal.change', 'appraisal', detail);
    return dropped;
  });
}

interface Head {
  readonly version: number;
  readonly deleted: boolean;
}

function checkExpected(id: string, head: Head | null, expected: number | null | 'any'): void {
  if (expected === 'any') return;
  const version = head === null || head.deleted ? null : head.version;
  if (version === expected) return;
  if (expected === null) throw new StoreError('already_exists', `policy ${id} exists, at version ${version}`);
  if (version === null) throw new StoreError('not_found', `policy ${id} is not known`);
  throw new StoreError('etag_mismatch', `policy ${id} has changed; it is at version ${version}`);
}

/** Counts the policy epoch and drops the verdicts of the hosts that another policy, or another version of it, judges now. */
function judgeAnew(tx: Transaction, before: readonly AttachedPolicy[]): number {
  const after = attachedPolicies(tx.database);
  return dropJudged(tx, (host) => !sameResolution(resolvePolicy(host, before), resolvePolicy(host, after)));
}

/**
 * A set or keyring has changed: where policies name it, their epoch is counted and the verdicts of the hosts that they judge are
 * dropped. Returns how many.
 */
export function referenceChanged(tx: Transaction, name: string): number {
  const naming = new Set(policiesNaming(tx, name));
  if (naming.size === 0) return 0;
  const policies = attachedPolicies(tx.database);
  return dropJudged(tx, (host) => {
    const resolved = resolvePolicy(host, policies);
    return resolved.kind === 'policy' && naming.has(resolved.policy.id);
  });
}

/** Throws in_use while the newest version of a policy names it. */
export function checkUnnamed(tx: Transaction, name: string): void {
  const [policy, ...others] = policiesNaming(tx, name);
  if (policy === undefined) return;
  const more = others.length === 0 ? '' : ` and ${others.length} more`;
  throw new StoreError('in_use', `${name} is named by trustPolicies/${policy}${more}`);
}

function policiesNaming(tx: Transaction, name: string): readonly string[] {
  return tx.database
    .all(`SELECT p.id ${NEWEST} AND EXISTS (SELECT 1 FROM json_each(p.refs) WHERE value = ?) ORDER BY p.id`, name)
    .map((row) => text(row, 'id'));
}

function checkReferences(tx: Transaction, names: readonly string[]): void {
  const known = new Set(readReferences(tx.database, names).map(({ name }) => name));
  const missing = names.find((name) => !known.has(name));
  if (missing !== undefined) throw new StoreError('unknown_reference', `${missing} is not known`);
}

/**
 * Counts the policy epoch, which fences every round in flight, and drops verdicts. Hosts that have none are told too where they are on
 * a stream, which asks them for evidence now and not when the interval of their former policy ends, or where what is kept of them may
 * give them one. Returns how many.
 */
function dropJudged(
  tx: Transaction,
  concerned: (host: { readonly labels: Readonly<Record<string, string>>; readonly trustPolicy: string }) => boolean,
): number {
  tx.policiesChanged();
  const hosts = tx.database.all(
    `SELECT h.id, h.labels, h.trust_policy FROM results r JOIN hosts h ON h.id = r.host_id
      JOIN host_rounds k ON k.host_id = h.id
      WHERE h.state = 'active' AND (r.status <> 'none' OR k.connected = 1 OR r.lapse_time > ?
        OR EXISTS (SELECT 1 FROM reappraisals a WHERE a.host_id = h.id AND a.valid_until > ?)) ORDER BY h.id`,
    tx.now,
    tx.now,
  );
  let dropped = 0;
  for (const row of hosts) {
    if (!concerned({ labels: json(row, 'labels'), trustPolicy: text(row, 'trust_policy') })) continue;
    const present = readPresent(tx.database, text(row, 'id'));
    if (present !== null && dropVerdict(tx, present, { whenNone: true })) dropped++;
  }
  return dropped;
}

function readHead(tx: Transaction, id: string): Head | null {
  const row = tx.database.get('SELECT version, deleted FROM policy_heads WHERE id = ?', id);
  return row === undefined ? null : { version: integer(row, 'version'), deleted: boolean(row, 'deleted') };
}

function setHead(tx: Transaction, id: string, version: number, deleted: boolean): void {
  tx.run(
    `INSERT INTO policy_heads (id, version, deleted) VALUES (?, ?, ?)
      ON CONFLICT DO UPDATE SET version = excluded.version, deleted = excluded.deleted`,
    id,
    version,
    deleted ? 1 : 0,
  );
}

function toAttached(row: Row): AttachedPolicy {
  return { id: text(row, 'id'), version: integer(row, 'version'), attachment: json(row, 'attachment') };
}

function toPolicy(row: Row): PolicyRecord {
  const { id, version, attachment } = toAttached(row);
  return {
    id,
    version,
    attachment,
    references: json(row, 'refs'),
    body: text(row, 'body'),
    createTime: integer(row, 'create_time'),
  };
}
