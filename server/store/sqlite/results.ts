import { presentResult } from '../own-verdicts.ts';
import type { Change, Confirmation, Labels, ResultRecord } from '../records.ts';
import type { HostNamed, ResultFilter } from '../filters.ts';
import { type Page, type PageRequest, type ResultStore, StoreError } from '../store.ts';
import { type Database, integer, json, type Row, text } from './database.ts';
import { matchLabelsSql, toPage } from './hosts.ts';
import { CHANGES_SQL, POLICY_ID_SQL, PRESENT_SQL, readPresent, toChange, toResult } from './revisions.ts';
import { write } from './transaction.ts';
import { walkEnd, walkOn } from './walk.ts';

/** Rows that one transaction of a compaction drops, so that rounds need not wait long. */
export const COMPACT_BATCH = 5000;

export function getResult(database: Database, now: number, hostId: string): ResultRecord | null {
  const present = readPresent(database, hostId);
  return present === null ? null : presentResult(present.result, now);
}

export function findResult(database: Database, now: number, host: HostNamed, scope: Labels): ResultRecord | null {
  const [column, name] = 'hostId' in host ? ['id', host.hostId] : ['node_name', host.nodeName];
  if (name === '') return null;
  const row = database.get(
    `${PRESENT_SQL} JOIN hosts h ON h.id = p.host_id
      WHERE h.${column} = ?1 AND ${matchLabelsSql('h.labels', '?2')}`,
    name,
    JSON.stringify(scope),
  );
  return row === undefined ? null : presentResult(toResult(row), now);
}

export function listResults(
  database: Database,
  now: number,
  page: PageRequest,
  filter: ResultFilter,
): Awaited<ReturnType<ResultStore['listResults']>> {
  // One thread writes, and it is this one: nothing is written between these reads.
  const { revision } = heads(database);
  // Hosts that are asked for by name are looked up.
  const end = filter.hostIds.length > 0 ? null : walkEnd(database, 'results', page);
  const found = filterResults(database, now, filter, { ...page, end });
  const results = toPage(found, page.limit, (result) => result.hostId);
  return { ...walkOn(results, end), revision };
}

export function snapshot(
  database: Database,
  now: number,
  filter: ResultFilter,
): Awaited<ReturnType<ResultStore['snapshot']>> {
  return { revision: heads(database).revision, results: filterResults(database, now, filter, null) };
}

/** Results as they read now, in the order of host ids; one more than the page's limit, or all. */
function filterResults(
  database: Database,
  now: number,
  filter: ResultFilter,
  page: (PageRequest & { readonly end: string | null }) | null,
): readonly ResultRecord[] {
  const hostIds = JSON.stringify(filter.hostIds);
  const named = filter.hostIds.length > 0;
  const rows = database.all(
    // Asked for by name, hosts are looked up; else the table is walked.
    `${PRESENT_SQL}
      WHERE ${named ? 'p.host_id IN (SELECT value FROM json_each(?2))' : "?2 = '[]'"}
        AND p.host_id > ?1
        AND (?3 = '[]' OR CASE WHEN p.valid_until <= ?5 THEN 'none' ELSE p.status END IN (SELECT value FROM json_each(?3)))
        AND (?4 = '{}' OR ${matchLabelsSql('c.labels', '?4')})
        AND (?6 = '{}' OR ${matchLabelsSql('c.labels', '?6')})
        AND (?7 = '[]' OR ${POLICY_ID_SQL} IN (SELECT value FROM json_each(?7)))
        AND (?9 IS NULL OR p.host_id <= ?9)
      ORDER BY p.host_id LIMIT ?8`,
    page?.after ?? '',
    hostIds,
    JSON.stringify(filter.statuses),
    JSON.stringify(filter.matchLabels),
    now,
    JSON.stringify(filter.scope),
    JSON.stringify(filter.policyIds),
    page === null ? -1 : page.limit + 1,
    page?.end ?? null,
  );
  return rows.map((row) => presentResult(toResult(row), now));
}

