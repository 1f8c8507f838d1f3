import { isExpired, presentResult } from '../own-verdicts.ts';
import type { PlatformRecord, PolicyRecord, TrustStatus } from '../records.ts';
import type { PlatformStore } from '../platform-store.ts';
import { type Database, integer, optionalInteger, text } from './database.ts';
import { matchLabelsSql } from './hosts.ts';
import { getPolicy } from './policies.ts';
import { heads } from './results.ts';
import { PRESENT_SQL, toResult } from './revisions.ts';

/** The status as it reads at a time (?1), whether or not an expiry was written. */
const STATUS_NOW = "CASE WHEN p.valid_until <= ?1 THEN 'none' ELSE p.status END";
/** Whether no selector (?2, a list) asks for a label that the host lacks. */
const IN_SCOPE = `NOT EXISTS (SELECT 1 FROM json_each(?2) AS selector
  WHERE NOT ${matchLabelsSql('c.labels', 'selector.value')})`;

/** All within one transaction, so that nothing is written between these reads. */
export function platform(
  database: Database,
  now: number,
  selectors: Parameters<PlatformStore['platform']>[0],
  limits: Parameters<PlatformStore['platform']>[1],
): PlatformRecord {
  const scope = JSON.stringify(selectors);
  const rows = database.all(
    `SELECT c.policy_id, c.policy_version,
        ${STATUS_NOW} AS status_now, count(*) AS hosts,
        min(CASE WHEN p.valid_until > ?1 THEN p.challenge_time END) AS oldest_challenge,
        min(CASE WHEN p.valid_until > ?1 THEN p.valid_until END) AS earliest_valid_until
      FROM results p JOIN changes c INDEXED BY changes_policy ON c.revision = p.revision
      WHERE ${IN_SCOPE}
      GROUP BY policy_id, policy_version, status_now ORDER BY policy_id, policy_version, status_now`,
    now,
    scope,
  );
  const groups = rows.map((row) => ({
    policyId: text(row, 'policy_id'),
    policyVersion: integer(row, 'policy_version'),
    status: text(row, 'status_now') as TrustStatus,
    hosts: integer(row, 'hosts'),
  }));
  return {
    time: now,
    revision: heads(database).revision,
    groups,
    oldestChallenge: least(rows.map((row) => optionalInteger(row, 'oldest_challenge'))),
    earliestValidUntil: least(rows.map((row) => optionalInteger(row, 'earliest_valid_until'))),
    exceptions: readExceptions(database, now, scope, limits.exceptions),
    policies: readPolicies(database, groups, limits.policies),
  };
}

function readExceptions(database: Database, now: number, scope: string, limit: number): PlatformRecord['exceptions'] {
  const rows = database.all(
    `${PRESENT_SQL}
      WHERE ${IN_SCOPE} AND ${STATUS_NOW} <> 'affirming'
      ORDER BY CASE ${STATUS_NOW} WHEN 'contraindicated' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, p.host_id LIMIT ?3`,
    now,
    scope,
    limit,
  );
  return rows.map((row) => {
    const result = toResult(row);
    const fell = isExpired(result, now) && result.validUntil !== null ? result.validUntil : integer(row, 'status_time');
    return { ...presentResult(result, now), revisionTime: fell };
  });
}

function readPolicies(database: Database, groups: PlatformRecord['groups'], limit: number): readonly PolicyRecord[] {
  const versions = new Map(
    groups.map(({ policyId: id, policyVersion: version }) => [`${id}/${version}`, { id, version }]),
  );
  return [...versions.values()]
    .filter(({ id }) => id !== '')
    .slice(0, limit)
    .flatMap(({ id, version }) => getPolicy(database, id, version) ?? []);
}

function least(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : Math.min(...known);
}
