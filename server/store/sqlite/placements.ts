import type { PlacementRecord } from '../records.ts';
import type { PlacementChanges, PlacementPosition, ResultTimes } from '../placement-store.ts';
import { StoreError } from '../store.ts';
import { type Database, integer, json, optionalInteger, type Row, text } from './database.ts';
import { POLICY_ID_SQL } from './revisions.ts';

/** Without the body of the verdict: that is large, and one reader asks for all hosts. */
const BRIEF_SQL = `SELECT p.host_id, p.revision, p.status, p.valid_until, p.challenge_time, c.node_name, c.labels,
    c.connectivity,
    ${POLICY_ID_SQL} AS policy_id, json_extract(c.verdict, '$.policyVersion') AS policy_version
  FROM results p JOIN changes c ON c.revision = p.revision`;

/** By the key of one table, without what was found. */
export function resultTimes(database: Database, hostIds: readonly string[]): readonly ResultTimes[] {
  return database
    .all(
      `SELECT host_id, revision, challenge_time, valid_until FROM results
        WHERE host_id IN (SELECT value FROM json_each(?))`,
      JSON.stringify(hostIds),
    )
    .map(toMove);
}

/** One thread writes, and it is this one: nothing is written between these reads. */
export function placementsSince(database: Database, position: PlacementPosition, limit: number): PlacementChanges {
  const counter = database.get('SELECT revision, confirmation, horizon FROM counter WHERE id = 1');
  if (counter === undefined) throw new StoreError('corrupt', 'the counter row is missing');
  const heads = { revision: integer(counter, 'revision'), confirmation: integer(counter, 'confirmation') };
  const starts = position.revision === 0;
  // Present results are older than the horizon where they are still confirmed; deletions are not.
  const began = starts ? heads.revision : position.began;
  const known = Math.max(position.revision, began);
  if (!starts && (known < integer(counter, 'horizon') || position.revision > heads.revision)) {
    throw new StoreError('out_of_range', `revision ${position.revision} is gone or was never given`);
  }
  const written = database.all(
    `${BRIEF_SQL} WHERE p.revision > ? ORDER BY p.revision LIMIT ?`,
    position.revision,
    limit,
  );
  const confirmed = database.all(
    `SELECT host_id, revision, confirmation, challenge_time, valid_until FROM results
      WHERE confirmation > ? ORDER BY confirmation LIMIT ?`,
    position.confirmation,
    limit,
  );
  const next = {
    revision: reached(written, 'revision', { limit, head: heads.revision }),
    confirmation: reached(confirmed, 'confirmation', { limit, head: heads.confirmation }),
    began,
  };
  return {
    present: written.map(toPlacement),
    moved: confirmed.map(toMove),
    // Who starts has no host that could be gone.
    gone: starts ? [] : deletedBetween(database, position.revision, next.revision),
    position: next,
    complete: written.length < limit && confirmed.length < limit,
  };
}

/** A full read ends at its last row, another one at the head. */
function reached(
  rows: readonly Row[],
  column: 'revision' | 'confirmation',
  { limit, head }: { readonly limit: number; readonly head: number },
): number {
  const last = rows.at(-1);
  return rows.length < limit || last === undefined ? head : integer(last, column);
}

function deletedBetween(database: Database, after: number, last: number): readonly string[] {
  return database
    .all("SELECT host_id FROM changes WHERE revision > ? AND revision <= ? AND cause = 'deleted'", after, last)
    .map((row) => text(row, 'host_id'));
}

function toPlacement(row: Row): PlacementRecord {
  return {
    hostId: text(row, 'host_id'),
    revision: integer(row, 'revision'),
    status: text(row, 'status') as PlacementRecord['status'],
    policyId: text(row, 'policy_id'),
    policyVersion: integer(row, 'policy_version'),
    ...toTimes(row),
    nodeName: text(row, 'node_name'),
    labels: json(row, 'labels'),
    connectivity: text(row, 'connectivity') as PlacementRecord['connectivity'],
  };
}

function toMove(row: Row): ResultTimes {
  return { hostId: text(row, 'host_id'), revision: integer(row, 'revision'), ...toTimes(row) };
}

function toTimes(row: Row): Pick<ResultTimes, 'challengeTime' | 'validUntil'> {
  return { challengeTime: integer(row, 'challenge_time'), validUntil: optionalInteger(row, 'valid_until') };
}