export function listHistory(database: Database, hostId: string, page: PageRequest, scope: Labels): Page<ResultRecord> {
  if (page.after !== '' && !/^[0-9]{1,15}$/.test(page.after)) {
    throw new StoreError('page_token', 'a page of history starts after a revision');
  }
  const rows = database.all(
    `${CHANGES_SQL} WHERE c.host_id = ?1 AND c.cause <> 'deleted' AND c.revision < ?2
        AND (?3 = '{}' OR (${matchLabelsSql('c.labels', '?3')}
          AND EXISTS (SELECT 1 FROM hosts h WHERE h.id = ?1 AND ${matchLabelsSql('h.labels', '?3')})))
      ORDER BY c.revision DESC LIMIT ?4`,
    hostId,
    page.after === '' ? Number.MAX_SAFE_INTEGER : Number(page.after),
    JSON.stringify(scope),
    page.limit + 1,
  );
  return toPage(rows.map(toResult), page.limit, (result) => String(result.revision));
}

export function changesSince(database: Database, revision: number, limit: number): readonly Change[] {
  const counter = readCounter(database);
  if (revision < integer(counter, 'horizon') || revision > integer(counter, 'revision')) {
    throw new StoreError('out_of_range', `revision ${revision} is gone or was never given`);
  }
  return database.all(`${CHANGES_SQL} WHERE c.revision > ? ORDER BY c.revision LIMIT ?`, revision, limit).map(toChange);
}

export function confirmationsSince(database: Database, sequence: number, limit: number): readonly Confirmation[] {
  return database
    .all(
      `SELECT p.confirmation, p.host_id, p.revision, p.status, p.valid_until, p.confirmations, c.labels,
          ${POLICY_ID_SQL} AS policy_id
        FROM results p JOIN changes c ON c.revision = p.revision
        WHERE p.confirmation > ? ORDER BY p.confirmation LIMIT ?`,
      sequence,
      limit,
    )
    .map(toConfirmation);
}

function toConfirmation(row: Row): Confirmation {
  return {
    sequence: integer(row, 'confirmation'),
    hostId: text(row, 'host_id'),
    revision: integer(row, 'revision'),
    status: text(row, 'status') as Confirmation['status'],
    policyId: text(row, 'policy_id'),
    labels: json(row, 'labels'),
    validUntil: integer(row, 'valid_until'),
    confirmations: integer(row, 'confirmations'),
  };
}

export function heads(database: Database): { readonly revision: number; readonly confirmation: number } {
  const counter = readCounter(database);
  return { revision: integer(counter, 'revision'), confirmation: integer(counter, 'confirmation') };
}

/** Nobody's present result, and not what a host is to be judged anew from. */
const UNUSED = 'revision NOT IN (SELECT revision FROM results) AND revision NOT IN (SELECT basis FROM reappraisals)';

/** Drops one batch of changes older than a time, but none that is used; returns how many. */
export function compact(database: Database, now: number, before: number): number {
  return write(database, now, (tx) => {
    const rows = tx.database.all(
      `SELECT revision, time FROM changes WHERE ${UNUSED} ORDER BY revision LIMIT ?`,
      COMPACT_BATCH,
    );
    // What goes ends at the first change that is young enough: after an accepted clock times do not ascend with revisions.
    const young = rows.findIndex((row) => integer(row, 'time') >= before);
    const last = rows.slice(0, young === -1 ? rows.length : young).at(-1);
    if (last === undefined) return 0;
    const horizon = integer(last, 'revision');
    tx.raiseHorizon(horizon);
    return tx.run(`DELETE FROM changes WHERE revision <= ? AND ${UNUSED}`, horizon);
  });
}

function readCounter(database: Database): Row {
  const row = database.get('SELECT revision, confirmation, horizon FROM counter WHERE id = 1');
  if (row === undefined) throw new StoreError('corrupt', 'the counter row is missing');
  return row;
}
