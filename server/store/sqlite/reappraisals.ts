import type { DueReappraisal, ReappraisalBasis, ReappraisalInput } from '../reappraisal-store.ts';
import { StoreError } from '../store.ts';
import { type Basis, readBasis, settleBasis } from './bases.ts';
import { type Database, integer, text } from './database.ts';
import { getHost, getRoundHost, type RoundHost } from './hosts.ts';
import {
  auditStatus,
  CHANGES_SQL,
  readPresentHead,
  type ResultHead,
  toResult,
  verdictJson,
  writeRevisionHead,
} from './revisions.ts';
import { type Transaction, writeEach } from './transaction.ts';

export function dueReappraisals(database: Database, limit: number, connectedBefore: number): readonly DueReappraisal[] {
  const rows = database.all(
    `SELECT r.host_id, r.basis, r.valid_until FROM reappraisals r JOIN host_rounds k ON k.host_id = r.host_id
      JOIN results p ON p.host_id = r.host_id
      WHERE r.due = 1 AND p.confirmations = 0 AND (k.connected = 0 OR r.since <= ?)
      ORDER BY r.since, r.host_id LIMIT ?`,
    connectedBefore,
    limit,
  );
  return rows.map((row) => {
    const host = getHost(database, text(row, 'host_id'));
    const basis = database.get(`${CHANGES_SQL} WHERE c.revision = ?`, integer(row, 'basis'));
    if (host === null || basis === undefined) throw new StoreError('corrupt', 'a basis has no host or no result');
    return { host, basis: toResult(basis), validUntil: integer(row, 'valid_until') };
  });
}

export function reappraisalBases(database: Database, hostIds: readonly string[]): readonly ReappraisalBasis[] {
  return hostIds.flatMap((hostId) => {
    const basis = readBasis(database, hostId);
    const present = basis === null ? null : readPresentHead(database, hostId);
    // What confirmed a verdict that was made anew is other evidence than it was made from.
    if (basis === null || present === null || present.result.confirmations > 0) return [];
    const row = database.get(`${CHANGES_SQL} WHERE c.revision = ?`, basis.revision);
    return row === undefined ? [] : [{ basis: toResult(row), validUntil: basis.validUntil }];
  });
}

export function commitReappraisals(
  database: Database,
  now: number,
  inputs: readonly ReappraisalInput[],
): readonly boolean[] {
  return writeEach(database, now, inputs, commitReappraisal);
}

function commitReappraisal(tx: Transaction, input: ReappraisalInput): boolean {
  const { hostId, verdict, endsAt } = input;
  const host = getRoundHost(tx.database, hostId);
  const present = readPresentHead(tx.database, hostId);
  const basis = readBasis(tx.database, hostId);
  if (host === null || present === null || basis === null || !holdsFence(tx, host, { input, basis })) return false;
  // A verdict that stands is not this one's to replace.
  if (present.result.status !== 'none') return false;

  const evidence = endsAt === null ? null : evidenceOf(tx, basis);
  const until = endsAt === null ? null : Math.min(endsAt, basis.validUntil);
  // Evidence that is over says nothing, and a challenge of the future was drawn by a clock that has been set back since.
  if (until !== null && (until <= tx.now || evidence === null || evidence.challengeTime > tx.now)) return false;

  const { nodeName, labels } = host;
  const { connectivity } = present.result;
  const none = verdict.status === 'none';
  const result: Omit<ResultHead, 'revision' | 'revisionTime' | 'confirmations'> = {
    hostId,
    nodeName,
    labels,
    connectivity,
    status: until === null ? 'none' : verdict.status,
    validUntil: none ? null : until,
    challengeTime: evidence?.challengeTime ?? 0,
    evidenceDigest: evidence?.evidenceDigest ?? '',
  };
  const lapseTime = none && connectivity === 'unreachable' ? null : (until ?? present.lapseTime);
  const digest = until === null ? '' : input.verdictDigest;
  const next = { result, cause: 'reappraised', digest, lapseTime } as const;
  const after = writeRevisionHead(tx, next, verdictJson(verdict), present);
  settleBasis(tx, hostId);
  auditStatus(tx, 'service', present.result, after);
  return true;
}

function holdsFence(
  tx: Transaction,
  host: RoundHost,
  { input: { fence }, basis }: { readonly input: ReappraisalInput; readonly basis: Basis },
): boolean {
  return (
    basis.due &&
    basis.revision === fence.basis &&
    host.state === 'active' &&
    host.version === fence.version &&
    host.round === fence.round &&
    host.akGeneration === fence.akGeneration &&
    tx.epochs.policy === fence.epochs.policy &&
    tx.epochs.endorsement === fence.epochs.endorsement
  );
}

function evidenceOf(tx: Transaction, { revision }: Basis): Pick<ResultHead, 'challengeTime' | 'evidenceDigest'> | null {
  const row = tx.database.get('SELECT challenge_time, evidence_digest FROM changes WHERE revision = ?', revision);
  if (row === undefined) return null;
  return { challengeTime: integer(row, 'challenge_time'), evidenceDigest: text(row, 'evidence_digest') };
}
