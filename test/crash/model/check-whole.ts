/** Whether a store is whole, however its process ended: in itself, and against its own log of what was done. */
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';

import { AUDIT_CHAIN_START, findBrokenAudit } from '../../../server/store/audit.ts';
import type { AuditRecord } from '../../../server/store/records.ts';
import type { History } from './history.ts';

/** Revisions have no gap, each knows the one before it, the audit chain holds, and hosts are what the audit log made of them. */
export function checkWhole(history: History): readonly string[] {
  const { changes, revision, audit } = history;
  const problems = changes.flatMap((change, index) =>
    change.revision === index + 1 ? [] : [`revision ${change.revision} stands at place ${index + 1}`],
  );
  if (changes.length !== revision) problems.push(`${changes.length} changes are kept of ${revision}`);
  const broken = findBrokenAudit(AUDIT_CHAIN_START, audit);
  if (broken !== null) problems.push(`the audit chain breaks at ${broken}`);
  return [...problems, ...checkPriors(history), ...checkHosts(history)];
}

function checkPriors({ changes }: History): readonly string[] {
  const last = new Map<string, string>();
  return changes.flatMap(({ hostId, cause, prior, result, revision }) => {
    const before = last.get(hostId);
    if (cause === 'deleted') last.delete(hostId);
    else last.set(hostId, result.status);
    return prior?.status === before
      ? []
      : [`revision ${revision} follows ${before} and says it follows ${prior?.status}`];
  });
}

/** The AKs and the existence of hosts, by the audit log alone. */
function checkHosts({ audit, hosts }: History): readonly string[] {
  const aks = new Map<string, string>();
  for (const { action, target, detail } of audit) {
    const ak = /ak (000b[0-9a-f]{64})/.exec(detail)?.[1];
    if (action === 'host.delete') aks.delete(target);
    else if (action.startsWith('host.enroll.') && action !== 'host.enroll.replacement_pending')
      aks.set(target, ak ?? '');
    else if (action === 'host.approve' && ak !== undefined) aks.set(target, ak);
  }
  const problems = hosts.flatMap(({ id, ak }) => {
    const expected = aks.get(`hosts/${id}`);
    aks.delete(`hosts/${id}`);
    return ak.name === expected ? [] : [`hosts/${id} has the key ${ak.name}, by the audit log ${expected}`];
  });
  return [...problems, ...[...aks.keys()].map((target) => `${target} is gone, and nobody deleted it`)];
}

/** A look at the files of a process that was just killed, in a copy of theirs. */
export function checkFiles(directory: string): readonly string[] {
  const database = new DatabaseSync(join(directory, 'assay.db'));
  try {
    const tables = database.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'counter'").get();
    // Killed before the first commit: there is nothing yet that could be half of something.
    if (tables?.['n'] === 0) return [];
    const rows = (sql: string): readonly Record<string, unknown>[] => database.prepare(sql).all();
    const problems = rows('PRAGMA quick_check').flatMap(({ quick_check }) =>
      quick_check === 'ok' ? [] : [`quick_check says ${String(quick_check)}`],
    );
    if (rows('PRAGMA foreign_key_check').length > 0) problems.push('a row refers to one that is not there');
    const [whole] = rows(`SELECT
      (SELECT count(*) FROM counter) AS counters,
      (SELECT max(revision) FROM counter) = (SELECT coalesce(max(revision), 0) FROM changes)
        AND (SELECT count(*) FROM changes) = (SELECT coalesce(max(revision), 0) FROM changes) AS gapless,
      (SELECT count(*) FROM hosts) = (SELECT count(*) FROM results)
        AND (SELECT count(*) FROM hosts) = (SELECT count(*) FROM host_rounds) AS hosts,
      (SELECT count(*) FROM results p LEFT JOIN changes c ON c.revision = p.revision AND c.host_id = p.host_id
        WHERE c.revision IS NULL) AS strays`);
    if (whole?.['counters'] === 1) {
      if (whole['gapless'] !== 1) problems.push('the counter and the changes differ');
      if (whole['hosts'] !== 1) problems.push('hosts, rounds and results differ');
      if (whole['strays'] !== 0) problems.push('a result refers to a change of another host');
    }
    const audit = rows('SELECT * FROM audit ORDER BY sequence') as unknown as readonly AuditRecord[];
    const broken = findBrokenAudit(AUDIT_CHAIN_START, audit);
    return broken === null ? problems : [...problems, `the audit chain breaks at ${broken}`];
  } finally {
    database.close();
  }
}
